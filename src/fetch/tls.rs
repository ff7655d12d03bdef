//! TLS with the public certificate authorities and those of `ca_file`. Verification cannot be
//! disabled.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, PeerIncompatible,
    RootCertStore,
};
use url::Host;

use crate::domain::{Code, Failure};

use super::throttle::ThrottledStream;

/// Maximum number of cached client configurations.
const MAX_CLIENT_CONFIGS: usize = 64;

/// Client configurations by the PEM text of additional authorities. Each caches sessions to resume.
#[derive(Default)]
pub(super) struct TlsClient(Mutex<HashMap<Option<Arc<str>>, Arc<ClientConfig>>>);

impl TlsClient {
    /// Performs the TLS handshake with `host` over `stream`, trusting also the authorities in the
    /// PEM text `ca`.
    pub(super) async fn handshake(
        &self,
        stream: ThrottledStream<TcpStream>,
        host: &Host<String>,
        ca: Option<&Arc<str>>,
    ) -> Result<TlsStream<ThrottledStream<TcpStream>>, Failure> {
        let name = server_name(host)?;
        let connector = TlsConnector::from(self.client_config(ca)?);
        connector
            .connect(name, stream)
            .await
            .map_err(|error| handshake_failure(&error))
    }

    fn client_config(&self, ca: Option<&Arc<str>>) -> Result<Arc<ClientConfig>, Failure> {
        let mut configs = self.0.lock();
        if let Some(config) = configs.get(&ca.cloned()) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(build_client_config(ca.map(AsRef::as_ref))?);
        // Reloads can add authorities without end. Configurations in use are soon built again.
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
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, Failure> {
    let name = match host {
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
        // A certificate has the name without the trailing dot of a fully qualified one.
        Host::Domain(name) => {
            ServerName::try_from(name.trim_end_matches('.').to_owned()).map_err(|_| {
                Failure::new(
                    Code::TlsFailed,
                    "the host's name cannot stand in a certificate",
                )
            })?
        }
    };
    Ok(name)
}

/// Returns the failure of a handshake error.
fn handshake_failure(error: &io::Error) -> Failure {
    if let Some(error) = tls_error(error) {
        return tls_failure(error);
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection",
        _ => "the server broke off the connection",
    };
    Failure::new(
        Code::ConnectionClosed,
        format!("{what} in the TLS handshake"),
    )
}

/// Returns the TLS error that caused an I/O error.
pub(super) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Returns the failure of a TLS error after the handshake. A TLS 1.3 server requests a client
/// certificate only then.
pub(super) fn post_handshake_failure(error: &TlsError) -> Failure {
    let what = match error {
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            return tls_failure(error);
        }
        TlsError::AlertReceived(alert) => {
            format!("the server broke off TLS after the handshake (alert {alert:?})")
        }
        _ => "the server broke the rules of TLS after the handshake".into(),
    };
    Failure::new(Code::TlsFailed, what)
}

/// Returns the failure of a TLS error in the handshake.
fn tls_failure(error: &TlsError) -> Failure {
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
            "the server does not offer HTTP/1.1 over TLS".into()
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
