//! Settings of TLS to a provider.

use std::fmt;
use std::sync::Arc;

use url::Host;

/// What a provider's certificate is checked against, and the certificate of this client. `Debug`
/// prints no PEM text, because it can contain a private key.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// PEM text of certificates to trust in addition to the public authorities: of authorities, or
    /// of servers. Default: none.
    pub ca_pem: Option<Arc<str>>,
    /// Name that is sent in the handshake (SNI) and that the certificate must have. An IP address is
    /// expected, but not sent (RFC 6066, section 3). A name excludes a proxy and HTTP/2. Default: the
    /// host of the URL.
    pub server_name: Option<Host<String>>,
    /// Certificate of this client. Default: none.
    pub client_certificate: Option<ClientCertificate>,
}

/// Certificate that a client shows to a server that requests one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// PEM text with the certificate, then those of its issuers.
    pub chain_pem: Arc<str>,
    /// PEM text with the private key of the first certificate.
    pub key_pem: Arc<str>,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("has_ca", &self.ca_pem.is_some())
            .field("server_name", &self.server_name)
            .field("client_certificate", &self.client_certificate)
            .finish()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}
