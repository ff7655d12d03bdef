//! PEM files of certificates and private keys.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::SigningKey;
use webpki::anchor_from_trusted_cert;

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::ClientCertificate;
use crate::text::quote;

const CERTIFICATES_HELP: &str = "expected PEM certificates, at most 64KiB; a relative path starts at the configuration's folder";

const KEY_HELP: &str = "expected a PEM private key in `key_file`, at most 64KiB; a relative path starts at the configuration's folder";

/// The help for a DER certificate.
const CERTIFICATE_DER_HELP: &str = "convert it: `openssl x509 -inform der -in FILE -out FILE.pem`";

/// The help for a DER key.
const KEY_DER_HELP: &str = "convert it: `openssl pkey -inform der -in FILE -out FILE.pem`";

/// The help for a PKCS #12 container (`.p12`, `.pfx`).
const PKCS12_HELP: &str = "convert it: `openssl pkcs12 -in FILE -nodes -out FILE.pem` makes one file for certificate and key";

/// The PEM text of the file that `key` names. Errors become problems.
pub(super) fn read_certificates(
    table: &Table,
    key: &'static str,
    loader: &mut ConfigLoader<'_>,
) -> Option<String> {
    let text = table.text(key)?;
    let pem = read_pem(text, key, CERTIFICATES_HELP, loader)?;
    let checked = parse_certificates(&pem).or_else(|error| error.refuse(key, text));
    loader.check(text, checked)?;
    if PrivateKeyDer::from_pem_slice(pem.as_bytes()).is_ok() {
        let message = format!("the {key} {text} contains a private key, which has no use here");
        let help = "a private key stays on its server; remove it from this file";
        loader.warning(&text.span, &message, help);
    }
    Some(pem)
}

/// The certificate of this client and its key, which `cert_file` has if there is no `key_file`. Errors become problems.
pub(super) fn read_client_certificate(
    cert_file: &SpannedStr,
    key_file: Option<&SpannedStr>,
    loader: &mut ConfigLoader<'_>,
) -> Option<ClientCertificate> {
    let chain_pem = read_pem(cert_file, "cert_file", CERTIFICATES_HELP, loader);
    let chain = chain_pem.as_deref().and_then(|pem| {
        let chain = parse_certificates(pem).or_else(|error| error.refuse("cert_file", cert_file));
        loader.check(cert_file, chain)
    });
    let key_pem = match key_file {
        Some(key_file) => read_pem(key_file, "key_file", KEY_HELP, loader),
        // One problem suffices for a file without certificates.
        None => chain_pem.clone().filter(|_| chain.is_some()),
    };
    let (key_name, key_file) = match key_file {
        Some(key_file) => ("key_file", key_file),
        None => ("cert_file", cert_file),
    };
    let key = key_pem.as_deref().and_then(|pem| {
        let key = parse_key(pem).or_else(|error| error.refuse(key_name, key_file));
        loader.check(key_file, key)
    });
    if let Ok(content) = loader.read_file(&key_file.value)
        && content.world_readable
    {
        let message = format!("every user of this machine may read the private key {key_file}");
        let help = "restrict it to its owner and group: `chmod o-r`";
        loader.warning(&key_file.span, &message, help);
    }
    let (chain, key) = (chain?, key?);
    loader.check(cert_file, check_pair(&chain, &*key, cert_file, key_file))?;
    Some(ClientCertificate {
        chain_pem: chain_pem?.into(),
        key_pem: key_pem?.into(),
    })
}

/// Why the content of a file is refused.
struct PemError {
    /// A part of a sentence about the file.
    why: String,
    help: &'static str,
}

impl PemError {
    fn new(why: impl Into<String>, help: &'static str) -> Self {
        Self {
            why: why.into(),
            help,
        }
    }

    fn refuse<T>(&self, key: &str, path: &SpannedStr) -> Result<T, ValueError> {
        refuse(format!("the {key} {path} {}", self.why), self.help)
    }
}

fn read_pem(
    path: &SpannedStr,
    key: &str,
    help: &'static str,
    loader: &mut ConfigLoader<'_>,
) -> Option<String> {
    let read = match loader.read_file(&path.value) {
        Ok(content) => decode_pem(&content.bytes, help).map(str::to_owned),
        Err(why) => Err(PemError::new(format!("cannot be read: {why}"), help)),
    };
    let read = read.or_else(|error| error.refuse(key, path));
    loader.check(path, read)
}

/// The text of a file. Binary files get the command that converts them.
fn decode_pem<'b>(bytes: &'b [u8], help: &'static str) -> Result<&'b str, PemError> {
    // A SEQUENCE, as which every DER file begins. PEM begins with a line of text.
    if bytes.starts_with(&[0x30]) && !bytes.is_ascii() {
        let is_certificate = anchor_from_trusted_cert(&CertificateDer::from(bytes)).is_ok();
        let (what, help) = if is_certificate {
            ("a DER certificate", CERTIFICATE_DER_HELP)
        } else if PrivateKeyDer::try_from(bytes)
            .is_ok_and(|key| load_key(key.clone_key()).is_some())
        {
            ("a DER private key", KEY_DER_HELP)
        } else {
            ("binary, perhaps PKCS #12", PKCS12_HELP)
        };
        return Err(PemError::new(format!("is {what}, not PEM"), help));
    }
    // Editors of Windows put a byte order mark before the text.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(text).map_err(|_| PemError::new("is not UTF-8", help))
}

fn parse_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let error = |why| PemError::new(why, CERTIFICATES_HELP);
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| error("contains damaged PEM"))?;
        anchor_from_trusted_cert(&certificate)
            .map_err(|_| error("contains a certificate that cannot be read"))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(absent("certificate", pem, CERTIFICATES_HELP));
    }
    Ok(certificates)
}

fn parse_key(pem: &str) -> Result<Arc<dyn SigningKey>, PemError> {
    // Both forms: PKCS #8, and the header `Proc-Type: 4,ENCRYPTED` of OpenSSL.
    if pem.contains("ENCRYPTED") {
        return Err(PemError::new(
            "is encrypted with a password",
            "a password cannot be configured; decrypt it: `openssl pkey -in FILE -out FILE.key`",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        if pem.contains("PRIVATE KEY-----") {
            PemError::new("contains damaged PEM", KEY_HELP)
        } else {
            absent("private key", pem, KEY_HELP)
        }
    })?;
    load_key(key).ok_or_else(|| {
        PemError::new(
            "contains a private key of a kind that is not supported",
            "expected RSA of 2,048 bits or more, ECDSA (P-256, P-384) or Ed25519",
        )
    })
}

fn load_key(key: PrivateKeyDer<'static>) -> Option<Arc<dyn SigningKey>> {
    default_provider().key_provider.load_private_key(key).ok()
}

/// The error of a file without an item of the kind `wanted`, with the kind that it has instead.
fn absent(wanted: &str, pem: &str, help: &'static str) -> PemError {
    let label = pem
        .lines()
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.split("-----").next());
    match label {
        Some(label) => {
            let label = quote(label);
            PemError::new(format!("contains no {wanted}, but {label}"), help)
        }
        None => PemError::new(format!("contains no {wanted}"), help),
    }
}

/// Checks that `key` is that of the first certificate.
fn check_pair(
    chain: &[CertificateDer<'static>],
    key: &dyn SigningKey,
    cert_file: &SpannedStr,
    key_file: &SpannedStr,
) -> Result<(), ValueError> {
    let position = chain
        .iter()
        .position(|certificate| fits_certificate(key, certificate));
    match position {
        Some(0) => Ok(()),
        Some(position) => refuse(
            format!(
                "the cert_file {cert_file} has its certificates in the wrong order: that of the \
                 key is number {}",
                position + 1
            ),
            "expected the certificate of the key first, then those of its issuers",
        ),
        None => refuse(
            format!("the private key of {key_file} does not fit the certificate of {cert_file}"),
            "expected the private key with which the certificate was requested",
        ),
    }
}

/// Returns whether the key of a certificate is the public part of `key`. rustls can compare only certificates of version 3.
fn fits_certificate(key: &dyn SigningKey, certificate: &CertificateDer<'static>) -> bool {
    let (Some(public), Ok(anchor)) = (key.public_key(), anchor_from_trusted_cert(certificate))
    else {
        return false;
    };
    // The anchor has the key without tag and length, which take 2 to 4 bytes.
    let (public, own) = (public.as_ref(), anchor.subject_public_key_info.as_ref());
    public.ends_with(own) && public.len() - own.len() <= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_is_skipped() {
        let pem = rcgen::generate_simple_self_signed(vec!["nas.lan".to_owned()]).unwrap();
        let file = format!("\u{feff}{}", pem.cert.pem().replace('\n', "\r\n"));
        let text = decode_pem(file.as_bytes(), "").ok().unwrap();
        assert!(parse_certificates(text).is_ok_and(|found| found.len() == 1));
    }
}
