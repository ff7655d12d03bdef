//! Failures of TLS: which check of a certificate failed, or what both sides do not have in common, and
//! what to do about it.

use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error as TlsError, ExtendedKeyPurpose, PeerIncompatible,
};

use crate::domain::{Code, Failure};

use super::certificate_facts::{CertificateFacts, format_unix_seconds};
use super::client::CallTarget;
use super::trace::ExchangeTrace;

/// What this client offers. A test compares it with the provider of rustls.
const OFFERED: &str = "offered were TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, for certificates \
     with RSA, ECDSA (P-256, P-384) or Ed25519";

/// Shortest RSA key that `ring` accepts, in bits.
const MIN_RSA_BITS: usize = 2048;

/// What is known of a failed handshake beside its error.
pub(super) struct TlsContext<'c> {
    trace: &'c ExchangeTrace,
    target: &'c CallTarget,
}

impl<'c> TlsContext<'c> {
    pub(super) const fn new(trace: &'c ExchangeTrace, target: &'c CallTarget) -> Self {
        Self { trace, target }
    }

    /// Returns the name that the certificate must have.
    fn expected_name(&self) -> String {
        let settings = &self.target.settings.tls;
        let host = settings.server_name.as_ref();
        host.unwrap_or(&self.target.endpoint.host).to_string()
    }

    fn has_ca_file(&self) -> bool {
        self.target.settings.tls.ca_pem.is_some()
    }

    /// Returns what an alert says of the client's certificate; `None` if the server requested none.
    fn client_certificate_message(&self, alert: AlertDescription) -> Option<String> {
        if !self.trace.is_client_certificate_requested() {
            return None;
        }
        let is_sent = self.target.settings.tls.client_certificate.is_some();
        let is_about_it = matches!(
            alert,
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        );
        // Servers of TLS 1.2 refuse a missing certificate with the general alert.
        let is_missing = is_about_it || (!is_sent && alert == AlertDescription::HandshakeFailure);
        if is_sent && is_about_it {
            return Some(format!(
                "the server refused the client certificate of `cert_file` (alert {alert:?}): \
                 its issuer, its dates or its use are not what the server accepts"
            ));
        }
        (!is_sent && is_missing).then(|| {
            format!(
                "the server wants a certificate of the client (alert {alert:?}): \
                 name it in `cert_file`, and its key in `key_file`"
            )
        })
    }
}

/// Returns the failure of a TLS error after the handshake. A TLS 1.3 server judges the client's
/// certificate only then.
pub(super) fn post_handshake_failure(
    error: &TlsError,
    context: Option<&TlsContext<'_>>,
) -> Failure {
    let what = match error {
        TlsError::AlertReceived(alert) => context
            .and_then(|context| context.client_certificate_message(*alert))
            .unwrap_or_else(|| {
                format!("the server broke off TLS after the handshake (alert {alert:?})")
            }),
        _ => "the server broke the rules of TLS after the handshake".into(),
    };
    Failure::new(Code::TlsFailed, what)
}

/// Returns the failure of a TLS error in the handshake.
pub(super) fn handshake_failure(error: &TlsError, context: &TlsContext<'_>) -> Failure {
    let message = match error {
        TlsError::InvalidCertificate(error) => certificate_message(error, context),
        TlsError::InvalidMessage(_) => {
            "the server does not speak TLS (plain HTTP on this port? then write `http://`)".into()
        }
        TlsError::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        )
        | TlsError::AlertReceived(AlertDescription::ProtocolVersion) => format!(
            "no version of TLS in common: the server offers no version of TLS that is safe \
             (1.2 or 1.3); update the server, or put a proxy with TLS 1.2 before it; {OFFERED}"
        ),
        TlsError::AlertReceived(alert) => alert_message(*alert, context),
        TlsError::NoApplicationProtocol => protocol_message(context),
        TlsError::PeerIncompatible(what) => format!(
            "nothing of TLS in common with the server ({}); {OFFERED}",
            incompatibility(what)
        ),
        _ => "the server broke the rules of TLS".into(),
    };
    Failure::new(Code::TlsFailed, message)
}

fn protocol_message(context: &TlsContext<'_>) -> String {
    if context.target.settings.has_other_name() {
        return "the server does not offer HTTP/1.1, which calls with `tls_server_name` use".into();
    }
    "the server offers neither HTTP/2 nor HTTP/1.1 over TLS".into()
}

fn alert_message(alert: AlertDescription, context: &TlsContext<'_>) -> String {
    if let Some(message) = context.client_certificate_message(alert) {
        return message;
    }
    match alert {
        AlertDescription::NoApplicationProtocol => protocol_message(context),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => format!(
            "the server refused the TLS handshake (alert {alert:?}): most often no cipher suite \
             or key exchange in common, or a certificate with a key of another kind; \
             {OFFERED}"
        ),
        AlertDescription::UnrecognisedName => format!(
            "the server refused the TLS handshake (alert {alert:?}): it has no site of the name \
             `{}`; `tls_server_name` sends another name",
            context.expected_name()
        ),
        _ => format!("the server refused the TLS handshake (alert {alert:?})"),
    }
}

fn incompatibility(what: &PeerIncompatible) -> &'static str {
    match what {
        PeerIncompatible::NoCipherSuitesInCommon => "no cipher suite",
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "no group of the key exchange"
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => "no kind of signature",
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => "extended master secret",
        _ => "an extension",
    }
}

/// Returns which check failed, what to do, and the fields of the certificate.
fn certificate_message(error: &CertificateError, context: &TlsContext<'_>) -> String {
    let chain = context.trace.certificates();
    let facts = chain.first().and_then(CertificateFacts::read);
    let Some(facts) = facts else {
        let reason = match error {
            CertificateError::BadEncoding => "it is not valid X.509".to_owned(),
            other => format!("{other:?}").chars().take(80).collect(),
        };
        return format!("the server's certificate cannot be checked: {reason}");
    };
    let what = failed_check(error, &facts, context);
    format!("{what} ({})", facts.describe())
}

fn failed_check(
    error: &CertificateError,
    facts: &CertificateFacts,
    context: &TlsContext<'_>,
) -> String {
    let fixed = "`ca_file` does not lift this check";
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "{} has expired: it was valid until {}, and by this machine's clock it is {}; renew it \
             on the server, {fixed}",
            member_at(not_after.as_secs(), |facts| facts.not_after, context),
            format_unix_seconds(not_after.as_secs()),
            format_unix_seconds(time.as_secs()),
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "{} is not valid yet: it is valid from {}, and by this machine's clock it is {}; set \
             the clock that is wrong, {fixed}",
            member_at(not_before.as_secs(), |facts| facts.not_before, context),
            format_unix_seconds(not_before.as_secs()),
            format_unix_seconds(time.as_secs()),
        ),
        CertificateError::Expired => {
            "the dates of the server's certificate contradict each other".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            wrong_name_message(facts, context)
        }
        // First: `ca_file` would not help.
        _ if is_issuer_error(error, facts) && has_short_key(facts) => format!(
            "the RSA key of the server's certificate has {} bits, which is too short (at least \
             {MIN_RSA_BITS}); make a new one on the server",
            facts.rsa_bits.unwrap_or_default()
        ),
        _ if is_issuer_error(error, facts) => issuer_message(error, facts, context),
        CertificateError::InvalidPurposeContext { presented, .. } => format!(
            "the server's certificate is not for servers, but for {}; put it into `ca_file` to \
             trust it all the same",
            purposes(presented)
        ),
        CertificateError::InvalidPurpose => {
            "the server's certificate is not for servers; put it into `ca_file` to trust it all \
             the same"
                .into()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
            "the server's certificate, or one of its issuers, is signed in a way that is not \
             supported ({}); put the server's own certificate into `ca_file`, or make a new one \
             (RSA or ECDSA, SHA-256)",
            facts.signature_algorithm()
        ),
        CertificateError::Revoked => "the server's certificate has been revoked".into(),
        CertificateError::Other(_) => format!(
            "the server's certificate cannot be checked: {}; put it into `ca_file` to trust it all \
             the same",
            other_reason(error)
        ),
        other => {
            let reason: String = format!("{other:?}").chars().take(80).collect();
            format!("the server's certificate cannot be checked: {reason}")
        }
    }
}

/// Returns the certificate of the chain with this date, as the subject of a message.
fn member_at(date: u64, date_of: fn(&CertificateFacts) -> u64, context: &TlsContext<'_>) -> String {
    let chain = context.trace.certificates();
    let position = chain
        .iter()
        .filter_map(CertificateFacts::read)
        .enumerate()
        .find(|(_, facts)| date_of(facts) == date);
    match position {
        Some((0, _)) => "the server's certificate".into(),
        Some((_, issuer)) => {
            format!(
                "the certificate of {}, an issuer of the server's,",
                issuer.subject()
            )
        }
        None => "the certificate of an issuer of the server's".into(),
    }
}

fn wrong_name_message(facts: &CertificateFacts, context: &TlsContext<'_>) -> String {
    let expected = context.expected_name();
    if facts.names.is_empty() {
        return format!(
            "the server's certificate has no host name, so it is not for `{expected}` (a common \
             name does not count); make a new one with a subjectAltName, or put this one into \
             `ca_file`"
        );
    }
    format!(
        "the server's certificate is for another name: for {}, not for `{expected}`; write a name \
         of the certificate into the URL or `tls_server_name`, or put this certificate into `ca_file`",
        facts.quoted_names()
    )
}

fn has_short_key(facts: &CertificateFacts) -> bool {
    facts.rsa_bits.is_some_and(|bits| bits < MIN_RSA_BITS)
}

/// Returns whether the issuer is not trusted. A self-signed certificate with the name of a trusted
/// authority has a bad signature instead of an unknown issuer.
fn is_issuer_error(error: &CertificateError, facts: &CertificateFacts) -> bool {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => true,
        _ => match webpki_error(error) {
            Some(webpki::Error::CaUsedAsEndEntity) => true,
            // webpki reads no certificate of version 1, whatever signed it.
            Some(webpki::Error::UnsupportedCertVersion) => facts.is_self_issued,
            _ => false,
        },
    }
}

/// Returns the error of webpki that rustls has no variant for.
fn webpki_error(error: &CertificateError) -> Option<&webpki::Error> {
    match error {
        CertificateError::Other(other) => other.0.downcast_ref(),
        _ => None,
    }
}

fn other_reason(error: &CertificateError) -> String {
    match webpki_error(error) {
        Some(webpki::Error::UnsupportedCertVersion) => "it is of X.509 version 1 or 2".into(),
        Some(webpki::Error::NameConstraintViolation) => {
            "its authority may not sign these names".into()
        }
        Some(webpki::Error::PathLenConstraintViolated | webpki::Error::EndEntityUsedAsCa) => {
            "one of its issuers may not sign it".into()
        }
        Some(error) => error.to_string(),
        None => "unknown reason".into(),
    }
}

fn issuer_message(
    error: &CertificateError,
    facts: &CertificateFacts,
    context: &TlsContext<'_>,
) -> String {
    let absent = if context.has_ca_file() {
        ", and not in `ca_file`"
    } else {
        ""
    };
    if facts.is_self_issued {
        return format!(
            "the server's certificate is self-signed{absent}; if it is the right one, put that \
             certificate (PEM) into `ca_file`"
        );
    }
    let issuer = facts.issuer();
    if matches!(webpki_error(error), Some(webpki::Error::CaUsedAsEndEntity)) {
        return format!(
            "the server shows an authority's own certificate{absent}; put it (PEM) into `ca_file`, \
             or let the authority sign one for the server"
        );
    }
    if *error == CertificateError::BadSignature {
        return format!(
            "the server's certificate has a bad signature: the authority {issuer} that is trusted \
             has another key than the one that signed; put the certificate (PEM) of the present \
             authority, or of the server, into `ca_file`"
        );
    }
    let chain = match context.trace.certificates().len() {
        0 | 1 => "the server sends no certificate of an issuer; ",
        _ => "",
    };
    format!(
        "the server's certificate is of an unknown authority, {issuer}{absent}; {chain}put the \
         certificate (PEM) of that authority, or of the server, into `ca_file`"
    )
}

fn purposes(presented: &[ExtendedKeyPurpose]) -> String {
    let purposes = presented.iter().take(3).map(|purpose| match purpose {
        ExtendedKeyPurpose::ClientAuth => "clients".to_owned(),
        ExtendedKeyPurpose::ServerAuth => "servers".to_owned(),
        ExtendedKeyPurpose::Other(oid) => {
            let parts = oid.iter().take(12).map(ToString::to_string);
            parts.collect::<Vec<_>>().join(".")
        }
    });
    let purposes: Vec<_> = purposes.collect();
    if purposes.is_empty() {
        return "no use".into();
    }
    purposes.join(" and ")
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::ClientConfig;

    #[test]
    fn offered_suites_are_as_told() {
        let builder = ClientConfig::builder();
        for suite in &builder.crypto_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            let is_told = name.contains("CHACHA20_POLY1305") || name.contains("_GCM_");
            assert!(is_told, "{name}");
            assert!(
                name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"),
                "{name}"
            );
        }
    }
}
