//! Certificates of each kind. All but `WrongName` are for `localhost`, `secure.test` and 127.0.0.1.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use resumen::domain::ClientCertificate;
use serde::Deserialize;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The fault of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
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
    /// The same with the flag of an authority, as `openssl req -x509` makes it.
    SelfSignedAuthority,
    /// Signed by its own key, for another host.
    SelfSignedWrongName,
    /// Signed by its own key; the end of its validity has passed.
    SelfSignedExpired,
    /// Signed by an authority that no client knows, `CN=Somebody's authority`.
    UnknownAuthority,
    /// Signed by an authority that has the name of the test authority and another key.
    Impostor,
    /// Signed by the authority, with a common name instead of host names.
    NoNames,
    /// Signed by the authority, for clients only.
    ClientUse,
    /// Signed by an unknown authority; long names with control characters.
    HostileNames,
}

/// A certificate for clients, signed by the test authority, and its key.
pub fn client_certificate() -> ClientCertificate {
    let (certificate, key) = issue_certificate(CertificateKind::ClientUse);
    ClientCertificate {
        chain_pem: certificate.pem().into(),
        key_pem: key.serialize_pem().into(),
    }
}

/// The authority of most certificates.
pub fn test_ca_pem() -> String {
    test_ca().pem()
}

/// A TLS server with a certificate of this kind, which negotiates HTTP/2 if `is_http2`.
pub fn tls_server_config(kind: CertificateKind, is_http2: bool) -> Arc<ServerConfig> {
    let issued = shared_certificate(kind);
    let (certificate, key) = &*issued;
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

/// The certificate of this kind that all providers of this process show, and its key.
pub fn shared_certificate(kind: CertificateKind) -> Arc<(Certificate, KeyPair)> {
    type Issued = HashMap<CertificateKind, Arc<(Certificate, KeyPair)>>;
    static ISSUED: OnceLock<Mutex<Issued>> = OnceLock::new();
    let mut issued = ISSUED.get_or_init(Mutex::default).lock().unwrap();
    let certificate = issued
        .entry(kind)
        .or_insert_with(|| Arc::new(issue_certificate(kind)));
    Arc::clone(certificate)
}

/// A new certificate of this kind and its key.
pub fn issue_certificate(kind: CertificateKind) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names = match kind {
        CertificateKind::WrongName | CertificateKind::SelfSignedWrongName => vec!["other.test"],
        CertificateKind::NoNames => Vec::new(),
        _ => vec!["localhost", "secure.test", "127.0.0.1"],
    };
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).unwrap();
    match kind {
        CertificateKind::Expired | CertificateKind::SelfSignedExpired => {
            (params.not_before, params.not_after) =
                (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        CertificateKind::Future => params.not_before = date_time_ymd(2999, 1, 1),
        CertificateKind::SelfSignedAuthority => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        CertificateKind::ClientUse => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        CertificateKind::NoNames => {
            params
                .distinguished_name
                .push(DnType::CommonName, "127.0.0.1");
        }
        _ => {}
    }
    let certificate = match kind {
        CertificateKind::SelfSigned
        | CertificateKind::SelfSignedAuthority
        | CertificateKind::SelfSignedWrongName
        | CertificateKind::SelfSignedExpired => params.self_signed(&key),
        CertificateKind::UnknownAuthority => {
            params.signed_by(&key, &new_ca(Some("Somebody's authority")))
        }
        CertificateKind::HostileNames => {
            let name = "\u{1b}[31m\u{202e}\n".repeat(500);
            params.signed_by(&key, &new_ca(Some(&name)))
        }
        CertificateKind::Impostor => params.signed_by(&key, &new_ca(None)),
        _ => params.signed_by(&key, test_ca()),
    };
    (certificate.unwrap(), key)
}

fn new_ca(common_name: Option<&str>) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = common_name.unwrap_or("test authority");
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn test_ca() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| new_ca(None))
}
