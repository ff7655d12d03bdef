//! The request of a provider. Values of `[defaults]` apply to its source, those of the source to the provider.

use std::sync::Arc;

use crate::config::keys::Section;
use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::secrets;
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{Credentials, RequestBody, RequestField, is_time_zone};
use crate::text::{find_nearest, quote};

use super::tls_rules::TlsParts;

/// The header with the credentials of a request.
const AUTHORIZATION: &str = "Authorization";

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
    auth: Option<SpannedStr>,
    username: Option<SpannedStr>,
    password: Option<SpannedStr>,
    /// Whether the table has credentials of any kind, which replace those of the outer table.
    has_credentials: bool,
    pub(super) time_zone: Option<Arc<str>>,
    pub(super) accept_status: Option<Arc<[u16]>>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) obeys_cache: Option<bool>,
    pub(super) allow_private: Option<bool>,
    pub(super) tls: TlsParts,
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
        let headers = validate_headers(table.text_table("headers"), loader);
        // The refresh of a login uses the `auth` of the login.
        let has_auth = table.section != Section::Refresh;
        let auth = has_auth.then(|| table.text("auth")).flatten();
        check_auth_name(auth, loader);
        let other_credentials = find_other_credentials(table, &headers, auth);
        // A header with a field of a login needs the inherited `auth`.
        let is_own = other_credentials.is_some() && !has_auth_header(&headers);
        let username = table.text("username");
        if let (Some(username), Some(other)) = (username, other_credentials) {
            let message = format!("there are both a `username` and {other}");
            loader.error(&username.span, &message, "expected one of them");
        }
        Self {
            method: text("method"),
            query: fields(table, "query", loader),
            headers,
            body,
            auth: auth.cloned(),
            // An invalid one stays, so that no message follows about a password without a user.
            username: match username {
                Some(username) => Some(username.clone()),
                None => table.is_invalid("username").then(SpannedStr::default),
            },
            password: table.text("password").cloned(),
            has_credentials: username.is_some() || is_own,
            time_zone: validate_time_zone(table, loader),
            accept_status: validate_accept_status(table, loader),
            follow_redirects: table.boolean("follow_redirects"),
            // A login is renewed by the lifetime of its token.
            obeys_cache: table
                .accepts("upstream_cache")
                .then(|| table.text("upstream_cache"))
                .flatten()
                .map(|text| text.value == "obey"),
            allow_private: table.boolean("allow_private"),
            tls: TlsParts::new(table, loader),
            extract: text("extract"),
        }
    }

    /// The parts of `[defaults]` that are not about the content of a request.
    pub(super) fn network_parts(&self) -> Self {
        Self {
            time_zone: self.time_zone.clone(),
            allow_private: self.allow_private,
            tls: self.tls.clone(),
            ..Self::default()
        }
    }

    /// The name of the authentication, as written. An empty one turns an inherited one off.
    pub(super) fn auth(&self) -> Option<&SpannedStr> {
        self.auth.as_ref().filter(|auth| !auth.value.is_empty())
    }

    /// The parts completed by those of the outer table: tables by name, other values where they are absent.
    pub(super) fn inherit(self, outer: &Self) -> Self {
        // An own header replaces that of the outer table, it is not added to it.
        let is_same_header = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let mut headers = merge_fields(self.headers.clone(), &outer.headers, is_same_header);
        let (mut username, mut password) = (self.username, self.password);
        if self.has_credentials {
            let is_own = |name: &str| has_field(&self.headers, name, is_same_header);
            headers.retain(|(name, value)| {
                // A header with a field of a login is made for any `auth`.
                let is_kept = self.auth.is_some() && value.has_auth_field();
                !is_same_header(name, AUTHORIZATION) || is_own(name) || is_kept
            });
        }
        // An `auth` goes with the other credentials of its table, and is replaced with them.
        let outer_auth = outer.auth.as_ref().filter(|_| !self.has_credentials);
        // Credentials in a header or in the URL leave no use for those of the outer table.
        if username.is_some() || !self.has_credentials {
            username = username.or_else(|| outer.username.clone());
            password = password.or_else(|| outer.password.clone());
        }
        let body = match (self.body, &outer.body) {
            (Some(RequestBody::Form(own)), Some(RequestBody::Form(outer))) => {
                Some(RequestBody::Form(merge_fields(own, outer, str::eq)))
            }
            (own, outer) => own.or_else(|| outer.clone()),
        };
        Self {
            method: self.method.or_else(|| outer.method.clone()),
            query: merge_fields(self.query, &outer.query, str::eq),
            headers,
            body,
            auth: self.auth.or_else(|| outer_auth.cloned()),
            username,
            password,
            has_credentials: self.has_credentials || outer.has_credentials,
            time_zone: self.time_zone.or_else(|| outer.time_zone.clone()),
            accept_status: self.accept_status.or_else(|| outer.accept_status.clone()),
            follow_redirects: self.follow_redirects.or(outer.follow_redirects),
            obeys_cache: self.obeys_cache.or(outer.obeys_cache),
            allow_private: self.allow_private.or(outer.allow_private),
            tls: self.tls.inherit(&outer.tls),
            extract: self.extract.or_else(|| outer.extract.clone()),
        }
    }

    /// The user and the password of a provider.
    pub(super) fn credentials(&self, loader: &mut ConfigLoader<'_>) -> Option<Credentials> {
        let password = self.password.as_ref().map_or("", |text| &text.value);
        let Some(username) = &self.username else {
            if let Some(text) = self.password.as_ref().filter(|_| !password.is_empty()) {
                let message = "the `password` has no effect without a `username`";
                loader.warning(&text.span, message, "expected both");
            }
            return None;
        };
        let encoded = secrets::encode_basic(&username.value, password);
        loader.secrets.push(encoded);
        Some(Credentials {
            username: username.value.as_str().into(),
            password: password.into(),
        })
    }
}

/// The credentials of a table beside `username`, as a message names them.
fn find_other_credentials(
    table: &Table,
    headers: &[RequestField],
    auth: Option<&SpannedStr>,
) -> Option<&'static str> {
    if has_field(headers, AUTHORIZATION, str::eq_ignore_ascii_case) {
        return Some("the header `Authorization`");
    }
    if auth.is_some_and(|auth| !auth.value.is_empty()) {
        return Some("an `auth`");
    }
    // `[defaults]` has no `url`.
    let url = (table.section != Section::Defaults).then(|| table.url("url"));
    let (_, url) = url.flatten()?;
    let has_userinfo = !url.username().is_empty() || url.password().is_some();
    has_userinfo.then_some("credentials in the URL")
}

/// Whether the header with the credentials has a field of a login.
fn has_auth_header(headers: &[RequestField]) -> bool {
    let is_auth = |(name, value): &RequestField| {
        name.eq_ignore_ascii_case(AUTHORIZATION) && value.has_auth_field()
    };
    headers.iter().any(is_auth)
}

/// Reports an `auth` that names no table.
fn check_auth_name(auth: Option<&SpannedStr>, loader: &mut ConfigLoader<'_>) {
    let Some(auth) = auth.filter(|auth| !auth.value.is_empty()) else {
        return;
    };
    if loader.auth_names.contains(&auth.value) {
        return;
    }
    let names = loader.auth_names.iter().map(String::as_str);
    let help = match find_nearest(auth.as_written(), names) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if loader.auth_names.is_empty() => "expected the name of a table `[auth.NAME]`".into(),
        None => format!("known: {}", loader.auth_names.join(", ")),
    };
    loader.error(&auth.span, &format!("unknown auth {auth}"), help);
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
        let literals = value.literals().into_iter().map(str::to_owned);
        if !secrets::names_credential(&name.value) {
            loader.plain_values.extend(literals.clone());
        }
        loader.secrets.extend(literals);
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
        for literal in value.literals() {
            loader.secrets.extend(secrets::header_secrets(literal));
        }
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
