//! Fields and cookies of the answer to a login.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{Redactor, Time};
use crate::text::escape_bounded;

/// Maximum length of a field, in bytes: a longer one fits into no header.
const MAX_FIELD_BYTES: usize = 16 << 10;

/// Maximum number of characters of a quoted reason, after escaping.
const MAX_QUOTE_CHARS: usize = 120;

/// Members that hold the reason of a refusal: OAuth 2.0 (RFC 6749, section 5.2) first. Fewer than those of a refused
/// response, and none below another member: an answer with a status of success may hold a token anywhere else.
const REASON_MEMBERS: [&str; 6] = [
    "error_description",
    "error",
    "message",
    "detail",
    "reason",
    "msg",
];

/// A name and its value.
pub(super) type NamedValue = (Arc<str>, Arc<str>);

/// What a login gave.
#[derive(Default)]
pub(super) struct LoginFields {
    /// Fields but `expires_in`.
    pub(super) fields: Vec<NamedValue>,
    /// Lifetime of the session, from `expires_in`. `None` if that is absent, no number, or not above zero: servers
    /// without an end of sessions send 0 or -1.
    pub(super) lifetime: Option<Duration>,
}

/// Parses the result of `extract`: an object of texts and numbers. `null` is an absent field. The error is a message
/// without any value.
pub(super) fn parse_fields(json: &str) -> Result<LoginFields, String> {
    let Ok(members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(json) else {
        return Err("the result of `extract` is no object of fields".into());
    };
    let mut parsed = LoginFields::default();
    for (name, value) in members {
        let text = match value.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(value.get()).unwrap_or_default(),
            // The digits are kept as they came.
            Some(b'-' | b'0'..=b'9') => value.get().to_owned(),
            Some(b'n') => String::new(),
            _ => {
                return Err(format!(
                    "{} is neither a text nor a number",
                    describe_field(&name)
                ));
            }
        };
        let text = text.trim();
        if text.len() > MAX_FIELD_BYTES {
            let field = describe_field(&name);
            return Err(format!("{field} has more than {MAX_FIELD_BYTES} bytes"));
        }
        match name.as_str() {
            "expires_in" => parsed.lifetime = parse_lifetime(text),
            "token" if text.is_empty() => return Err("the answer has no token".into()),
            "token" if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') => {
                return Err("the token has characters that a header cannot hold".into());
            }
            _ if text.is_empty() => {}
            _ => parsed.fields.push((name.into(), text.into())),
        }
    }
    Ok(parsed)
}

/// Returns the name of a field for a message, unless a filter may have made the name from the answer: it
/// could be a token.
fn describe_field(name: &str) -> String {
    match name {
        "token" | "expires_in" | "refresh_token" => format!("the field `{name}`"),
        _ => "a field of the result of `extract`".into(),
    }
}

fn parse_lifetime(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    if seconds.is_nan() || seconds <= 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Parses `Set-Cookie` values (RFC 6265, section 5.2). Of several cookies with a name the last one counts. A cookie that
/// has expired at `now` is deleted.
pub(super) fn parse_cookies(values: &[HeaderValue], now: Time) -> Vec<NamedValue> {
    let mut cookies: Vec<NamedValue> = Vec::new();
    for text in values.iter().filter_map(|value| value.to_str().ok()) {
        let mut parts = text.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        cookies.retain(|(known, _)| **known != *name);
        if !name.is_empty() && !has_expired(parts, now) {
            cookies.push((name.into(), value.into()));
        }
    }
    cookies
}

/// Returns whether the attributes of a cookie delete it. `Max-Age` has precedence over `Expires`.
fn has_expired<'t>(attributes: impl Iterator<Item = &'t str>, now: Time) -> bool {
    let (mut max_age, mut expires) = (None, None);
    for (name, value) in attributes.filter_map(|attribute| attribute.split_once('=')) {
        let value = value.trim();
        if name.trim().eq_ignore_ascii_case("max-age") {
            max_age = value.parse::<f64>().ok();
        } else if name.trim().eq_ignore_ascii_case("expires") {
            expires = httpdate::parse_http_date(value).ok();
        }
    }
    let now = Duration::from_millis(now.as_millis().max(0).unsigned_abs());
    match max_age {
        Some(seconds) => seconds <= 0.0,
        None => expires.is_some_and(|expires| expires <= std::time::UNIX_EPOCH + now),
    }
}

/// Returns what an answer without the wanted fields has instead: the names of its members and its own reason. Other
/// values are not shown: one of them can be a token.
pub(super) fn describe_answer(body: &[u8], redactor: &Redactor) -> String {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return String::new();
    };
    let names: Vec<String> = members.keys().map(|name| format!("`{name}`")).collect();
    let names = escape_bounded(&redactor.redact(&names.join(", ")), MAX_QUOTE_CHARS);
    let reason = REASON_MEMBERS
        .iter()
        .find_map(|name| members.get(*name)?.as_str())
        .map(|reason| {
            // Redacted first: an escaped or cut secret would not be recognised.
            let reason = escape_bounded(&redactor.redact(reason), MAX_QUOTE_CHARS);
            format!(": \"{reason}\"")
        });
    format!(" (it has {names}){}", reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(expires_in: &str) -> Option<Duration> {
        let json = format!(r#"{{"token":"t","expires_in":{expires_in}}}"#);
        parse_fields(&json).unwrap().lifetime
    }

    #[test]
    fn fields_are_texts_or_numbers() {
        let json = r#"{"token":" abc ","id":12345678901234567890,"none":null,"expires_in":60}"#;
        let parsed = parse_fields(json).unwrap();
        let expected: [(&str, &str); 2] = [("id", "12345678901234567890"), ("token", "abc")];
        let fields: Vec<(&str, &str)> = parsed.fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(fields, expected);
        assert_eq!(parsed.lifetime, Some(Duration::from_secs(60)));
        for (json, why) in [
            (r#""abc""#, "no object"),
            ("[1]", "no object"),
            (r#"{"token":null}"#, "no token"),
            (r#"{"token":""}"#, "no token"),
            (r#"{"token":"a\nb"}"#, "cannot hold"),
            (r#"{"sid":{"a":1}}"#, "is neither a text nor a number"),
            (r#"{"sid":true}"#, "is neither a text nor a number"),
        ] {
            let error = parse_fields(json).err().unwrap();
            assert!(error.contains(why), "{json}: {error}");
        }
        let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(MAX_FIELD_BYTES + 1));
        assert!(parse_fields(&long).err().unwrap().contains("more than"));
    }

    #[test]
    fn odd_lifetimes_are_unknown() {
        assert_eq!(lifetime("\"3600\""), Some(Duration::from_secs(3600)));
        assert_eq!(lifetime("0.5"), Some(Duration::from_millis(500)));
        for unknown in ["0", "-1", "null", "\"soon\"", "\"NaN\""] {
            assert_eq!(lifetime(unknown), None, "{unknown}");
        }
        for huge in ["1e300", "99999999999999999999999"] {
            assert_eq!(lifetime(huge), Some(Duration::MAX), "{huge}");
        }
    }

    #[test]
    fn cookies_are_kept_until_they_expire() {
        let values = [
            "SID=abc=; Path=/; HttpOnly; Expires=Wed, 01 Jan 2031 00:00:00 GMT",
            "lang=es; Max-Age=60",
            "lang=de",
            "old=1",
            "old=; expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "gone=1; max-age=0",
            "nothing",
            "=x",
        ];
        let values = values.map(HeaderValue::from_static);
        let cookies = parse_cookies(&values, Time::from_millis(1_774_744_200_000));
        let pairs: Vec<String> = cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(pairs, ["SID=abc=", "lang=de"]);
    }

    #[test]
    fn unknown_field_names_are_not_quoted() {
        let failure = |json: &str| parse_fields(json).err().unwrap();
        assert_eq!(
            failure(r#"{"token-value-as-name":[1]}"#),
            "a field of the result of `extract` is neither a text nor a number"
        );
        assert_eq!(
            failure(r#"{"token":[1]}"#),
            "the field `token` is neither a text nor a number"
        );
    }

    #[test]
    fn answer_is_described_without_values() {
        let body = br#"{"error":"invalid_grant","error_description":"wrong password","hint":"secret-value"}"#;
        let text = describe_answer(body, &Redactor::default());
        assert_eq!(
            text,
            " (it has `error`, `error_description`, `hint`): \"wrong password\""
        );
        assert_eq!(describe_answer(b"<html>", &Redactor::default()), "");
    }
}
