//! The request of a provider: headers and certificates. Values of a source apply to its providers.

use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::secrets;
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::text::quote;

/// Headers that cannot be set, and why.
const RESERVED_HEADERS: [(&[&str], &str); 6] = [
    (&["host"], "the URL determines it"),
    (&["content-length"], "`body` determines it"),
    (
        &["connection", "keep-alive", "proxy-connection", "upgrade"],
        "the service keeps and reuses connections itself",
    ),
    (
        &["transfer-encoding", "te", "trailer"],
        "the service frames the body itself",
    ),
    (
        &["proxy-authorization"],
        "user and password of a proxy belong in the URL of `proxy`",
    ),
    (&["expect"], "the service does not wait for `100 Continue`"),
];

/// A name and a value.
pub(super) type Header = (Arc<str>, Arc<str>);

/// The values of a table that need more than the reader's checks.
#[derive(Clone)]
pub(super) struct RequestParts {
    pub(super) headers: Vec<Header>,
    pub(super) ca_pem: Option<Arc<str>>,
}

impl RequestParts {
    /// The parts that a source or a provider defines itself.
    pub(super) fn new(table: &Table, loader: &mut ConfigLoader<'_>) -> Self {
        let ca_file = table.text("ca_file");
        Self {
            headers: validate_headers(table.text_table("headers"), loader),
            ca_pem: ca_file.and_then(|text| read_certificates(text, loader)),
        }
    }

    /// The parts of a provider, completed by those of its source; headers by name.
    pub(super) fn inherit(self, source: &Self) -> Self {
        let mut headers = source.headers.clone();
        // A provider's own header replaces that of its source, it is not added to it.
        headers.retain(|(name, _)| !has_header(&self.headers, name));
        headers.extend(self.headers);
        Self {
            headers,
            ca_pem: self.ca_pem.or_else(|| source.ca_pem.clone()),
        }
    }
}

fn has_header(headers: &[Header], name: &str) -> bool {
    headers
        .iter()
        .any(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Checks headers by RFC 9110 and registers their values as secrets.
fn validate_headers(
    texts: &[(SpannedStr, SpannedStr)],
    loader: &mut ConfigLoader<'_>,
) -> Vec<Header> {
    let mut headers = Vec::with_capacity(texts.len());
    for (name, value) in texts {
        // Every value counts as secret, and before the checks, whose messages show the line.
        loader.secrets.extend(secrets::header_secrets(&value.value));
        let checked = check_header_name(&name.value, has_header(&headers, &name.value));
        loader.check(name, checked);
        loader.check(value, check_header_value(&name.value, &value.value));
        // An invalid header stays in the list: a second one of its name is a further error.
        headers.push((name.value.as_str().into(), value.value.trim().into()));
    }
    headers
}

fn check_header_name(name: &str, is_repeated: bool) -> Result<(), ValueError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        let help = "expected letters, digits and `-`, such as `X-Api-Key`";
        return refuse(format!("{} is not a valid header name", quote(name)), help);
    }
    let is_named = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    if let Some((_, why)) = RESERVED_HEADERS.iter().find(|(names, _)| is_named(names)) {
        return refuse(format!("the header `{name}` cannot be set"), *why);
    }
    if is_repeated {
        let help = "names of headers are equal in upper and lower case";
        return refuse(format!("the header `{name}` is written twice"), help);
    }
    Ok(())
}

fn check_header_value(name: &str, value: &str) -> Result<(), ValueError> {
    let is_invalid = |c: &char| (c.is_control() && *c != '\t') || !c.is_ascii();
    let Some(invalid) = value.chars().find(is_invalid) else {
        return Ok(());
    };
    let what = match invalid {
        '\r' | '\n' => "a line break".into(),
        c if c.is_control() => format!("the control character {}", quote(&c.to_string())),
        c => format!("{}, which is not ASCII", quote(&c.to_string())),
    };
    let message = format!("the value of the header {} contains {what}", quote(name));
    refuse(message, "expected printable ASCII on one line")
}

/// The text of a file of PEM certificates.
fn read_certificates(text: &SpannedStr, loader: &mut ConfigLoader<'_>) -> Option<Arc<str>> {
    let pem = match loader.read_file(&text.value) {
        Ok(content) => check_pem(&content.bytes),
        Err(why) => Err(format!("cannot be read: {why}")),
    };
    let help = "expected PEM certificates, at most 64KiB; a relative path starts at the configuration's folder";
    let refused = |why| refuse(format!("the ca_file {text} {why}"), help);
    loader.check(text, pem.or_else(refused))
}

fn check_pem(bytes: &[u8]) -> Result<Arc<str>, String> {
    let pem = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|_| "contains damaged PEM")?;
        let added = store.add(certificate);
        added.map_err(|_| "contains a certificate that cannot be read")?;
    }
    if store.is_empty() {
        return Err("contains no certificate".into());
    }
    Ok(pem.into())
}
