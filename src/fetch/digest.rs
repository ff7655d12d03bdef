//! Digest authentication (RFC 7616): answers to challenges, and nonces that are used again.

use std::collections::HashMap;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http_auth::digest::{DigestClient, Qop};
use http_auth::{PasswordParams, parse_challenges};
use parking_lot::Mutex;
use reqwest::Request;
use url::Position;

use crate::domain::Credentials;

use super::challenges::{Challenge, read_challenges};
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
    /// The answer to the last challenge, until it is sent.
    answer: Option<HeaderValue>,
}

impl DigestSessions {
    /// Returns the authentication of an attempt with `credentials`.
    pub(super) fn begin(&self, endpoint: &Endpoint, credentials: Credentials) -> DigestAttempt<'_> {
        DigestAttempt {
            sessions: self,
            key: (endpoint.clone(), credentials),
            has_answered: false,
            answer: None,
        }
    }
}

impl DigestAttempt<'_> {
    /// Replaces the `Authorization` of `request` by the answer to the last challenge, or to an earlier one of the server.
    pub(super) fn authorize(&mut self, request: &mut Request) {
        let answer = self.answer.take().or_else(|| {
            let mut sessions = self.sessions.0.lock();
            let client = sessions.get_mut(&self.key)?;
            let answer = answer_challenge(client, &self.key.1, request);
            if answer.is_none() {
                sessions.remove(&self.key);
            }
            answer
        });
        if let Some(answer) = answer {
            request.headers_mut().insert(AUTHORIZATION, answer);
        }
    }

    /// Stores the challenge of a 401 to `request`. Returns whether the request must be sent again with an answer to it.
    pub(super) fn accept_challenge(&mut self, headers: &HeaderMap, request: &Request) -> bool {
        let Some(mut client) = find_challenge(headers) else {
            // The server no longer asks for Digest: the next attempt begins with Basic.
            self.sessions.0.lock().remove(&self.key);
            return false;
        };
        if !std::mem::replace(&mut self.has_answered, true) {
            // Before the challenge is shared: another attempt can replace it by one of another realm.
            self.answer = answer_challenge(&mut client, &self.key.1, request);
        }
        // Also without an answer now: the next attempt begins with the newest nonce.
        let mut sessions = self.sessions.0.lock();
        // Reloads may bring ever other credentials; what is still in use is challenged again.
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(self.key.clone(), client);
        self.answer.is_some()
    }
}

/// Returns the first Digest challenge that can be answered: servers send them in their order of preference (RFC 7616,
/// section 3.7).
pub(super) fn find_challenge(headers: &HeaderMap) -> Option<DigestClient> {
    let challenges = read_challenges(headers).into_iter();
    let mut digests = challenges.filter(|challenge| challenge.is_scheme("Digest"));
    digests.find_map(|challenge| {
        let strict = write_strict(&challenge);
        let challenges = parse_challenges(&strict).ok()?;
        let client = DigestClient::try_from(challenges.first()?).ok()?;
        // The body is not part of an answer: `auth-int` alone is not possible.
        (client.qop() & Qop::Auth).then_some(client)
    })
}

/// Returns the challenge in the strict syntax of RFC 7616.
fn write_strict(challenge: &Challenge<'_>) -> String {
    let parameters = challenge.parameters.iter().map(|(name, value)| {
        // The library compares the names of algorithms by case.
        let value = if name.eq_ignore_ascii_case("algorithm") {
            value.to_ascii_uppercase().replace("-SESS", "-sess")
        } else {
            (*value).to_owned()
        };
        format!("{name}=\"{value}\"")
    });
    format!("Digest {}", parameters.collect::<Vec<_>>().join(", "))
}

/// Returns the `Authorization` of `request` that answers the challenge of `client`; `None` if the counter of the nonce has
/// reached its end, or the user cannot be written.
fn answer_challenge(
    client: &mut DigestClient,
    credentials: &Credentials,
    request: &Request,
) -> Option<HeaderValue> {
    let response = client.respond(&PasswordParams {
        username: &credentials.username,
        password: &credentials.password,
        uri: &request.url()[Position::BeforePath..Position::AfterQuery],
        method: request.method().as_str(),
        body: None,
    });
    let mut value = HeaderValue::try_from(response.ok()?).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::header::WWW_AUTHENTICATE;
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
        let mut request = Request::new(Method::GET, url);
        if !attempt.accept_challenge(&challenge_headers(challenges), &request) {
            return None;
        }
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
            r#"Digest realm="a", nonce="b", algorithm=sha-256-SESS, qop="auth""#,
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

    fn sessions_of_user() -> (DigestSessions, Url, Credentials) {
        let credentials = Credentials {
            username: "u".into(),
            password: "p".into(),
        };
        let url = Url::parse("http://host/").unwrap();
        (DigestSessions::default(), url, credentials)
    }

    #[test]
    fn attempt_answers_one_challenge() {
        let (sessions, url, credentials) = sessions_of_user();
        let endpoint = Endpoint::from_url(&url).unwrap();
        let fresh = challenge_headers(&[r#"Digest realm="a", nonce="b", qop="auth""#]);
        let stale = challenge_headers(&[r#"Digest realm="a", nonce="c", qop="auth", stale=true"#]);
        let mut attempt = sessions.begin(&endpoint, credentials.clone());
        let request = Request::new(Method::GET, url.clone());
        assert!(attempt.accept_challenge(&fresh, &request));
        attempt.authorize(&mut Request::new(Method::GET, url.clone()));
        assert!(!attempt.accept_challenge(&fresh, &request));
        assert!(!attempt.accept_challenge(&stale, &request));
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

    #[test]
    fn answer_is_to_the_own_challenge() {
        let (sessions, url, credentials) = sessions_of_user();
        let endpoint = Endpoint::from_url(&url).unwrap();
        let mut requests = [(); 2].map(|()| Request::new(Method::GET, url.clone()));
        let challenges =
            ["one", "two"].map(|realm| format!(r#"Digest realm="{realm}", nonce="b""#));
        let mut attempts = [(); 2].map(|()| sessions.begin(&endpoint, credentials.clone()));
        for (attempt, challenge) in attempts.iter_mut().zip(&challenges) {
            assert!(attempt.accept_challenge(&challenge_headers(&[challenge]), &requests[0]));
        }
        for ((attempt, request), realm) in
            attempts.iter_mut().zip(&mut requests).zip(["one", "two"])
        {
            attempt.authorize(request);
            let value = request.headers()[AUTHORIZATION].to_str().unwrap();
            assert!(value.contains(&format!(r#"realm="{realm}""#)), "{value}");
        }
    }
}
