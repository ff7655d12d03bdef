//! TLS with the public certificate authorities and the certificates of `ca_file`, and with a
//! certificate of this client. Verification cannot be disabled.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_rustls::rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, NamedGroup, SignatureScheme};
use url::Host;

use crate::domain::{ClientCertificate, Code, Failure, TlsSettings};

use super::certificate_verifier::CertificateVerifier;
use super::deadline::FetchPhase;
use super::trace::ExchangeTrace;

/// Maximum number of cached client configurations.
const MAX_CLIENT_CONFIGS: usize = 64;

/// Maximum number of sessions to resume per client configuration.
const MAX_TLS_SESSIONS: usize = 256;

/// Client configurations by their settings. Each caches sessions to resume: a session of other settings
/// would skip the check of the certificate by these.
#[derive(Default)]
pub(super) struct TlsClient(Mutex<HashMap<TlsSettings, Arc<ClientConfig>>>);

impl TlsClient {
    /// Returns the configuration for `settings`.
    pub(super) fn client_config(
        &self,
        settings: &TlsSettings,
    ) -> Result<Arc<ClientConfig>, Failure> {
        // Built under the lock: two calls at the same time would give two session caches.
        let mut configs = self.0.lock();
        if let Some(config) = configs.get(settings) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(build_client_config(settings)?);
        // Reloads may bring ever other settings; what is still in use is soon built again.
        if configs.len() >= MAX_CLIENT_CONFIGS {
            configs.clear();
        }
        configs.insert(settings.clone(), Arc::clone(&config));
        Ok(config)
    }
}

fn build_client_config(settings: &TlsSettings) -> Result<ClientConfig, Failure> {
    let unusable = |what: &str| {
        let message = format!("{what} holds no certificate that can be used");
        Failure::new(Code::TlsFailed, message)
    };
    let builder = ClientConfig::builder();
    let provider = Arc::clone(builder.crypto_provider());
    let pem = settings.ca_pem.as_deref().unwrap_or_default();
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
    let server_name = settings.server_name.as_ref().and_then(to_server_name);
    let verifier = CertificateVerifier::new(certificates.collect(), server_name, &provider)
        .ok_or_else(|| unusable("`ca_file`"))?;
    let certified_key = match &settings.client_certificate {
        None => None,
        Some(certificate) => {
            let key = load_client_certificate(certificate, &provider);
            Some(Arc::new(key.ok_or_else(|| unusable("`cert_file`"))?))
        }
    };
    let mut config = builder
        // rustls calls every own verifier dangerous. This one checks each certificate.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(RequestNotingCertificate(certified_key)));
    // RFC 6066, section 3: an address is not sent. The host of the URL is not the expected name.
    config.enable_sni = !matches!(settings.server_name, Some(Host::Ipv4(_) | Host::Ipv6(_)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(PhaseNotingStore(
        ClientSessionMemoryCache::new(MAX_TLS_SESSIONS),
    )));
    Ok(config)
}

/// Returns the name in the form of rustls; validation excludes that there is none.
fn to_server_name(host: &Host<String>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
        Host::Ipv4(address) => Some(ServerName::IpAddress((*address).into())),
        Host::Ipv6(address) => Some(ServerName::IpAddress((*address).into())),
    }
}

/// Returns the chain and its key; validation excludes that they are unusable.
fn load_client_certificate(
    certificate: &ClientCertificate,
    provider: &CryptoProvider,
) -> Option<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).ok()?;
    let key = provider.key_provider.load_private_key(key).ok()?;
    Some(CertifiedKey::new(chain, key))
}

/// The certificate of this client, if there is one. Notes that the server requested one, which explains a
/// refusal.
#[derive(Debug)]
struct RequestNotingCertificate(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for RequestNotingCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        ExchangeTrace::note_client_certificate_request();
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
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
