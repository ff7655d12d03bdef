//! `[server.tls]`

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The certificate of the server, and the authority of its clients. `Debug` and `Serialize` print no PEM
/// text, because it can contain a private key.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ServerTls {
    /// PEM text with the certificate, then those of its issuers.
    #[serde(skip)]
    pub chain_pem: Arc<str>,
    /// PEM text with the private key of the first certificate.
    #[serde(skip)]
    pub key_pem: Arc<str>,
    /// PEM text of the authorities that must have signed a client's certificate. Default: clients need
    /// none.
    #[serde(skip)]
    pub client_ca_pem: Option<Arc<str>>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("has_client_ca", &self.client_ca_pem.is_some())
            .finish_non_exhaustive()
    }
}
