//! The request of a provider. Values of `[defaults]` apply to its source, those of the source to the provider.

use std::sync::Arc;

use url::Url;

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::secrets;
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{Credentials, RequestBody, RequestField, is_time_zone};
use crate::text::quote;

use super::certificates::read_certificates;

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

/// The values of a table that its providers inherit.
#[derive(Clone, Default)]
pub(super) struct RequestParts {
    pub(super) method: Option<Arc<str>>,
    pub(super) query: Vec<RequestField>,
    pub(super) headers: Vec<RequestField>,
    pub(super) body: Option<RequestBody>,
    username: Option<SpannedStr>,
    password: Option<SpannedStr>,
    pub(super) time_zone: Option<Arc<str>>,
    pub(super) accept_status: Option<Arc<[u16]>>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) allow_private: Option<bool>,
    pub(super) ca_pem: Option<Arc<str>>,
    pub(super) extract: Option<Arc<str>>,
}

impl RequestParts {
    /// The parts that a table defines itself.
    pub(super) fn new(table: &Table, loader: &mut ConfigLoader<'_>) -> Self {
        let text = |key| table.text(key).map(|text| Arc::from(text.value.as_str()));
        let form = fields(table, "form", loader);
        let body = match table.text("body") {
            Some(body) if table.has("form") => {
                let help = "expected one of them: `form` is the body";
                loader.error(&body.span, "there are both `body` and `form`", help);
                None
            }
            Some(body) => Some(RequestBody::Text(body.to_request_text())),
            None => table.has("form").then_some(RequestBody::Form(form)),
        };
        for credential in ["username", "password"].map(|key| table.text(key)) {
            let secret = credential.map(|credential| credential.value.clone());
            loader.secrets.extend(secret);
        }
        if table.boolean("follow_redirects") == Some(true)
            && let Some(span) = table.span_of("follow_redirects")
        {
            let message = "`follow_redirects` has no effect in this release";
            loader.warning(span, message, "write the final address into `url`");
        }
        Self {
            method: text("method"),
            query: fields(table, "query", loader),
            headers: validate_headers(table.text_table("headers"), loader),
            body,
            username: table.text("username").cloned(),
            password: table.text("password").cloned(),
            time_zone: validate_time_zone(table, loader),
            accept_status: validate_accept_status(table, loader),
            follow_redirects: table.boolean("follow_redirects"),
            allow_private: table.boolean("allow_private"),
            ca_pem: read_certificates(table, "ca_file", loader).map(Into::into),
            extract: text("extract"),
        }
    }

    /// The parts completed by those of the outer table: tables by name, other values where they are absent.
    pub(super) fn inherit(self, outer: &Self) -> Self {
        // An own header replaces that of the outer table, it is not added to it.
        let is_same_header = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let body = match (self.body, &outer.body) {
            (Some(RequestBody::Form(own)), Some(RequestBody::Form(outer))) => {
                Some(RequestBody::Form(merge_fields(own, outer, str::eq)))
            }
            (own, outer) => own.or_else(|| outer.clone()),
        };
        Self {
            method: self.method.or_else(|| outer.method.clone()),
            query: merge_fields(self.query, &outer.query, str::eq),
            headers: merge_fields(self.headers, &outer.headers, is_same_header),
            body,
            username: self.username.or_else(|| outer.username.clone()),
            password: self.password.or_else(|| outer.password.clone()),
            time_zone: self.time_zone.or_else(|| outer.time_zone.clone()),
            accept_status: self.accept_status.or_else(|| outer.accept_status.clone()),
            follow_redirects: self.follow_redirects.or(outer.follow_redirects),
            allow_private: self.allow_private.or(outer.allow_private),
            ca_pem: self.ca_pem.or_else(|| outer.ca_pem.clone()),
            extract: self.extract.or_else(|| outer.extract.clone()),
        }
    }

    /// The user and the password of a provider with this URL.
    pub(super) fn credentials(
        &self,
        url: &Url,
        loader: &mut ConfigLoader<'_>,
    ) -> Option<Credentials> {
        let Some(username) = &self.username else {
            if let Some(password) = self.password.as_ref().filter(|text| !text.value.is_empty()) {
                let message = "the `password` has no effect without a `username`";
                loader.warning(&password.span, message, "expected both");
            }
            return None;
        };
        let has_authorization =
            has_field(&self.headers, "Authorization", str::eq_ignore_ascii_case);
        let other = if has_authorization {
            "the header `Authorization`"
        } else if !url.username().is_empty() || url.password().is_some() {
            "credentials in the URL"
        } else {
            let password = self.password.as_ref().map_or("", |text| &text.value);
            loader
                .secrets
                .push(secrets::encode_basic(&username.value, password));
            return Some(Credentials {
                username: username.value.as_str().into(),
                password: password.into(),
            });
        };
        let message = format!("there are both a `username` and {other}");
        loader.error(&username.span, &message, "expected one of them");
        None
    }
}

/// The fields of `outer` whose names `own` does not have, then those of `own`.
fn merge_fields(
    own: Vec<RequestField>,
    outer: &[RequestField],
    is_same: impl Fn(&str, &str) -> bool + Copy,
) -> Vec<RequestField> {
    let mut merged = outer.to_vec();
    merged.retain(|(name, _)| !has_field(&own, name, is_same));
    merged.extend(own);
    merged
}

fn has_field(fields: &[RequestField], name: &str, is_same: impl Fn(&str, &str) -> bool) -> bool {
    fields.iter().any(|(known, _)| is_same(known, name))
}

/// The fields of `query` or `form`. Their values become secrets.
fn fields(table: &Table, key: &str, loader: &mut ConfigLoader<'_>) -> Vec<RequestField> {
    let fields = table.text_table(key).iter().map(|(name, value)| {
        loader.secrets.push(value.value.clone());
        (Arc::from(name.value.as_str()), value.to_request_text())
    });
    fields.collect()
}

fn validate_time_zone(table: &Table, loader: &mut ConfigLoader<'_>) -> Option<Arc<str>> {
    let name = table.text("timezone").filter(|name| name.value != "UTC")?;
    let checked = if is_time_zone(&name.value) {
        Ok(Arc::from(name.value.as_str()))
    } else {
        let help = "expected an IANA name, such as \"Europe/Madrid\" or \"UTC\"";
        refuse(format!("{name} is not a time zone"), help)
    };
    loader.check(name, checked)
}

fn validate_accept_status(table: &Table, loader: &mut ConfigLoader<'_>) -> Option<Arc<[u16]>> {
    let codes = table.integer_list("accept_status")?;
    if codes.contains(&304)
        && let Some(span) = table.span_of("accept_status")
    {
        let help = "it answers a conditional request; remove it from the list";
        loader.error(span, "the status 304 has no body", help);
    }
    let mut codes: Vec<u16> = codes.iter().map(|code| *code as u16).collect();
    codes.sort_unstable();
    Some(codes.into())
}

/// Checks headers by RFC 9110 and registers their values as secrets.
fn validate_headers(
    texts: &[(SpannedStr, SpannedStr)],
    loader: &mut ConfigLoader<'_>,
) -> Vec<RequestField> {
    let mut headers = Vec::with_capacity(texts.len());
    for (name, value) in texts {
        // Every value counts as secret, and before the checks, whose messages show the line.
        loader.secrets.extend(secrets::header_secrets(&value.value));
        let is_repeated = has_field(&headers, &name.value, str::eq_ignore_ascii_case);
        let checked = check_header_name(&name.value, is_repeated);
        loader.check(name, checked);
        loader.check(value, check_header_value(&name.value, &value.value));
        // An invalid header stays in the list: a second one of its name is a further error.
        headers.push((name.value.as_str().into(), value.to_request_text().trim()));
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
