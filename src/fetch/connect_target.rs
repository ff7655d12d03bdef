//! Destination of a connection.

use std::sync::Arc;

use url::{Host, Url};

use crate::domain::ProviderRequest;

/// Destination of a connection, and the settings to connect with.
#[derive(Debug)]
pub(super) struct ConnectTarget {
    /// Whether the connection uses TLS.
    pub(super) is_https: bool,
    /// Host of the provider.
    pub(super) host: Host<String>,
    /// Port of the provider.
    pub(super) port: u16,
    /// Whether the host name may resolve to a private address.
    pub(super) allow_private: bool,
    /// PEM text of certificate authorities to trust in addition to the public ones.
    pub(super) ca_pem: Option<Arc<str>>,
    /// URL of the proxy, with its credentials.
    pub(super) proxy: Option<Url>,
}

impl ConnectTarget {
    /// Returns the destination of `request`; `None` if its URL has no host, which a valid
    /// configuration excludes.
    pub(super) fn from_request(request: &ProviderRequest) -> Option<Self> {
        Some(Self {
            is_https: request.url.scheme() == "https",
            host: request.url.host()?.to_owned(),
            port: request.url.port_or_known_default()?,
            allow_private: request.allow_private,
            ca_pem: request.ca_pem.clone(),
            proxy: request.proxy.as_ref().map(|proxy| proxy.0.clone()),
        })
    }

    /// Returns `host:port`, the target of a CONNECT request.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
