//! TLS with the public certificate authorities and those of `ca_file`. Verification cannot be
//! disabled.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_rustls::rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, NamedGroup,
    PeerIncompatible, RootCertStore,
};

use crate::domain::{Code, Failure};

use super::deadline::FetchPhase;
use super::trace::ExchangeTrace;

/// Maximum number of cached client configurations.
const MAX_CLIENT_CONFIGS: usize = 64;

/// Maximum number of sessions to resume per client configuration.
const MAX_TLS_SESSIONS: usize = 256;

/// Client configurations by the PEM text of additional authorities. Each caches sessions to resume.
#[derive(Default)]
pub(super) struct TlsClient(Mutex<HashMap<Option<Arc<str>>, Arc<ClientConfig>>>);

impl TlsClient {
    /// Returns the configuration that trusts the public authorities and those in the PEM text `ca`.
    pub(super) fn client_config(
        &self,
        ca: Option<&Arc<str>>,
    ) -> Result<Arc<ClientConfig>, Failure> {
        // Built under the lock: two calls at the same time would give two session caches.
        let mut configs = self.0.lock();
        if let Some(config) = configs.get(&ca.cloned()) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(build_client_config(ca.map(AsRef::as_ref))?);
        // Reloads may bring ever other authorities; what is still in use is soon built again.
        if configs.len() >= MAX_CLIENT_CONFIGS {
            configs.clear();
        }
        configs.insert(ca.cloned(), Arc::clone(&config));
        Ok(config)
    }
}

fn build_client_config(ca: Option<&str>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(pem) = ca {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        // A bundle of a system may hold certificates that rustls refuses; one usable one suffices.
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(Failure::new(
                Code::TlsFailed,
                "`ca_file` holds no certificate that can be used",
            ));
        }
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(PhaseNotingStore(
        ClientSessionMemoryCache::new(MAX_TLS_SESSIONS),
    )));
    Ok(config)
}

/// Session cache that notes the phase: rustls requests the key exchange hint at the beginning of a
/// handshake.
#[derive(Debug)]
struct PhaseNotingStore(ClientSessionMemoryCache);

impl ClientSessionStore for PhaseNotingStore {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        ExchangeTrace::note_current(FetchPhase::Tls);
        self.0.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.0.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server_name)
    }
}

/// Returns the failure of a TLS error after the handshake. A TLS 1.3 server requests a client
/// certificate only then.
pub(super) fn post_handshake_failure(error: &TlsError) -> Failure {
    let what = match error {
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            return handshake_failure(error);
        }
        TlsError::AlertReceived(alert) => {
            format!("the server broke off TLS after the handshake (alert {alert:?})")
        }
        _ => "the server broke the rules of TLS after the handshake".into(),
    };
    Failure::new(Code::TlsFailed, what)
}

/// Returns the failure of a TLS error in the handshake.
pub(super) fn handshake_failure(error: &TlsError) -> Failure {
    let message = match error {
        TlsError::InvalidCertificate(error) => certificate_message(error),
        TlsError::InvalidMessage(_) => {
            "the server does not speak TLS (plain HTTP on this port?)".into()
        }
        TlsError::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        )
        | TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server offers no version of TLS that is safe (1.2 or 1.3)".into()
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a certificate of the client, which cannot be given".into()
        }
        TlsError::NoApplicationProtocol
        | TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server offers neither HTTP/2 nor HTTP/1.1 over TLS".into()
        }
        TlsError::AlertReceived(alert) => {
            format!("the server refused the TLS handshake (alert {alert:?})")
        }
        TlsError::PeerIncompatible(_) => {
            "the server and this client have no way of TLS in common".into()
        }
        _ => "the server broke the rules of TLS".into(),
    };
    Failure::new(Code::TlsFailed, message)
}

fn certificate_message(error: &CertificateError) -> String {
    let only = "checks cannot be turned off, `ca_file` only adds authorities";
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is self-signed or of an unknown authority: put that authority's PEM into `ca_file`"
                .into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({only})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({only})")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another name ({only})")
        }
        CertificateError::Revoked => "the server's certificate has been revoked".into(),
        CertificateError::Other(other) if format!("{:?}", other.0).contains("CaUsedAsEndEntity") => {
            "the server shows an authority's own certificate: let that authority, named in `ca_file`, sign one for it".into()
        }
        _ => format!("the server's certificate cannot be checked ({only})"),
    }
}
