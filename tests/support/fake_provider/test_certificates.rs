//! Certificates of each kind. All but `WrongName` are for `localhost`, `secure.test` and 127.0.0.1.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
};
use serde::Deserialize;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The fault of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateKind {
    /// No fault: signed by the authority of [`test_ca_pem`].
    Good,
    /// Signed by the authority; the end of its validity has passed.
    Expired,
    /// Signed by the authority; its validity has not begun.
    Future,
    /// Signed by the authority, for another host.
    WrongName,
    /// Signed by its own key.
    SelfSigned,
}

/// The authority of all certificates but `SelfSigned`.
pub fn test_ca_pem() -> String {
    test_ca().pem()
}

/// A TLS server with a certificate of this kind, which negotiates HTTP/2 if `is_http2`.
pub fn tls_server_config(kind: CertificateKind, is_http2: bool) -> Arc<ServerConfig> {
    let (certificate, key) = issue_certificate(kind);
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    if is_http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Arc::new(config)
}

/// A certificate of this kind and its key.
pub fn issue_certificate(kind: CertificateKind) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names = if kind == CertificateKind::WrongName {
        vec!["other.test"]
    } else {
        vec!["localhost", "secure.test", "127.0.0.1"]
    };
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).unwrap();
    match kind {
        CertificateKind::Expired => {
            (params.not_before, params.not_after) =
                (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        CertificateKind::Future => params.not_before = date_time_ymd(2999, 1, 1),
        CertificateKind::Good | CertificateKind::WrongName | CertificateKind::SelfSigned => {}
    }
    let certificate = match kind {
        CertificateKind::SelfSigned => params.self_signed(&key).unwrap(),
        _ => params.signed_by(&key, test_ca()).unwrap(),
    };
    (certificate, key)
}

fn test_ca() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    })
}
