//! Digest authentication (RFC 7616): answers to challenges, and nonces that are used again.

use std::collections::HashMap;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http_auth::digest::{DigestClient, Qop};
use http_auth::{PasswordParams, parse_challenges};
use parking_lot::Mutex;
use reqwest::Request;
use url::Position;

use crate::domain::Credentials;

use super::client::Endpoint;

/// Maximum number of stored challenges.
const MAX_SESSIONS: usize = 256;

/// The challenges of servers that asked for Digest. Their nonces are used again, so that a request usually suffices for
/// a call.
#[derive(Default)]
pub(super) struct DigestSessions(Mutex<HashMap<SessionKey, DigestClient>>);

type SessionKey = (Endpoint, Credentials);

/// The authentication of one attempt at one endpoint.
pub(super) struct DigestAttempt<'s> {
    sessions: &'s DigestSessions,
    key: SessionKey,
    /// Whether a challenge was answered. A second one means that the credentials are wrong.
    has_answered: bool,
}

impl DigestSessions {
    /// Returns the authentication of an attempt with `credentials`.
    pub(super) fn begin(&self, endpoint: &Endpoint, credentials: Credentials) -> DigestAttempt<'_> {
        DigestAttempt {
            sessions: self,
            key: (endpoint.clone(), credentials),
            has_answered: false,
        }
    }
}

impl DigestAttempt<'_> {
    /// Replaces the `Authorization` of `request` if the server has asked for Digest before.
    pub(super) fn authorize(&self, request: &mut Request) {
        let mut sessions = self.sessions.0.lock();
        let Some(client) = sessions.get_mut(&self.key) else {
            return;
        };
        let credentials = &self.key.1;
        let response = client.respond(&PasswordParams {
            username: &credentials.username,
            password: &credentials.password,
            uri: &request.url()[Position::BeforePath..Position::AfterQuery],
            method: request.method().as_str(),
            body: None,
        });
        match response.map(HeaderValue::try_from) {
            Ok(Ok(mut value)) => {
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            // The counter of the nonce has reached its end, or the user cannot be written.
            _ => drop(sessions.remove(&self.key)),
        }
    }

    /// Stores the challenge of a 401. Returns whether the request must be sent again with an answer to it.
    pub(super) fn accept_challenge(&mut self, headers: &HeaderMap) -> bool {
        let Some(client) = find_challenge(headers) else {
            // The server no longer asks for Digest: the next attempt begins with Basic.
            self.sessions.0.lock().remove(&self.key);
            return false;
        };
        // Also without an answer now: the next attempt begins with the newest nonce.
        let mut sessions = self.sessions.0.lock();
        // Reloads may bring ever other credentials; what is still in use is challenged again.
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(self.key.clone(), client);
        drop(sessions);
        !std::mem::replace(&mut self.has_answered, true)
    }
}

/// Returns the first Digest challenge that can be answered: servers send them in their order of preference (RFC 7616,
/// section 3.7).
fn find_challenge(headers: &HeaderMap) -> Option<DigestClient> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(normalize_challenges)
        .find_map(|challenge| {
            let challenges = parse_challenges(&challenge).ok()?;
            let client = DigestClient::try_from(challenges.first()?).ok()?;
            // The body is not part of an answer: `auth-int` alone is not possible.
            (client.qop() & Qop::Auth).then_some(client)
        })
}

/// Returns the Digest challenges of a header, each in the strict syntax of RFC 7616. Devices send more spaces, quotes and
/// commas than the syntax permits.
fn normalize_challenges(header: &str) -> Vec<String> {
    let mut challenges: Vec<String> = Vec::new();
    let mut is_digest = false;
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = split_value(value.trim_start());
            if is_digest && let Some(challenge) = challenges.last_mut() {
                let separator = if challenge.contains('=') { ", " } else { " " };
                *challenge += &[separator, word, "=\"", value, "\""].concat();
            }
            rest = after;
        } else {
            is_digest = word.eq_ignore_ascii_case("digest");
            if is_digest {
                challenges.push("Digest".into());
            }
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
}

/// Splits a text behind the value at its start. Returns a quoted value without its quotes, and with its escapes.
fn split_value(text: &str) -> (&str, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.trim_matches('"'), rest);
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    match end {
        Some(end) => (&quoted[..end], &quoted[end + 1..]),
        None => (quoted, ""),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use url::Url;

    use super::*;

    fn challenge_headers(challenges: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
        }
        headers
    }

    /// The `Authorization` that answers these challenges.
    fn answer(challenges: &[&str]) -> Option<String> {
        let sessions = DigestSessions::default();
        let url = Url::parse("http://host/dir/index.html?q=1").unwrap();
        let credentials = Credentials {
            username: "Mufasa".into(),
            password: "Circle of Life".into(),
        };
        let mut attempt = sessions.begin(&Endpoint::from_url(&url)?, credentials);
        if !attempt.accept_challenge(&challenge_headers(challenges)) {
            return None;
        }
        let mut request = Request::new(Method::GET, url);
        attempt.authorize(&mut request);
        let value = request.headers().get(AUTHORIZATION)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn challenges_of_devices_are_read() {
        for challenge in [
            r#"Digest realm="Login to cam", qop="auth", nonce="1690811241", opaque="5a1f""#,
            r#"digest REALM="a",Nonce="b",QOP="auth-int,auth""#,
            r#"Digest realm="a, b", nonce="b" , qop=auth,algorithm=MD5"#,
            r#"DIGEST  realm="a",   nonce="b",  qop="auth""#,
            r#"Digest realm = "a", nonce = "b""#,
            r#"Digest realm="", nonce="b", stale=FALSE"#,
            r#"Digest realm="a", nonce="b", algorithm="MD5", qop="auth","#,
            r#"Basic realm="x, Digest y=z", Digest realm="a", nonce="b""#,
            r#"Negotiate, Digest realm="a", nonce="b", Basic realm="x""#,
            r#"Bearer, Digest realm="a", nonce="b""#,
            r#"Negotiate YII==, Digest realm="a", nonce="b""#,
            r#", Digest realm="a",, nonce="b" qop="auth""#,
            r#"Digest realm="a", nonce="b", opaque="#,
            r#"Digest realm="a \"q\"", nonce="b==""#,
            r#"Digest realm="a", domain="/", nonce="b", charset=UTF-8, algorithm=SHA-256, qop="auth""#,
            r#"Digest realm="a", nonce="b", algorithm=MD5-sess, qop="auth""#,
        ] {
            let answer = answer(&[challenge]).unwrap_or_else(|| panic!("{challenge}"));
            assert!(answer.starts_with("Digest username=\"Mufasa\""), "{answer}");
            assert!(
                answer.contains("uri=\"/dir/index.html?q=1\""),
                "{challenge}: {answer}"
            );
        }
    }

    #[test]
    fn impossible_challenges_are_left() {
        for challenge in [
            r#"Basic realm="x""#,
            r#"Digest realm="a", nonce="b", algorithm=TURTLE"#,
            r#"Digest realm="a", nonce="b", qop="auth-int""#,
            r#"Digest realm="a""#,
            "Digest",
            "",
        ] {
            assert_eq!(answer(&[challenge]), None, "{challenge}");
        }
        let second = r#"Digest realm="a", nonce="b", qop="auth", algorithm=SHA-256"#;
        let answered = answer(&[r#"Digest realm="a", nonce="b", algorithm=X"#, second]);
        assert!(answered.unwrap().contains("algorithm=SHA-256"));
    }

    #[test]
    fn attempt_answers_one_challenge() {
        let sessions = DigestSessions::default();
        let url = Url::parse("http://host/").unwrap();
        let credentials = Credentials {
            username: "u".into(),
            password: "p".into(),
        };
        let endpoint = Endpoint::from_url(&url).unwrap();
        let fresh = challenge_headers(&[r#"Digest realm="a", nonce="b", qop="auth""#]);
        let stale = challenge_headers(&[r#"Digest realm="a", nonce="c", qop="auth", stale=true"#]);
        let mut attempt = sessions.begin(&endpoint, credentials.clone());
        assert!(attempt.accept_challenge(&fresh));
        assert!(!attempt.accept_challenge(&fresh));
        assert!(!attempt.accept_challenge(&stale));
        // The next attempt has the newest nonce, and the one after it counts on.
        for count in ["nc=00000001", "nc=00000002"] {
            let mut request = Request::new(Method::GET, url.clone());
            sessions
                .begin(&endpoint, credentials.clone())
                .authorize(&mut request);
            let value = request.headers()[AUTHORIZATION].to_str().unwrap();
            assert!(value.contains(count) && value.contains(r#"nonce="c""#));
        }
    }
}
