//! Which parts of a configuration must never be shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// The secrets in a header's value: the whole of it, its words (`Bearer abc…`, `key=abc…; …`), and what `Basic` hides.
pub(super) fn header_secrets(value: &str) -> Vec<String> {
    let words = value.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=' | '"'));
    let mut secrets: Vec<String> = std::iter::once(value.trim())
        .chain(words)
        .flat_map(raw_and_decoded)
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
pub(super) fn url_secrets(text: &str) -> Vec<String> {
    let rest = text.split_once("//").map_or(text, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before.split('/').next().unwrap_or_default();
    let mut secrets = Vec::new();
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        secrets.extend(userinfo_secrets(userinfo));
    }
    for pair in query.split(['&', ';']) {
        let value = pair.split_once('=').map_or(pair, |(_, value)| value);
        secrets.extend(raw_and_decoded(value));
        secrets.extend(raw_and_decoded(&value.replace('+', " ")));
    }
    secrets
}

/// The literal secrets in a text whose references cannot be looked up, if it is a URL's: they stand beside the faults
/// that are shown.
pub(super) fn unexpanded_secrets(written: &str) -> Vec<String> {
    if !written.contains("//") {
        return Vec::new();
    }
    let literal = |value: &String| {
        value
            .split("${")
            .map(text_after_reference)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    url_secrets(written).iter().flat_map(literal).collect()
}

/// What stands behind the reference that a part begins in, if it begins in one.
fn text_after_reference(part: &str) -> &str {
    part.split_once('}').map_or(part, |(_, rest)| rest)
}

fn userinfo_secrets(userinfo: &str) -> Vec<String> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut secrets: Vec<String> = [userinfo, user, password]
        .into_iter()
        .flat_map(raw_and_decoded)
        .collect();
    let plain = format!("{}:{}", percent_decode(user), percent_decode(password));
    secrets.push(STANDARD.encode(plain));
    secrets
}

/// A value as it is written and percent-decoded.
fn raw_and_decoded(value: &str) -> [String; 2] {
    [value.to_owned(), percent_decode(value)]
}

fn percent_decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_contains(secrets: &[String], all: &[&str]) {
        for one in all {
            assert!(
                secrets.iter().any(|secret| secret == one),
                "{one} is not in {secrets:?}"
            );
        }
    }

    #[test]
    fn header_words_are_secrets() {
        assert_contains(
            &header_secrets("Bearer abcdefgh"),
            &["Bearer abcdefgh", "abcdefgh"],
        );
        assert_contains(
            &header_secrets("key=\"s3cr%2Ft\"; v=2"),
            &["s3cr%2Ft", "s3cr/t"],
        );
        assert_contains(
            &header_secrets("basic dXNlcm5hbWU6cGFzc3dvcmQ="),
            &["username:password", "username", "password"],
        );
    }

    #[test]
    fn url_credentials_are_secrets() {
        let secrets =
            url_secrets("https://us%40r:pa%20ss@example.org/path?key=a%2Bb&c=d+e&loose#f");
        assert_contains(
            &secrets,
            &[
                "us%40r", "us@r", "pa%20ss", "pa ss", "a%2Bb", "a+b", "d+e", "d e", "loose",
            ],
        );
        assert_contains(&secrets, &["dXNAcjpwYSBzcw=="]);
        assert!(
            !secrets
                .iter()
                .any(|secret| secret.contains("path") || secret.contains("example"))
        );
    }

    #[test]
    fn malformed_url_secrets_are_found() {
        assert_contains(
            &url_secrets("htp://user:pass@host:99999?k=v"),
            &["user", "pass", "v"],
        );
        assert_contains(&url_secrets("user:pass@host?k=v"), &["user", "pass", "v"]);
    }
}
