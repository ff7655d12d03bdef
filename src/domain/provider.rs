//! Providers: the upstream HTTP APIs of a source.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::name::Name;

/// Default of `max_per_host`, the maximum number of concurrent calls to one host and port.
pub const DEFAULT_MAX_PER_HOST: usize = 6;

/// One upstream HTTP API that can supply a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Name, unique within the source. Default: derived from the host of the URL.
    pub name: Name,
    /// Request to send.
    pub request: ProviderRequest,
    /// jq filter that turns the response body into the data of the source. Default: `.`.
    pub extract: Arc<str>,
}

/// HTTP request as configured. `Debug` prints the method and the host only, because URL, headers
/// and body can contain secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProviderRequest {
    /// URL with scheme `http` or `https` and a host.
    pub url: Url,
    /// Method: a token (RFC 9110). Default: `GET`.
    pub method: Arc<str>,
    /// Header names and values in configured order, valid by RFC 9110.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Request body. Default: none.
    pub body: Option<Arc<str>>,
    /// Whether a host name may resolve to a private, loopback or link-local address. Default:
    /// false.
    pub allow_private: bool,
    /// PEM text of certificate authorities to trust in addition to the public ones. Default: none.
    pub ca_pem: Option<Arc<str>>,
    /// HTTP proxy for the request. Default: none.
    pub proxy: Option<EgressProxy>,
    /// Maximum size of the decoded response body, in bytes. Default: 1 MiB.
    pub max_body: u64,
}

/// URL of an HTTP proxy for outgoing requests: `http://[user:password@]host:port`.
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
