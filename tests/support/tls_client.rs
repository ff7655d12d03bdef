//! Certificates for the server, and clients that trust them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use resumen::config::ServerTls;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::wait::WAIT_LIMIT;

/// A TLS connection for `std::io`.
pub type TlsConnection = StreamOwned<ClientConnection, TcpStream>;

/// An authority that signs certificates for 127.0.0.1.
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// PEM texts of a certificate and its key.
pub struct CertificateFiles {
    pub certificate: String,
    pub key: String,
}

impl TestAuthority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A new certificate with its key.
    pub fn issue(&self) -> CertificateFiles {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        CertificateFiles {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// The configuration of a client that trusts the authority, with these protocols for ALPN.
    pub fn client_config(
        &self,
        own: Option<&CertificateFiles>,
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = CertificateDer::from_pem_slice(files.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(files.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}

impl CertificateFiles {
    /// Writes `cert.pem` and `key.pem`, each in one step. Returns their paths.
    pub fn write(&self, folder: &Path) -> [PathBuf; 2] {
        [("cert.pem", &self.certificate), ("key.pem", &self.key)].map(|(name, text)| {
            let path = folder.join(name);
            let draft = folder.join("draft.pem");
            fs::write(&draft, text).unwrap();
            fs::rename(draft, &path).unwrap();
            path
        })
    }

    /// The settings of a server that shows the certificate.
    pub fn server_settings(&self) -> ServerTls {
        ServerTls {
            chain_pem: self.certificate.as_str().into(),
            key_pem: self.key.as_str().into(),
            client_ca_pem: None,
        }
    }

    /// The DER form of the certificate.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// Connects. The handshake happens with the first read or write.
pub fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsConnection {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::from(address.ip());
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(session, stream)
}
