//! The check of a provider's certificate. No setting turns it off.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime,
};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::certificate_facts::CertificateFacts;
use super::trace::ExchangeTrace;

/// Accepts certificates of trusted authorities, and the server certificates of `ca_file`.
#[derive(Debug)]
pub(super) struct CertificateVerifier {
    authorities: Arc<WebPkiServerVerifier>,
    trusted: Vec<TrustedCertificate>,
    /// Name that a certificate must have. Default: that of the connection.
    server_name: Option<ServerName<'static>>,
    supported: WebPkiSupportedAlgorithms,
}

/// A certificate of `ca_file`. If a server shows this very certificate, its dates are checked and the
/// proof that the server has its key; its name, its issuer and its uses are not.
#[derive(Debug)]
struct TrustedCertificate {
    der: CertificateDer<'static>,
    facts: CertificateFacts,
}

impl CertificateVerifier {
    /// Returns a verifier that trusts the public authorities and `certificates`. Fails if none of the
    /// latter can be used.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        server_name: Option<ServerName<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Self> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let is_empty = certificates.is_empty();
        let (mut trusted, mut root_count) = (Vec::new(), 0);
        for der in certificates {
            let facts = CertificateFacts::read(&der);
            // A server's certificate must not sign others, although webpki would let any root.
            if facts.as_ref().is_none_or(|facts| facts.is_authority) {
                // A bundle of a system may hold certificates that webpki refuses.
                root_count += usize::from(roots.add(der.clone()).is_ok());
            }
            if let Some(facts) = facts {
                trusted.push(TrustedCertificate { der, facts });
            }
        }
        if !is_empty && trusted.is_empty() && root_count == 0 {
            return None;
        }
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Some(Self {
            // Fails only without roots; the public ones are always there.
            authorities: authorities.build().ok()?,
            trusted,
            server_name,
            supported: provider.signature_verification_algorithms,
        })
    }

    fn find_trusted(&self, certificate: &CertificateDer<'_>) -> Option<&CertificateFacts> {
        let is_equal = |trusted: &&TrustedCertificate| trusted.der == *certificate;
        self.trusted
            .iter()
            .find(is_equal)
            .map(|trusted| &trusted.facts)
    }
}

/// Verifies a signature of TLS 1.2 by the key alone: webpki cannot read a certificate of version 1, which
/// old devices have.
fn verify_by_key(
    facts: &CertificateFacts,
    message: &[u8],
    signed: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, TlsError> {
    let key = facts.public_key();
    let key = webpki::RawPublicKeyEntity::try_from(&key)
        .map_err(|_| TlsError::InvalidCertificate(CertificateError::BadEncoding))?;
    let known = supported.mapping.iter();
    let mut algorithms = known
        .filter(|(scheme, _)| *scheme == signed.scheme)
        .flat_map(|(_, algorithms)| *algorithms);
    let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        key.verify_signature(*algorithm, message, signed.signature())
            .is_ok()
    };
    if algorithms.any(verifies) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(TlsError::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        // A failed signature of the handshake is described by the certificate, too.
        ExchangeTrace::note_current_certificates(end_entity, intermediates);
        if let Some(facts) = self.find_trusted(end_entity) {
            facts.check_validity(now)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            self.server_name.as_ref().unwrap_or(server_name),
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match self.find_trusted(certificate) {
            Some(facts) => verify_by_key(facts, message, signed, &self.supported),
            None => self
                .authorities
                .verify_tls12_signature(message, certificate, signed),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match self.find_trusted(certificate) {
            Some(facts) => verify_tls13_signature_with_raw_key(
                message,
                &facts.public_key(),
                signed,
                &self.supported,
            ),
            None => self
                .authorities
                .verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
