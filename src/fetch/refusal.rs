//! What a response that refuses says: the provider's own reason, or the target of a redirect.

use encoding_rs::{Encoding, UTF_8};
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, LOCATION, SERVER};
use serde_json::Value;

use crate::domain::{Code, ProviderRequest, Redactor};
use crate::text::escape_bounded;

use super::redirects::{self, RedirectFollower};
use super::{challenge_note, page_text};

/// Maximum number of characters of a quoted reason or target, after escaping.
const MAX_QUOTE_CHARS: usize = 120;

/// Maximum number of objects and arrays around a reason.
const MAX_REASON_DEPTH: usize = 4;

/// Number of unprintable characters among the first [`MAX_QUOTE_CHARS`] from which a body is not text.
const MIN_BINARY_CHARS: usize = 12;

/// Members that hold the reason in common APIs, in order of preference: in lower case, without `_`,
/// `-` and spaces. `title` is last: problem details (RFC 9457) have it beside `detail`.
const REASON_MEMBERS: [&str; 21] = [
    "detail",
    "details",
    "reason",
    "message",
    "messages",
    "errormessage",
    "errordescription",
    "errormsg",
    "statusmessage",
    "exceptionmessage",
    "msg",
    "description",
    "error",
    "errors",
    "fault",
    "faultstring",
    "info",
    "information",
    "note",
    "errortype",
    "title",
];

/// Returns what the message of a refusal says beside its status, with its separator; empty if there is
/// nothing to say.
pub(super) fn refusal_note(
    code: Code,
    status: StatusCode,
    headers: &HeaderMap,
    request: &ProviderRequest,
    received: &str,
    redactor: &Redactor,
) -> String {
    match code {
        Code::RedirectBlocked => redirect_note(status, request, headers, redactor),
        Code::EmptyBody => String::new(),
        _ => {
            let reason = find_reason(status, headers, received, redactor)
                .or_else(|| challenge_note::challenge_reason(headers, redactor));
            let quoted = reason.map(|reason| format!(": \"{reason}\""));
            let hint = challenge_note::challenge_hint(status, headers, request);
            quoted.unwrap_or_default() + &hint + &state_hint(status)
        }
    }
}

/// Returns a hint for the statuses with which services also tell a state of theirs, and for that of a proxy.
fn state_hint(status: StatusCode) -> String {
    match status.as_u16() {
        407 => "; the proxy requires a user and a password in `proxy`".into(),
        number @ (409 | 412 | 423) => {
            format!("; if that is a state and no failure: `accept_status = [{number}]`")
        }
        _ => String::new(),
    }
}

/// Returns where a redirect leads, without user, password, query and fragment.
fn redirect_note(
    status: StatusCode,
    request: &ProviderRequest,
    headers: &HeaderMap,
    redactor: &Redactor,
) -> String {
    let url = &request.url;
    let location = headers.get(LOCATION).map(HeaderValue::as_bytes);
    let location = location.map(String::from_utf8_lossy);
    let Some(target) = location.and_then(|location| url.join(location.trim()).ok()) else {
        return ", and this one names no target; put the final address into `url`".into();
    };
    if !matches!(target.scheme(), "http" | "https") {
        return format!(": the target is a `{}:` address", target.scheme());
    }
    let could_follow = !request.follow_redirects && RedirectFollower::is_redirect(status);
    let help = if could_follow && redirects::is_allowed(url, &target) {
        "put it into `url`, or set `follow_redirects = true`"
    } else {
        "put it into `url`"
    };
    let shown = redirects::shown_target(target, redactor);
    format!(": the target is {shown}; {help}")
}

/// Returns the provider's own reason, redacted, escaped and cut; `None` if the body says nothing more
/// than the status.
fn find_reason(
    status: StatusCode,
    headers: &HeaderMap,
    received: &str,
    redactor: &Redactor,
) -> Option<String> {
    let known = KnownWords::new(status, headers);
    let reason = match serde_json::from_str::<Value>(received.trim()) {
        Ok(document) => match search_reason(&document, &known, MAX_REASON_DEPTH) {
            ReasonSearch::Found(reason) => reason.to_owned(),
            // The members for a reason repeat the status: the other members are no better.
            ReasonSearch::OnlyStatus => return None,
            ReasonSearch::Nothing => received.to_owned(),
        },
        // Also before the tags are removed: a secret can contain what looks like one.
        Err(_) if received.trim_start().starts_with('<') => {
            page_text::visible_text(&redactor.redact(received))
        }
        Err(_) if is_binary(received) => return None,
        Err(_) => received.to_owned(),
    };
    if !known.is_exceeded_by(&reason) {
        return None;
    }
    // Redacted before what follows: a collapsed, escaped or cut secret would not be recognised.
    let redacted = redactor.redact(&reason);
    let words: Vec<&str> = redacted.split_whitespace().collect();
    Some(escape_bounded(&words.join(" "), MAX_QUOTE_CHARS))
}

/// Returns the body as text. A byte order mark has precedence over the charset of `Content-Type`;
/// bytes that are not of the charset are replaced.
pub(super) fn decode_lossy(body: &[u8], charset: Option<&str>) -> String {
    let named = charset.map(str::as_bytes);
    let encoding = named.and_then(Encoding::for_label_no_replacement);
    let (text, ..) = encoding.unwrap_or(UTF_8).decode(body);
    text.into_owned()
}

fn is_binary(text: &str) -> bool {
    let is_unprintable =
        |c: &char| (c.is_control() && !c.is_whitespace()) || *c == char::REPLACEMENT_CHARACTER;
    let beginning = text.chars().take(MAX_QUOTE_CHARS);
    beginning.filter(is_unprintable).count() >= MIN_BINARY_CHARS
}

/// Words that say nothing more than the status line and the `Server` header.
struct KnownWords(Vec<String>);

impl KnownWords {
    fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let server = headers.get(SERVER).and_then(|value| value.to_str().ok());
        let reason = status.canonical_reason().unwrap_or_default();
        let known = [status.as_str(), reason, server.unwrap_or_default()];
        let known = known.into_iter().flat_map(words);
        let general = ["http", "error", "errors", "status", "code", "null"];
        Self(known.chain(general.map(str::to_owned)).collect())
    }

    /// Returns whether `text` has a word that is not known.
    fn is_exceeded_by(&self, text: &str) -> bool {
        words(text).any(|word| !self.0.contains(&word))
    }
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

enum ReasonSearch<'v> {
    Found(&'v str),
    /// There is a reason, which repeats the status.
    OnlyStatus,
    Nothing,
}

/// Searches the reason in a text, in the members of an object, or in the first element of an array
/// that has one.
fn search_reason<'v>(value: &'v Value, known: &KnownWords, depth: usize) -> ReasonSearch<'v> {
    let mut best = ReasonSearch::Nothing;
    let mut search = |value: &'v Value| {
        let found = match depth {
            0 => ReasonSearch::Nothing,
            _ => search_reason(value, known, depth - 1),
        };
        match found {
            ReasonSearch::Nothing => false,
            ReasonSearch::OnlyStatus => {
                best = ReasonSearch::OnlyStatus;
                false
            }
            ReasonSearch::Found(_) => {
                best = found;
                true
            }
        }
    };
    match value {
        Value::String(text) if known.is_exceeded_by(text) => return ReasonSearch::Found(text),
        Value::String(_) => return ReasonSearch::OnlyStatus,
        Value::Array(elements) => {
            elements.iter().any(search);
        }
        Value::Object(members) => {
            let is_found = REASON_MEMBERS.iter().any(|wanted| {
                let named = members.iter().filter(|(name, _)| is_member(name, wanted));
                named.map(|(_, value)| value).any(&mut search)
            });
            // A reason that is nested under a name of the API's own.
            let mut objects = members.values().filter(|value| value.is_object());
            let _ = is_found || objects.any(&mut search);
        }
        _ => {}
    }
    best
}

/// Returns whether `name` is `wanted` in any spelling, such as `error_message` or `ErrorMessage`.
fn is_member(name: &str, wanted: &str) -> bool {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    letters.map(|c| c.to_ascii_lowercase()).eq(wanted.chars())
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::domain::SecretSet;

    fn reason_of(status: u16, body: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER, HeaderValue::from_static("nginx/1.24.0"));
        let status = StatusCode::from_u16(status).unwrap();
        find_reason(status, &headers, body, &Redactor::default())
    }

    #[test]
    fn reason_is_found_where_apis_put_it() {
        for body in [
            r#"{"error":true,"reason":"No such station"}"#,
            r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"No such station"}"#,
            r#"{"message":"No such station","code":7}"#,
            r#"{"error":{"code":404,"message":"No such station"}}"#,
            r#"{"error":"No such station"}"#,
            r#"{"error":"invalid_station","error_description":"No such station"}"#,
            r#"{"errors":[{"message":"No such station"},{"message":"x"}]}"#,
            r#"{"errors":["No such station"]}"#,
            r#"{"detail":[{"loc":["query"],"msg":"No such station"}]}"#,
            r#"{"success":false,"error":{"code":101,"info":"No such station"}}"#,
            r#"[{"errorMessage":"No such station"}]"#,
            r#"{"Error Message":"No such station"}"#,
            r#"{"title":"No such station","status":404}"#,
            r#"{"message":"","error":"Not Found","title":"No such station"}"#,
            r#"{"session":{"valid":false,"message":"No such station"},"took":0.1}"#,
            r#""No such station""#,
            "No\r\n  such station\n",
            "<html><head><title>404</title><style>p{}</style></head><body><p>No such <b>station</b></p>\
             <script>alert(1)</script></body></html>",
            "<?xml version='1.0'?><Error><Message>No such station</Message></Error>",
        ] {
            assert_eq!(
                reason_of(404, body).as_deref(),
                Some("No such station"),
                "{body}"
            );
        }
    }

    #[test]
    fn repeated_status_is_no_reason() {
        for body in [
            "",
            "  \n",
            "Not Found",
            "404 not found",
            r#"{"title":"Not Found","status":404}"#,
            r#"{"message":"Not Found","documentation_url":"https://a.example/"}"#,
            r#"{"error":{"code":404,"message":"Not found."}}"#,
            "<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center>\
             <hr><center>nginx/1.24.0</center></body></html>",
        ] {
            assert_eq!(reason_of(404, body), None, "{body}");
        }
    }

    #[test]
    fn other_bodies_are_quoted_by_their_beginning() {
        assert_eq!(
            reason_of(500, r#"{"state": "broken"}"#).as_deref(),
            Some(r#"{"state": "broken"}"#)
        );
        assert_eq!(
            reason_of(500, "<h1>Database</h1><p>is&nbsp;<i>down</i>.<p>Sorry").as_deref(),
            Some("Database is down. Sorry")
        );
        assert_eq!(reason_of(500, &"\u{1}\u{2}".repeat(50)), None);
        let long = reason_of(500, &"abc ".repeat(500)).unwrap();
        assert!(
            long.chars().count() <= MAX_QUOTE_CHARS + 1 && long.ends_with('…'),
            "{long}"
        );
    }

    #[test]
    fn secret_in_html_is_redacted_before_the_tags() {
        let redactor = Redactor::new(SecretSet::new(["pass  phrase <b>two".to_owned()]));
        let page = "<html><p>login for pass  phrase <b>two failed</html>";
        let reason = find_reason(StatusCode::BAD_REQUEST, &HeaderMap::new(), page, &redactor);
        assert_eq!(reason.as_deref(), Some("login for *** failed"));
    }

    #[test]
    fn redirect_target_hides_secrets() {
        let note_of = |status, location: &'static str| {
            let headers = [(LOCATION, HeaderValue::from_static(location))];
            let request = ProviderRequest::get(Url::parse("http://a.example/x?key=1").unwrap());
            let headers = headers.into_iter().collect();
            redirect_note(status, &request, &headers, &Redactor::default())
        };
        let note = |location| note_of(StatusCode::FOUND, location);
        assert_eq!(
            note("/y/?token=2#z"),
            ": the target is http://a.example/y/; put it into `url`, or set `follow_redirects = true`"
        );
        assert_eq!(
            note("https://u:p@b.example/"),
            ": the target is https://b.example/; put it into `url`"
        );
        assert_eq!(
            note("data:text/plain,x"),
            ": the target is a `data:` address"
        );
        assert!(note("http://[").contains("names no target"));
        // A list of choices is not followed.
        assert_eq!(
            note_of(StatusCode::MULTIPLE_CHOICES, "/y"),
            ": the target is http://a.example/y; put it into `url`"
        );
    }
}
