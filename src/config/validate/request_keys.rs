//! What is sent: method, headers, body, trust; source → provider.

use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::config::ConfigLoader;
use crate::config::RawRequest;
use crate::config::secrets;
use crate::config::{SpannedStr, SpannedValue, closest_match, quote};

/// Methods that make sense for asking again and again.
const ALLOWED_METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "QUERY"];

/// Headers that the request itself decides, and why.
const RESERVED_HEADERS: [(&str, &str); 11] = [
    ("host", "it is the URL's host"),
    ("content-length", "it is counted from `body`"),
    (
        "connection",
        "connections are kept and reused by the service",
    ),
    ("transfer-encoding", "it is the service's own framing"),
    ("te", "it is the service's own framing"),
    ("trailer", "it is the service's own framing"),
    ("upgrade", "connections are kept and reused by the service"),
    (
        "keep-alive",
        "connections are kept and reused by the service",
    ),
    (
        "proxy-connection",
        "connections are kept and reused by the service",
    ),
    (
        "proxy-authorization",
        "a proxy's user and password stand in the URL of `proxy`",
    ),
    ("expect", "the service never waits for `100 Continue`"),
];

/// A request without its URL, as far as it is written; what a provider does not say is its source's.
#[derive(Default)]
pub(crate) struct RequestDefaults {
    pub(crate) method: Option<Arc<str>>,
    pub(crate) headers: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) body: Option<Arc<str>>,
    pub(crate) extract: Option<Arc<str>>,
    pub(crate) allow_private: Option<bool>,
    pub(crate) ca_pem: Option<Arc<str>>,
}

impl RequestDefaults {
    /// What `raw` says.
    pub(crate) fn from_raw(raw: &RawRequest, cx: &mut ConfigLoader<'_>) -> Self {
        if let Some(text) = &raw.extract {
            cx.check_filter(text);
        }
        Self {
            method: raw
                .method
                .as_ref()
                .and_then(|text| validate_method(text, cx)),
            headers: validate_headers(&raw.headers, cx),
            body: raw.body.as_ref().map(|text| text.value.as_str().into()),
            extract: raw.extract.as_ref().map(|text| text.value.as_str().into()),
            allow_private: raw.allow_private,
            ca_pem: raw
                .ca_file
                .as_ref()
                .and_then(|text| read_certificates(text, cx)),
        }
    }

    /// This, with what it does not say taken from `source`; headers by name.
    pub(crate) fn with_defaults(self, source: &Self) -> Self {
        let own = |name: &str| {
            self.headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let inherited = source
            .headers
            .iter()
            .filter(|(name, _)| !own(name))
            .cloned();
        let headers: Vec<_> = inherited.chain(self.headers.iter().cloned()).collect();
        Self {
            method: self.method.or_else(|| source.method.clone()),
            headers,
            body: self.body.or_else(|| source.body.clone()),
            extract: self.extract.or_else(|| source.extract.clone()),
            allow_private: self.allow_private.or(source.allow_private),
            ca_pem: self.ca_pem.or_else(|| source.ca_pem.clone()),
        }
    }
}

fn validate_method(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<Arc<str>> {
    if ALLOWED_METHODS.contains(&text.value.as_str()) {
        return Some(text.value.as_str().into());
    }
    let why = match text.value.to_ascii_uppercase().as_str() {
        "HEAD" => "the answer to HEAD has no body; ",
        "DELETE" => "asking again and again would delete again and again; ",
        _ => "",
    };
    let near = closest_match(&text.value, ALLOWED_METHODS)
        .filter(|near| *near != "HEAD" && why.is_empty());
    let help = near.map_or_else(
        || format!("{why}expected one of {}", ALLOWED_METHODS.join(", ")),
        |near| format!("did you mean \"{near}\"?"),
    );
    cx.problems.add_error(
        &text.span,
        format!("the method {text} will not do here"),
        help,
    );
    None
}

/// Headers by RFC 9110, without those that are the service's own.
fn validate_headers(
    raw: &[(SpannedValue<String>, SpannedStr)],
    cx: &mut ConfigLoader<'_>,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut headers: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        cx.secrets.extend(secrets::header_secrets(&value.value));
        let repeated = headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(&name.value));
        if let Some((message, help)) = header_name_problem(&name.value, repeated) {
            cx.problems.add_error(&name.span, message, help);
        }
        if let Some((message, help)) = header_value_problem(&name.value, &value.value) {
            cx.problems.add_error(&value.span, message, help);
        }
        headers.push((name.value.as_str().into(), value.value.trim().into()));
    }
    headers
}

fn header_name_problem(name: &str, repeated: bool) -> Option<(String, String)> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        let help = "expected letters, digits and `-`, such as `X-Api-Key`";
        return Some((
            format!("{} is no name of a header", quote(name)),
            help.into(),
        ));
    }
    if let Some((_, why)) = RESERVED_HEADERS
        .iter()
        .find(|(reserved, _)| name.eq_ignore_ascii_case(reserved))
    {
        return Some((format!("the header `{name}` cannot be set"), (*why).into()));
    }
    repeated.then(|| {
        (
            format!("the header `{name}` is written twice"),
            "names of headers have no case".into(),
        )
    })
}

fn header_value_problem(name: &str, value: &str) -> Option<(String, String)> {
    let bad = value
        .chars()
        .find(|c| (c.is_control() && *c != '\t') || !c.is_ascii())?;
    let what = match bad {
        '\r' | '\n' => "a line break".into(),
        bad if bad.is_control() => format!("the control character {}", quote(&bad.to_string())),
        bad => format!("{}, which is not ASCII", quote(&bad.to_string())),
    };
    let message = format!("the value of the header {} holds {what}", quote(name));
    Some((message, "expected printable ASCII on one line".into()))
}

/// The text of a file of certificates.
fn read_certificates(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<Arc<str>> {
    let fault = match cx.read_file(&text.value) {
        Err(why) => format!("cannot be read: {why}"),
        Ok(content) => match validate_pem(&content.bytes) {
            Ok(pem) => return Some(pem.into()),
            Err(why) => why,
        },
    };
    let help = "expected PEM certificates, at most 64KiB; a relative path starts at the configuration's folder";
    cx.problems
        .add_error(&text.span, format!("the ca_file {text} {fault}"), help);
    None
}

fn validate_pem(bytes: &[u8]) -> Result<&str, String> {
    let pem = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|_| "holds damaged PEM".to_owned())?;
        store
            .add(certificate)
            .map_err(|_| "holds a certificate that cannot be read".to_owned())?;
    }
    if store.is_empty() {
        Err("holds no certificate".into())
    } else {
        Ok(pem)
    }
}
