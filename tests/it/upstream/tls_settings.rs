//! `tls_server_name`, client certificates, and certificates of old devices in `ca_file`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use resumen::domain::{Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload, ResolveFn};
use resumen::process::Clock;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use url::Host;

use crate::support::default_provider_at;
use crate::support::fake_provider::script::ProviderScript;
use crate::support::fake_provider::test_certificates::{
    CertificateKind, client_certificate, issue_certificate, shared_certificate, test_ca_pem,
};
use crate::support::fake_provider::{FakeProvider, ProviderPlan};

const ANSWERING: [&str; 2] = ["respond", "again"];

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn start_server(tls: Option<CertificateKind>, config: Option<ServerConfig>) -> FakeProvider {
    let server = FakeProvider::start(ProviderPlan {
        scripts: vec![ProviderScript::parse(&ANSWERING)],
        tls,
        tls_config: config.map(Arc::new),
        ..ProviderPlan::default()
    });
    server.set_json("{}");
    server
}

/// A provider at this host that trusts the test authority.
fn provider_at(host: &str, server: &FakeProvider) -> Provider {
    let url = format!("https://{host}:{}/value", server.address.port());
    let mut provider = default_provider_at(&url);
    provider.request.tls.ca_pem = Some(test_ca_pem().into());
    provider.request.allow_private = true;
    provider
}

fn expect_name(provider: &mut Provider, name: &str) {
    provider.request.tls.server_name = Some(Host::parse(name).unwrap());
}

/// Every name is 127.0.0.1. Returns also the names that were looked up.
fn recording_resolver() -> (ResolveFn, Arc<Mutex<Vec<String>>>) {
    let names = Arc::<Mutex<Vec<String>>>::default();
    let recorded = Arc::clone(&names);
    let resolve: ResolveFn = Arc::new(move |name| {
        recorded.lock().unwrap().push(name.to_string());
        Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })
    });
    (resolve, names)
}

async fn fetch(provider: &Provider) -> Result<Payload, FetchError> {
    let clock = Clock::start();
    let fetch = HttpFetch::with_resolver(clock, Redactor::default(), recording_resolver().0);
    let deadline = clock.deadline(Duration::from_secs(10));
    fetch.fetch(provider, deadline.into()).await
}

/// The code and the message of a failure.
async fn fetch_failure(provider: &Provider) -> String {
    let failure = fetch(provider).await.unwrap_err().failure;
    format!("{}: {}", failure.code.as_str(), failure.message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_name_is_sent_and_expected() {
    let server = start_server(Some(CertificateKind::WrongName), None);
    for host in ["127.0.0.1", "nas.test"] {
        let mut provider = provider_at(host, &server);
        expect_name(&mut provider, "other.test");
        fetch(&provider).await.unwrap();
        let head = server.request_heads().pop().unwrap();
        let expected = format!("\r\nHost: {host}:{}\r\n", server.address.port());
        assert!(head.contains(&expected), "{head}");
        let sent = server.server_names().pop().unwrap();
        assert_eq!(sent.as_deref(), Some("other.test"));
    }
    let mut provider = provider_at("127.0.0.1", &server);
    expect_name(&mut provider, "absent.test");
    let failure = fetch_failure(&provider).await;
    let expected = "for `other.test`, not for `absent.test`";
    assert!(failure.contains(expected), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_name_is_not_looked_up() {
    let server = start_server(Some(CertificateKind::WrongName), None);
    let mut provider = provider_at("nas.test", &server);
    expect_name(&mut provider, "other.test");
    let (clock, (resolver, names)) = (Clock::start(), recording_resolver());
    let fetch = HttpFetch::with_resolver(clock, Redactor::default(), resolver);
    let deadline = clock.deadline(Duration::from_secs(10));
    fetch.fetch(&provider, deadline.into()).await.unwrap();
    assert_eq!(*names.lock().unwrap(), ["nas.test"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_address_behind_server_name_is_blocked() {
    let server = start_server(Some(CertificateKind::WrongName), None);
    let mut provider = provider_at("nas.test", &server);
    provider.request.allow_private = false;
    expect_name(&mut provider, "localhost");
    let failure = fetch_failure(&provider).await;
    assert!(failure.starts_with("destination_blocked"), "{failure}");
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_as_server_name_is_expected() {
    let server = start_server(Some(CertificateKind::Good), None);
    let mut provider = provider_at("nas.test", &server);
    expect_name(&mut provider, "127.0.0.1");
    fetch(&provider).await.unwrap();
    assert_eq!(server.server_names(), [None]);
    expect_name(&mut provider, "10.0.0.1");
    let failure = fetch_failure(&provider).await;
    assert!(failure.contains("not for `10.0.0.1`"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_name_and_proxy_exclude_each_other() {
    let server = start_server(Some(CertificateKind::Good), None);
    let mut provider = provider_at("127.0.0.1", &server);
    expect_name(&mut provider, "secure.test");
    let proxy = url::Url::parse("http://127.0.0.1:1/").unwrap();
    provider.request.proxy = resumen::domain::EgressProxy {
        http: None,
        https: Some(proxy),
    };
    let failure = fetch_failure(&provider).await;
    assert!(failure.contains("`tls_server_name`"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_only_server_refuses_server_name() {
    let server = FakeProvider::with_http2(&["respond"]);
    let mut provider = provider_at("127.0.0.1", &server);
    expect_name(&mut provider, "secure.test");
    let failure = fetch_failure(&provider).await;
    assert!(failure.contains("does not offer HTTP/1.1"), "{failure}");
}

/// A server that requires a certificate of the test authority.
fn demanding_config(version: &'static SupportedProtocolVersion) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(test_ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let issued = shared_certificate(CertificateKind::Good);
    let key = PrivateKeyDer::try_from(issued.1.serialize_der()).unwrap();
    ServerConfig::builder_with_protocol_versions(&[version])
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![issued.0.der().clone()], key)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_certificate_is_shown() {
    for version in VERSIONS {
        let server = start_server(None, Some(demanding_config(version)));
        let mut provider = provider_at("127.0.0.1", &server);
        provider.request.tls.client_certificate = Some(client_certificate());
        fetch(&provider).await.unwrap();
        assert_eq!(server.call_count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_client_certificate_is_told() {
    for version in VERSIONS {
        let server = start_server(None, Some(demanding_config(version)));
        let mut provider = provider_at("127.0.0.1", &server);
        let failure = fetch_failure(&provider).await;
        let expected = "tls_failed: the server wants a certificate of the client";
        assert!(failure.starts_with(expected), "{failure}");
        assert!(failure.contains("`cert_file`"), "{failure}");
        let (certificate, key) = issue_certificate(CertificateKind::UnknownAuthority);
        let mut unknown = client_certificate();
        unknown.chain_pem = certificate.pem().into();
        unknown.key_pem = key.serialize_pem().into();
        provider.request.tls.client_certificate = Some(unknown);
        let failure = fetch_failure(&provider).await;
        let expected = "tls_failed: the server refused the client certificate of `cert_file`";
        assert!(failure.starts_with(expected), "{failure}");
        assert_eq!(server.call_count(), 0);
    }
}

/// A certificate of version 1, which webpki cannot read, and its key.
const VERSION_1_CERTIFICATE: &str = "tests/config/files/client.pem";
const VERSION_1_KEY: &str = "tests/config/files/client.key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_1_certificate_is_trusted_itself() {
    let pem = std::fs::read_to_string(VERSION_1_CERTIFICATE).unwrap();
    for version in VERSIONS {
        let key = PrivateKeyDer::from_pem_file(VERSION_1_KEY).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key);
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key.unwrap()));
        let config = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let server = start_server(None, Some(config));
        let mut provider = provider_at("127.0.0.1", &server);
        let failure = fetch_failure(&provider).await;
        assert!(failure.starts_with("tls_failed"), "{failure}");
        assert!(failure.contains("it is of X.509 version 1"), "{failure}");
        provider.request.tls.ca_pem = Some((test_ca_pem() + &pem).into());
        fetch(&provider).await.unwrap();
    }
}

/// A server that shows a trusted certificate without its key is not the one that is trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_certificate_needs_its_key() {
    for version in VERSIONS {
        let shown = shared_certificate(CertificateKind::SelfSigned);
        let (_, other) = issue_certificate(CertificateKind::SelfSigned);
        let key = PrivateKeyDer::try_from(other.serialize_der()).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key);
        let chain = vec![shown.0.der().clone()];
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key.unwrap()));
        let config = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let server = start_server(None, Some(config));
        let mut provider = provider_at("127.0.0.1", &server);
        provider.request.tls.ca_pem = Some(shown.0.pem().into());
        let failure = fetch_failure(&provider).await;
        assert!(failure.starts_with("tls_failed"), "{failure}");
        assert_eq!(server.call_count(), 0);
    }
}

/// A server's certificate in `ca_file` is no authority, although it could sign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_server_certificate_signs_no_other() {
    let (mut params, key) = (
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    let trusted = rcgen::CertifiedIssuer::self_signed(params.clone(), key).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, &trusted).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], key)
        .unwrap();
    let server = start_server(None, Some(config));
    let mut provider = provider_at("127.0.0.1", &server);
    provider.request.tls.ca_pem = Some(trusted.pem().into());
    let failure = fetch_failure(&provider).await;
    assert!(failure.contains("unknown authority"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_issuer_is_named() {
    let new_params = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let names = &mut params.distinguished_name;
        names.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let new_key = || rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertifiedIssuer::self_signed(new_params("root"), new_key()).unwrap();
    let mut params = new_params("old issuer");
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let issuer = rcgen::CertifiedIssuer::signed_by(params, new_key(), &root).unwrap();
    let key = new_key();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let chain = vec![certificate.der().clone(), issuer.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let server = start_server(None, Some(config));
    let mut provider = provider_at("127.0.0.1", &server);
    provider.request.tls.ca_pem = Some(root.pem().into());
    let failure = fetch_failure(&provider).await;
    let expected = "the certificate of `CN=old issuer`, an issuer of the server's, has expired: \
                    it was valid until 2002-01-01T00:00:00Z";
    assert!(failure.contains(expected), "{failure}");
}
