//! The secret parts of header values and URLs, for redaction.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// Words in the name of a key, a header or a parameter whose value is a credential.
const CREDENTIAL_WORDS: [&str; 17] = [
    "apikey",
    "appid",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pin",
    "pwd",
    "secret",
    "session",
    "sid",
    "token",
    "accesstoken",
];

/// Whether a key, a header or a parameter of this name has a credential as its value.
pub(super) fn names_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| CREDENTIAL_WORDS.contains(&word))
}

/// The secrets in a header's value: the whole value, its words (`Bearer abc…`, `key=abc…; …`), and the credentials that
/// `Basic` encodes.
pub(super) fn header_secrets(value: &str) -> Vec<String> {
    let value = value.trim();
    // A provider may echo one word of the value, such as the token without its scheme.
    let words = value.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=' | '"'));
    let mut secrets: Vec<String> = words.flat_map(raw_and_decoded).collect();
    secrets.extend(raw_and_decoded(value));
    if let Some((scheme, credentials)) = value.split_once(' ')
        && scheme.eq_ignore_ascii_case("basic")
        && let Ok(plain) = STANDARD.decode(credentials.trim())
    {
        let plain = String::from_utf8_lossy(&plain);
        secrets.extend(plain.split(':').map(str::to_owned));
        secrets.push(plain.into_owned());
    }
    secrets
}

/// The secrets in a URL's text, valid or not: user, password, both as a `Basic` header encodes them, and each value of
/// the query.
pub(super) fn url_secrets(text: &str) -> Vec<String> {
    let rest = text.split_once("//").map_or(text, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    // By hand: a URL that does not parse is shown in a message, and its secrets must be masked,
    // too.
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before.split('/').next().unwrap_or_default();
    let mut secrets = Vec::new();
    // The last `@` ends the userinfo (WHATWG URL): a password may hold another one.
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        secrets.extend(
            [userinfo, user, password]
                .into_iter()
                .flat_map(raw_and_decoded),
        );
        secrets.push(encode_basic(
            &percent_decode(user),
            &percent_decode(password),
        ));
    }
    for pair in query.split(['&', ';']) {
        let value = pair.split_once('=').map_or(pair, |(_, value)| value);
        secrets.extend(raw_and_decoded(value));
        // A form decodes `+` as a space, and an error may show the decoded value.
        secrets.extend(raw_and_decoded(&value.replace('+', " ")));
    }
    secrets
}

/// The values of the query of a URL whose names name no credential: data may hold them.
pub(super) fn plain_parameters(url: &str) -> Vec<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let pairs = query
        .split(['&', ';'])
        .filter_map(|pair| pair.split_once('='));
    let plain = pairs.filter(|(name, _)| !names_credential(name));
    plain
        .flat_map(|(_, value)| raw_and_decoded(value))
        .collect()
}

/// A user and a password as a `Basic` header encodes them (RFC 7617).
pub(super) fn encode_basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

/// The literal secrets in a URL whose references have errors. The line with the error shows them otherwise.
pub(super) fn unexpanded_secrets(written: &str) -> Vec<String> {
    if !written.contains("//") {
        return Vec::new();
    }
    let secrets = url_secrets(written);
    let parts = secrets.iter().flat_map(|secret| secret.split("${"));
    let literals = parts.map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    literals.map(str::to_owned).collect()
}

/// A value as written and percent-decoded.
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
