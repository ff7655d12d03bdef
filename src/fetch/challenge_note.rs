//! What the challenges of a refusal say: why the server refuses, and what authentication it asks for.

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap};

use crate::domain::{ProviderRequest, Redactor};
use crate::text::escape_bounded;

use super::challenges::read_challenges;
use super::credentials::find_credentials;
use super::digest;

/// Maximum number of characters of a quoted reason or of the names of schemes, after escaping.
const MAX_QUOTE_CHARS: usize = 120;

/// Parameters that hold the reason, in order of preference (RFC 6750, section 3).
const REASON_PARAMETERS: [&str; 2] = ["error_description", "error"];

/// Returns the reason that a challenge gives, redacted, escaped and cut: APIs with tokens have it there instead of in a body.
pub(super) fn challenge_reason(headers: &HeaderMap, redactor: &Redactor) -> Option<String> {
    let challenges = read_challenges(headers);
    let reasons = REASON_PARAMETERS
        .iter()
        .flat_map(|name| challenges.iter().filter_map(|c| c.parameter(name)));
    let reason = reasons.into_iter().find(|reason| !reason.is_empty())?;
    // Redacted first: an escaped or cut secret would not be recognised.
    Some(escape_bounded(&redactor.redact(reason), MAX_QUOTE_CHARS))
}

/// Returns a hint for a 401 whose challenges the request cannot have answered; empty if there is none.
pub(super) fn challenge_hint(
    status: StatusCode,
    headers: &HeaderMap,
    request: &ProviderRequest,
) -> String {
    if status != StatusCode::UNAUTHORIZED {
        return String::new();
    }
    let challenges = read_challenges(headers);
    let has_scheme = |scheme| challenges.iter().any(|c| c.is_scheme(scheme));
    let (has_basic, has_digest) = (has_scheme("Basic"), has_scheme("Digest"));
    if find_credentials(&request.url, request.credentials.as_ref()).is_none() {
        let is_authorization = |name: &str| name.eq_ignore_ascii_case(AUTHORIZATION.as_str());
        let is_anonymous = request.auth.is_none()
            && !(request.headers.iter()).any(|(name, _)| is_authorization(name));
        return if is_anonymous && (has_basic || has_digest) {
            "; the server asks for `username` and `password`".into()
        } else {
            String::new()
        };
    }
    if challenges.is_empty() || has_basic {
        return String::new();
    }
    if has_digest {
        return match digest::find_challenge(headers) {
            Some(_) => String::new(),
            None => "; its Digest challenge has no algorithm or `qop` that can be answered".into(),
        };
    }
    let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme).collect();
    let schemes = escape_bounded(&schemes.join(", "), MAX_QUOTE_CHARS);
    format!("; the server asks for {schemes}, not for Basic or Digest (`username`, `password`)")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::WWW_AUTHENTICATE;
    use url::Url;

    use super::*;
    use crate::domain::Credentials;

    fn headers(challenges: &[&'static str]) -> HeaderMap {
        let values = challenges.iter().copied().map(HeaderValue::from_static);
        values.map(|value| (WWW_AUTHENTICATE, value)).collect()
    }

    fn reason(challenge: &'static str) -> Option<String> {
        challenge_reason(&headers(&[challenge]), &Redactor::default())
    }

    #[test]
    fn token_errors_are_reasons() {
        let bearer =
            r#"Bearer realm="x", error="invalid_token", error_description="The token expired""#;
        assert_eq!(reason(bearer).as_deref(), Some("The token expired"));
        assert_eq!(
            reason("Basic realm=x, bearer error=invalid_token").as_deref(),
            Some("invalid_token")
        );
        for none in ["Bearer", r#"Basic realm="error""#, r#"Bearer error="""#, ""] {
            assert_eq!(reason(none), None, "{none}");
        }
    }

    #[test]
    fn challenge_tells_what_is_missing() {
        let mut request = ProviderRequest::get(Url::parse("http://a.example/x").unwrap());
        let hint = |request: &ProviderRequest, challenges: &[&'static str]| {
            challenge_hint(StatusCode::UNAUTHORIZED, &headers(challenges), request)
        };
        let basic = r#"Basic realm="NAS""#;
        assert!(hint(&request, &[basic]).contains("asks for `username`"));
        assert_eq!(hint(&request, &["Bearer"]), "");
        request.credentials = Some(Credentials {
            username: "u".into(),
            password: "p".into(),
        });
        // The password is wrong, which the status says.
        for answered in [&[basic][..], &[r#"Digest realm="a", nonce="b""#], &[]] {
            assert_eq!(hint(&request, answered), "", "{answered:?}");
        }
        assert!(hint(&request, &["Negotiate", "NTLM"]).contains("asks for Negotiate, NTLM, not"));
        let unknown = r#"Digest realm="a", nonce="b", algorithm=TURTLE"#;
        assert!(hint(&request, &[unknown]).contains("no algorithm"));
        let forbidden = challenge_hint(StatusCode::FORBIDDEN, &headers(&["NTLM"]), &request);
        assert_eq!(forbidden, "");
    }
}
