//! Which parts of a configuration must never be shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// The secrets in a header's value: the whole of it, its words (`Bearer abc…`, `key=abc…; …`), and what `Basic` hides.
pub(super) fn of_header(value: &str) -> Vec<String> {
    let words = value.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=' | '"'));
    let mut secrets: Vec<String> = std::iter::once(value.trim())
        .chain(words)
        .flat_map(both_forms)
        .collect();
    if let Some((scheme, credentials)) = value.trim().split_once(' ')
        && scheme.eq_ignore_ascii_case("basic")
        && let Ok(plain) = STANDARD.decode(credentials.trim())
    {
        let plain = String::from_utf8_lossy(&plain);
        secrets.extend(plain.split(':').map(str::to_owned));
        secrets.push(plain.into_owned());
    }
    secrets
}

/// The secrets in a URL's text, however malformed: user, password, both as they are sent, and each value of the query.
pub(super) fn of_url(text: &str) -> Vec<String> {
    let rest = text.split_once("//").map_or(text, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before.split('/').next().unwrap_or_default();
    let mut secrets = Vec::new();
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        secrets.extend(of_userinfo(userinfo));
    }
    for pair in query.split(['&', ';']) {
        let value = pair.split_once('=').map_or(pair, |(_, value)| value);
        secrets.extend(both_forms(value));
        secrets.extend(both_forms(&value.replace('+', " ")));
    }
    secrets
}

/// The literal secrets in a text whose references cannot be looked up, if it is a URL's: they stand beside the faults
/// that are shown.
pub(super) fn of_unexpanded(written: &str) -> Vec<String> {
    if !written.contains("//") {
        return Vec::new();
    }
    let literal = |value: &String| {
        value
            .split("${")
            .map(after_reference)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    of_url(written).iter().flat_map(literal).collect()
}

/// What stands behind the reference that a part begins in, if it begins in one.
fn after_reference(part: &str) -> &str {
    part.split_once('}').map_or(part, |(_, rest)| rest)
}

fn of_userinfo(userinfo: &str) -> Vec<String> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut secrets: Vec<String> = [userinfo, user, password]
        .into_iter()
        .flat_map(both_forms)
        .collect();
    let plain = format!("{}:{}", decoded(user), decoded(password));
    secrets.push(STANDARD.encode(plain));
    secrets
}

/// A value as it is written and percent-decoded.
fn both_forms(value: &str) -> [String; 2] {
    [value.to_owned(), decoded(value)]
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(secrets: &[String], all: &[&str]) {
        for one in all {
            assert!(
                secrets.iter().any(|secret| secret == one),
                "{one} is not in {secrets:?}"
            );
        }
    }

    #[test]
    fn a_header_hides_its_words_too() {
        has(
            &of_header("Bearer abcdefgh"),
            &["Bearer abcdefgh", "abcdefgh"],
        );
        has(&of_header("key=\"s3cr%2Ft\"; v=2"), &["s3cr%2Ft", "s3cr/t"]);
        has(
            &of_header("basic dXNlcm5hbWU6cGFzc3dvcmQ="),
            &["username:password", "username", "password"],
        );
    }

    #[test]
    fn a_url_hides_userinfo_and_query() {
        let secrets = of_url("https://us%40r:pa%20ss@example.org/path?key=a%2Bb&c=d+e&loose#f");
        has(
            &secrets,
            &[
                "us%40r", "us@r", "pa%20ss", "pa ss", "a%2Bb", "a+b", "d+e", "d e", "loose",
            ],
        );
        has(&secrets, &["dXNAcjpwYSBzcw=="]);
        assert!(
            !secrets
                .iter()
                .any(|secret| secret.contains("path") || secret.contains("example"))
        );
    }

    #[test]
    fn broken_urls_hide_theirs() {
        has(
            &of_url("htp://user:pass@host:99999?k=v"),
            &["user", "pass", "v"],
        );
        has(&of_url("user:pass@host?k=v"), &["user", "pass", "v"]);
    }
}
