//! One upstream HTTP API that can supply a source.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::name::Name;

/// A provider: what to ask it, and how to read its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name; unique within the source. Default: the URL's host, made a name.
    pub name: Name,
    /// What is sent.
    pub request: ProviderRequest,
    /// The jq filter that turns its answer into the source's data. Default: `.`
    pub extract: Arc<str>,
}

/// A request as the configuration states it. Its `Debug` shows neither URL, header values nor body.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProviderRequest {
    /// `http` or `https`, with a host; userinfo and query may hold secrets.
    pub url: Url,
    /// A token of RFC 9110. Default: `GET`.
    pub method: Arc<str>,
    /// Names and values in the order of the configuration, checked against RFC 9110.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Sent as it is; none by default.
    pub body: Option<Arc<str>>,
    /// Whether a host *name* may resolve to a private, loopback or link-local address. Default: false.
    pub allow_private: bool,
    /// PEM text of certificate authorities trusted beside the public ones.
    pub ca_pem: Option<Arc<str>>,
    /// The egress proxy, if any.
    pub proxy: Option<EgressProxy>,
    /// The most decoded bytes of an answer's body. Default: 1 MiB.
    pub max_body: u64,
}

/// An HTTP proxy through which requests leave (`http://[user:password@]host:port`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EgressProxy(pub Url);

impl fmt::Debug for ProviderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Request({} {})",
            self.method,
            self.url.host_str().unwrap_or_default()
        )
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.0.host_str().unwrap_or_default())
    }
}
