//! The fields of a certificate that messages and the check of a trusted server certificate need.

use std::fmt::Write as _;
use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use tokio_rustls::rustls::{CertificateError, Error as TlsError};
use x509_cert::certificate::Version;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};
use x509_cert::spki::ObjectIdentifier;
use x509_cert::{Certificate, TbsCertificate};

use crate::text::escape_bounded;

/// Maximum number of names in a message.
const MAX_NAMES: usize = 5;

/// Maximum number of characters of one name, after escaping.
const MAX_NAME_CHARS: usize = 64;

/// Maximum number of characters of a subject or an issuer, after escaping.
const MAX_DN_CHARS: usize = 120;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Algorithms of signatures that are too weak, or rare, to be supported.
const ALGORITHM_NAMES: [(&str, &str); 7] = [
    ("1.2.840.113549.1.1.4", "MD5 and RSA"),
    ("1.2.840.113549.1.1.5", "SHA-1 and RSA"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.10040.4.3", "SHA-1 and DSA"),
    ("1.2.840.10045.4.1", "SHA-1 and ECDSA"),
    ("1.2.840.10045.4.3.4", "SHA-512 and ECDSA"),
    ("1.3.101.113", "Ed448"),
];

/// The fields of a certificate. Its texts come from a server and are escaped before they are shown.
#[derive(Debug, Clone)]
pub(super) struct CertificateFacts {
    /// DNS names and IP addresses of the subject alternative name.
    pub(super) names: Vec<String>,
    subject: String,
    issuer: String,
    /// Start and end of the validity, in seconds of Unix time.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    /// Whether subject and issuer are equal.
    pub(super) is_self_issued: bool,
    /// Whether the certificate may sign others: by its flag, or because its version has no flags.
    pub(super) is_authority: bool,
    /// Length of an RSA key in bits.
    pub(super) rsa_bits: Option<usize>,
    signature_algorithm: String,
    public_key: Vec<u8>,
}

impl CertificateFacts {
    /// Reads a certificate; `None` if it is not valid DER.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let fields = certificate.tbs_certificate();
        let validity = fields.validity();
        let (subject, issuer) = (fields.subject(), fields.issuer());
        Some(Self {
            names: alternative_names(fields),
            subject: subject.to_string(),
            issuer: issuer.to_string(),
            not_before: validity.not_before.to_unix_duration().as_secs(),
            not_after: validity.not_after.to_unix_duration().as_secs(),
            is_self_issued: subject == issuer,
            is_authority: is_authority(fields),
            rsa_bits: rsa_bits(fields),
            signature_algorithm: certificate.signature_algorithm().oid.to_string(),
            public_key: fields.subject_public_key_info().to_der().ok()?,
        })
    }

    /// Checks the validity at `now`, with the errors of rustls.
    pub(super) fn check_validity(&self, now: UnixTime) -> Result<(), TlsError> {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let error = if now.as_secs() < self.not_before {
            CertificateError::NotValidYetContext {
                time: now,
                not_before: at(self.not_before),
            }
        } else if now.as_secs() > self.not_after {
            CertificateError::ExpiredContext {
                time: now,
                not_after: at(self.not_after),
            }
        } else {
            return Ok(());
        };
        Err(TlsError::InvalidCertificate(error))
    }

    pub(super) fn public_key(&self) -> SubjectPublicKeyInfoDer<'_> {
        self.public_key.as_slice().into()
    }

    /// Returns the subject, escaped and cut.
    pub(super) fn subject(&self) -> String {
        quote_dn(&self.subject)
    }

    /// Returns the issuer, escaped and cut.
    pub(super) fn issuer(&self) -> String {
        quote_dn(&self.issuer)
    }

    /// Returns the names for which the certificate is, escaped and cut.
    pub(super) fn quoted_names(&self) -> String {
        let mut text = String::new();
        for (position, name) in self.names.iter().take(MAX_NAMES).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            let name = escape_bounded(name, MAX_NAME_CHARS);
            let _ = write!(text, "{separator}`{name}`");
        }
        match self.names.len().checked_sub(MAX_NAMES) {
            Some(more) if more > 0 => text + &format!(" and {more} more"),
            _ => text,
        }
    }

    /// Returns the algorithm of the signature in words, or its object identifier.
    pub(super) fn signature_algorithm(&self) -> &str {
        let known = ALGORITHM_NAMES.iter();
        let mut known = known.filter(|(oid, _)| *oid == self.signature_algorithm);
        known
            .next()
            .map_or(&self.signature_algorithm, |(_, name)| name)
    }

    /// Returns names, issuer and dates for the end of a message.
    pub(super) fn describe(&self) -> String {
        let names = if self.names.is_empty() {
            format!("for no host name, subject {}", self.subject())
        } else {
            format!("for {}", self.quoted_names())
        };
        format!(
            "certificate {names}; issuer {}; valid from {} to {}",
            self.issuer(),
            format_unix_seconds(self.not_before),
            format_unix_seconds(self.not_after)
        )
    }
}

fn quote_dn(text: &str) -> String {
    if text.is_empty() {
        return "without a name".into();
    }
    format!("`{}`", escape_bounded(text, MAX_DN_CHARS))
}

/// Returns an instant as RFC 3339 in UTC with seconds.
pub(super) fn format_unix_seconds(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let seconds = seconds.min(jiff::Timestamp::MAX.as_second());
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    format!("{timestamp:.0}")
}

fn alternative_names(fields: &TbsCertificate) -> Vec<String> {
    let Ok(Some((_, names))) = fields.get_extension::<SubjectAltName>() else {
        return Vec::new();
    };
    let names = names.0.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => ip_address(bytes.as_bytes()).map(|ip| ip.to_string()),
        _ => None,
    });
    names.collect()
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

fn is_authority(fields: &TbsCertificate) -> bool {
    // Flags came with version 3; authorities of version 1 are still in use.
    if fields.version() != Version::V3 {
        return true;
    }
    match fields.get_extension::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        Ok(None) => fields
            .get_extension::<KeyUsage>()
            .is_ok_and(|usage| usage.is_some_and(|(_, usage)| usage.key_cert_sign())),
        Err(_) => false,
    }
}

fn rsa_bits(fields: &TbsCertificate) -> Option<usize> {
    let key = fields.subject_public_key_info().owned_to_ref();
    if key.algorithm.oid != RSA {
        return None;
    }
    // RSAPublicKey (RFC 8017, appendix A.1.1): modulus and exponent.
    let mut reader = SliceReader::new(key.subject_public_key.as_bytes()?).ok()?;
    let modulus = reader.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok::<_, x509_cert::der::Error>(modulus.as_bytes())
    });
    let modulus = modulus.ok()?;
    let first = modulus.first().copied().unwrap_or_default();
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn read_facts(change: impl FnOnce(&mut CertificateParams)) -> CertificateFacts {
        let names = ["nas.lan", "10.0.0.2", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 2, 3), date_time_ymd(2050, 1, 1));
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateFacts::read(certificate.der()).unwrap()
    }

    #[test]
    fn facts_have_names_issuer_and_dates() {
        let facts = read_facts(|params| {
            params.distinguished_name.push(DnType::CommonName, "a nas");
        });
        assert_eq!(
            facts.describe(),
            "certificate for `nas.lan`, `10.0.0.2`, `::1`; issuer `CN=a nas`; \
             valid from 2020-02-03T00:00:00Z to 2050-01-01T00:00:00Z"
        );
        assert!(facts.is_self_issued && !facts.is_authority && facts.rsa_bits.is_none());
    }

    #[test]
    fn texts_of_certificates_are_bounded() {
        let facts = read_facts(|params| {
            let name = "line\nbreak\u{202e}".repeat(1000);
            params.distinguished_name.push(DnType::CommonName, name);
            let names = (0..500).map(|n| format!("{}{n}.test", "x".repeat(200)));
            params.subject_alt_names = names
                .map(|name| rcgen::SanType::DnsName(name.try_into().unwrap()))
                .collect();
        });
        let text = facts.describe();
        assert!(text.chars().count() < 700, "{text}");
        assert!(
            text.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{text}"
        );
        assert!(text.contains("and 495 more"), "{text}");
    }

    #[test]
    fn damaged_certificates_have_no_facts() {
        let der = read_facts(|_| {}).public_key;
        assert!(CertificateFacts::read(&der.as_slice().into()).is_none());
        assert!(CertificateFacts::read(&[].as_slice().into()).is_none());
    }
}
