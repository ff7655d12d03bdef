//! A reqwest client for one host, port and set of connection settings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Client, Proxy, Request, redirect, retry};
use tokio::time::Instant;
use url::{Host, Url};

use crate::domain::{Code, Failure, ProviderRequest, TlsSettings};

use super::call_limiter::CallLimiter;
use super::connector::{self, ConnectGate, ConnectorLayer, PolicyResolver};
use super::credentials::{basic_credentials, remove_unsent_parts};
use super::ip_policy::AddressOrigin;
use super::request;
use super::resolver::NameResolver;
use super::tls::TlsClient;

/// Maximum size of a response head, in bytes of names and values.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Maximum number of response headers: the limit of hyper.
pub(super) const MAX_HEADERS: usize = 100;

/// Maximum size of an HTTP/2 response head, which counts 32 bytes more per header (RFC 9113,
/// section 6.5.2).
const MAX_HTTP2_HEADER_LIST: u32 = (MAX_HEAD_BYTES + 32 * MAX_HEADERS) as u32;

/// A host and a port, the unit of `max_per_host` and of the rule for idle connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

impl Endpoint {
    /// Returns the host and port of a URL; `None` without a host, which a valid configuration
    /// excludes.
    pub fn from_url(url: &Url) -> Option<Self> {
        Some(Self {
            host: url.host()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }
}

/// Connection settings of one client. Requests with equal settings share connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientSettings {
    is_https: bool,
    /// Origin of the addresses to connect to.
    origin: AddressOrigin,
    pub(super) tls: TlsSettings,
    /// Host to connect to, if [`CallTarget::address_request`] writes another one into the URL.
    connect_host: Option<Host<String>>,
    proxy: Option<Url>,
    /// Time limit of a connection. The addresses of a name share it, so that a silent address leaves
    /// time for the others.
    connect_timeout: Duration,
    /// Whether the connection is kept. A request that must not be repeated needs a new connection,
    /// because a kept one can turn out to be dead after the request was sent.
    pub(super) is_pooled: bool,
}

impl ClientSettings {
    /// Returns whether the handshake sends another name than the host of the URL.
    pub(super) const fn has_other_name(&self) -> bool {
        self.connect_host.is_some()
    }

    /// Returns whether concurrent calls can share an HTTP/2 connection, which TLS negotiates.
    pub(super) fn may_share(&self) -> bool {
        self.is_https && self.is_pooled && self.connect_host.is_none()
    }
}

/// Destination of a request, and the settings to connect with.
#[derive(Debug, Clone)]
pub(super) struct CallTarget {
    pub(super) endpoint: Endpoint,
    pub(super) settings: ClientSettings,
    /// Address to connect to, if the URL of the provider, or of its proxy, has a literal one.
    pub(super) literal_address: Option<IpAddr>,
    /// Origin of the addresses of the provider's name, if a proxy resolves it.
    pub(super) proxied_origin: Option<AddressOrigin>,
}

impl CallTarget {
    /// Returns the target of `request`. Its connection may take `connect_timeout`.
    ///
    /// Fails if the host of the URL is a metadata service. The proxy comes from the operator, so its
    /// address may be private.
    pub(super) fn from_request(
        request: &ProviderRequest,
        connect_timeout: Duration,
        is_pooled: bool,
    ) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_url(&request.url).ok_or_else(request::unwritable_request)?;
        let proxy = request.proxy.for_url(&request.url).cloned();
        let stated = literal_address(&endpoint.host);
        // Also with a proxy: a metadata service in the URL is refused before the proxy sees it.
        connector::refuse_metadata_host(&endpoint.host)?;
        let host_origin = address_origin(&endpoint.host, request.allow_private);
        let (origin, literal_address) = match &proxy {
            None => (host_origin, stated),
            Some(proxy) => {
                let host = proxy.host().map(|host| host.to_owned());
                let Some(host) = host else {
                    return Err(Failure::new(Code::ConnectFailed, "the proxy has no host"));
                };
                connector::refuse_metadata_host(&host)?;
                let stated = literal_address(&host);
                (address_origin(&host, true), stated)
            }
        };
        let is_https = request.url.scheme() == "https";
        let is_proxied_name = proxy.is_some() && stated.is_none();
        let connect_host = match &request.tls.server_name {
            Some(name @ Host::Domain(_)) if is_https && *name != endpoint.host => {
                Some(endpoint.host.clone())
            }
            _ => None,
        };
        if connect_host.is_some() && proxy.is_some() {
            // The proxy would be asked for a tunnel to that name.
            let message = "`tls_server_name` cannot be a name with a `proxy`";
            return Err(Failure::new(Code::ConnectFailed, message));
        }
        Ok(Self {
            settings: ClientSettings {
                is_https,
                origin,
                tls: request.tls.clone(),
                connect_host,
                proxy,
                connect_timeout,
                is_pooled,
            },
            endpoint,
            literal_address,
            proxied_origin: is_proxied_name.then_some(host_origin),
        })
    }

    /// Writes the name that the handshake sends into the URL of `request`, from which reqwest takes it. The
    /// header `Host` keeps the host of the URL.
    pub(super) fn address_request(&self, request: &mut Request) {
        if self.settings.connect_host.is_some()
            && let Some(Host::Domain(name)) = &self.settings.tls.server_name
        {
            // A domain is a valid host of this scheme.
            let _ = request.url_mut().set_host(Some(name));
        }
    }

    /// Returns the port to connect to: that of the provider, or of its proxy.
    pub(super) fn connect_port(&self) -> u16 {
        self.settings
            .proxy
            .as_ref()
            .and_then(Url::port_or_known_default)
            .unwrap_or(self.endpoint.port)
    }

    pub(super) fn has_proxy(&self) -> bool {
        self.settings.proxy.is_some()
    }

    /// Returns whether the provider itself is addressed without TLS.
    pub(super) fn is_plain_http(&self) -> bool {
        !self.settings.is_https && !self.has_proxy()
    }
}

/// Returns the origin of the addresses of `host`.
fn address_origin(host: &Host<String>, allow_private: bool) -> AddressOrigin {
    match host {
        Host::Domain(name) if allow_private || matches!(&**name, "localhost" | "localhost.") => {
            AddressOrigin::ResolvedPrivate
        }
        Host::Domain(_) => AddressOrigin::Resolved,
        Host::Ipv4(_) | Host::Ipv6(_) => AddressOrigin::Configured,
    }
}

fn literal_address(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
        Host::Domain(_) => None,
    }
}

/// A client and its usage. It keeps one connection at most, so that each idle connection can be closed:
/// by dropping its client. Connections in use close with their calls.
pub(super) struct UpstreamClient {
    pub(super) client: Client,
    pub(super) settings: ClientSettings,
    gate: Arc<ConnectGate>,
    usage: Mutex<ClientUsage>,
}

#[derive(Debug, Clone, Copy)]
struct ClientUsage {
    running_calls: usize,
    last_used: Instant,
    is_discarded: bool,
}

/// Builds clients, which share the resolver and the TLS configurations.
pub(super) struct ClientFactory {
    pub(super) resolver: NameResolver,
    pub(super) tls: TlsClient,
}

impl ClientFactory {
    /// Returns a client with `settings`, used first at `now`.
    pub(super) fn build(
        &self,
        settings: &ClientSettings,
        limiter: Arc<CallLimiter>,
        now: Instant,
    ) -> Result<UpstreamClient, Failure> {
        let gate = Arc::new(ConnectGate::new(settings.may_share(), limiter));
        let mut tls = (*self.tls.client_config(&settings.tls)?).clone();
        if settings.connect_host.is_some() {
            // HTTP/2 has no `Host` beside the host of the URL.
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let mut builder = Client::builder()
            // A redirect leads to an address that the operator did not configure; it becomes a
            // failure.
            .redirect(redirect::Policy::none())
            .referer(false)
            // By default, reqwest repeats a request up to three times after GOAWAY. The attempt
            // decides about that.
            .retry(retry::never())
            // Only `proxy` of the configuration counts, not `HTTP_PROXY` of the environment.
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            // Deadlines detect a silent peer, and idle connections live for seconds.
            .tcp_keepalive(None)
            .tcp_user_timeout(None)
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(settings.is_pooled.into())
            // Some devices compare header names by case, and expect this spelling.
            .http1_title_case_headers()
            // Devices send such headers. The framing headers are checked in `response_head`.
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http2_max_header_list_size(MAX_HTTP2_HEADER_LIST)
            .dns_resolver(PolicyResolver {
                resolver: self.resolver.clone(),
                origin: settings.origin,
                host: settings.connect_host.clone(),
            })
            .connector_layer(ConnectorLayer {
                origin: settings.origin,
                gate: Arc::clone(&gate),
            })
            .tls_backend_preconfigured(tls);
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(build_proxy(proxy)?);
        }
        let client = builder
            .build()
            .map_err(|_| Failure::new(Code::ConnectFailed, "no client for these settings"))?;
        let usage = Mutex::new(ClientUsage {
            running_calls: 0,
            last_used: now,
            is_discarded: false,
        });
        Ok(UpstreamClient {
            client,
            settings: settings.clone(),
            gate,
            usage,
        })
    }
}

/// Returns the proxy with its credentials as a header, because reqwest decodes those of the URL as
/// UTF-8.
fn build_proxy(url: &Url) -> Result<Proxy, Failure> {
    let credentials = basic_credentials(url, None);
    let mut url = url.clone();
    remove_unsent_parts(&mut url);
    let proxy = Proxy::all(url)
        .map_err(|_| Failure::new(Code::ConnectFailed, "the proxy's URL cannot be used"))?;
    Ok(match credentials {
        Some(credentials) => proxy.custom_http_auth(credentials),
        None => proxy,
    })
}

impl UpstreamClient {
    pub(super) fn begin_call(&self, now: Instant) {
        let mut usage = self.usage.lock();
        usage.running_calls += 1;
        usage.last_used = now;
    }

    /// Records the end of a call. Returns whether another call may use the client and its connection.
    pub(super) fn end_call(&self, now: Instant) -> bool {
        self.gate.note_call_end(now);
        let mut usage = self.usage.lock();
        usage.running_calls -= 1;
        usage.last_used = now;
        self.settings.is_pooled && !usage.is_discarded && usage.running_calls == 0
    }

    /// Excludes the client from further calls.
    pub(super) fn discard(&self) {
        self.usage.lock().is_discarded = true;
    }

    /// Returns when the last call ended; `None` while one runs.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let usage = *self.usage.lock();
        (usage.running_calls == 0).then_some(usage.last_used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_origin_follows_the_host() {
        let origin =
            |url: &str| address_origin(&Url::parse(url).unwrap().host().unwrap().to_owned(), false);
        for url in ["http://0x7f.1/", "http://2130706433/", "http://[::1]/"] {
            assert_eq!(origin(url), AddressOrigin::Configured, "{url}");
        }
        for url in ["http://localhost/", "http://LOCALHOST./"] {
            assert_eq!(origin(url), AddressOrigin::ResolvedPrivate, "{url}");
        }
        for url in [
            "http://a.localhost/",
            "http://localhost.example/",
            "http://127.0.0.1.nip.io/",
        ] {
            assert_eq!(origin(url), AddressOrigin::Resolved, "{url}");
        }
    }
}
