//! Providers: the upstream HTTP APIs of a source.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::body_format::BodyFormat;
use super::name::Name;
use super::request_text::RequestText;
use super::tls_settings::TlsSettings;

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
    /// URL with scheme `http` or `https` and a host. References in it have the values of an example.
    pub url: Url,
    /// Text of the URL if it has references. They are not in the scheme, the host or the port.
    pub url_text: Option<RequestText>,
    /// Name of the authentication whose token or cookies the request carries. Default: none.
    pub auth: Option<Name>,
    /// Names and values to append to the query of the URL, in this order.
    pub query: Vec<RequestField>,
    /// Method: a token (RFC 9110). Default: `GET`, with a form `POST`.
    pub method: Arc<str>,
    /// Header names and values in configured order, valid by RFC 9110.
    pub headers: Vec<RequestField>,
    /// Request body. Default: none.
    pub body: Option<RequestBody>,
    /// User and password for Basic authentication. Default: none.
    pub credentials: Option<Credentials>,
    /// IANA name of the time zone of dates in the request. Default: UTC.
    pub time_zone: Option<Arc<str>>,
    /// Status codes beside 2xx whose body is data, in ascending order. Default: none.
    pub accept_status: Arc<[u16]>,
    /// Whether redirects to the same host are followed. Default: false.
    pub follow_redirects: bool,
    /// Whether the cache headers of a response delay the next call. Default: false.
    pub obeys_cache: bool,
    /// Whether a host name may resolve to a private or loopback address. Default: false.
    pub allow_private: bool,
    /// What the certificate of the provider is checked against, and that of this client.
    pub tls: TlsSettings,
    /// HTTP proxies for the request. Default: none.
    pub proxy: EgressProxy,
    /// Maximum size of the decoded response body, in bytes. Default: 1 MiB.
    pub max_body: u64,
    /// Format of the response body, which also determines `Accept`. Default: JSON.
    pub format: BodyFormat,
}

/// A name and a value that is resolved when the request is sent.
pub type RequestField = (Arc<str>, RequestText);

/// Body of a request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RequestBody {
    /// Sent as it is.
    Text(RequestText),
    /// Names and values, sent as `application/x-www-form-urlencoded`.
    Form(Vec<RequestField>),
}

/// User and password of a request.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// User. It contains no colon (RFC 7617, section 2).
    pub username: Arc<str>,
    /// Password. Default: empty.
    pub password: Arc<str>,
}

impl ProviderRequest {
    /// Returns a GET request for `url` with the defaults of all other settings.
    pub fn get(url: Url) -> Self {
        Self {
            url,
            url_text: None,
            auth: None,
            query: Vec::new(),
            method: "GET".into(),
            headers: Vec::new(),
            body: None,
            credentials: None,
            time_zone: None,
            accept_status: Arc::default(),
            follow_redirects: false,
            obeys_cache: false,
            allow_private: false,
            tls: TlsSettings::default(),
            proxy: EgressProxy::default(),
            max_body: 1 << 20,
            format: BodyFormat::Json,
        }
    }
}

/// URLs of HTTP proxies for outgoing requests: `http://[user:password@]host:port`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct EgressProxy {
    /// Proxy for `http` URLs. Default: none.
    pub http: Option<Url>,
    /// Proxy for `https` URLs. Default: none.
    pub https: Option<Url>,
}

impl EgressProxy {
    /// Returns the proxy for `url`.
    pub fn for_url(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        proxy.as_ref()
    }
}

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

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl From<&str> for RequestBody {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Form(_) => "Form",
        })
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = [&self.http, &self.https].map(|proxy| proxy.as_ref()?.host_str());
        write!(f, "Proxy({hosts:?})")
    }
}
