//! Redirects to the same host (RFC 9110, section 15.4).

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::response::Parts;
use http::{Method, StatusCode};
use reqwest::Request;
use url::Url;

use crate::domain::{Code, Failure, Redactor};
use crate::text::escape_bounded;

use super::credentials::remove_unsent_parts;

/// Maximum number of redirects of one attempt.
const MAX_REDIRECTS: usize = 3;

/// Maximum number of characters of a target in a message, after escaping.
const MAX_TARGET_CHARS: usize = 120;

/// The redirects that one attempt has followed.
#[derive(Debug, Default)]
pub(super) struct RedirectFollower {
    followed: usize,
}

impl RedirectFollower {
    /// Returns whether `status` names another URL for the same resource.
    pub(super) fn is_redirect(status: StatusCode) -> bool {
        matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
    }

    /// Changes `request` into the one that a redirect asks for. Fails if the redirect leads to another host, or is one
    /// too many.
    pub(super) fn follow(
        &mut self,
        head: &Parts,
        request: &mut Request,
        redactor: &Redactor,
    ) -> Result<(), Failure> {
        let blocked = |why: String| {
            let message = format!("HTTP {}: {why}", head.status);
            Failure::new(Code::RedirectBlocked, message)
        };
        let location = head.headers.get(LOCATION);
        // Some servers send UTF-8, which the parser encodes.
        let location = location.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let Some(location) = location else {
            return Err(blocked("the redirect has no `Location`".into()));
        };
        let Ok(mut target) = request.url().join(location.trim()) else {
            return Err(blocked(
                "the `Location` of the redirect is not a URL".into(),
            ));
        };
        // The credentials of a request are those of the configuration.
        remove_unsent_parts(&mut target);
        if !is_allowed(request.url(), &target) {
            let shown = shown_target(target, redactor);
            return Err(blocked(format!(
                "the redirect leads to {shown}; only those to the same scheme, host and port, or from http port 80 to \
                 https port 443, are followed"
            )));
        }
        if self.followed == MAX_REDIRECTS {
            return Err(blocked(format!(
                "this is redirect {} of one request, and at most {MAX_REDIRECTS} are followed",
                MAX_REDIRECTS + 1
            )));
        }
        self.followed += 1;
        *request.url_mut() = target;
        if becomes_get(head.status, request.method()) {
            *request.method_mut() = Method::GET;
            *request.body_mut() = None;
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
                request.headers_mut().remove(name);
            }
        }
        Ok(())
    }
}

/// Returns the target of a redirect without user, password, query and fragment, redacted, escaped and
/// cut.
pub(super) fn shown_target(mut target: Url, redactor: &Redactor) -> String {
    remove_unsent_parts(&mut target);
    target.set_query(None);
    // Redacted first: an escaped or cut secret would not be recognised.
    escape_bounded(&redactor.redact(target.as_str()), MAX_TARGET_CHARS)
}

/// Returns whether a redirect from `from` to `to` stays at the host.
pub(super) fn is_allowed(from: &Url, to: &Url) -> bool {
    let parts = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    let is_upgrade =
        parts(from) == ("http".into(), Some(80)) && parts(to) == ("https".into(), Some(443));
    from.host() == to.host() && (parts(from) == parts(to) || is_upgrade)
}

/// Returns whether the redirected request is a GET without body.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::SEE_OTHER => *method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(url: &str, status: u16, location: &str) -> Result<Request, String> {
        let mut request = Request::new(Method::POST, Url::parse(url).unwrap());
        *request.body_mut() = Some("x".into());
        let response = http::Response::builder()
            .status(status)
            .header(LOCATION, location)
            .body(())
            .unwrap();
        RedirectFollower::default()
            .follow(&response.into_parts().0, &mut request, &Redactor::default())
            .map(|()| request)
            .map_err(|failure| failure.message.to_string())
    }

    #[test]
    fn locations_are_resolved() {
        let target = |url, location| follow(url, 307, location).unwrap().url().to_string();
        let base = "http://example.org/a/b?c=d";
        assert_eq!(target(base, "e?f=g"), "http://example.org/a/e?f=g");
        assert_eq!(target(base, "/e"), "http://example.org/e");
        assert_eq!(target(base, "../x y"), "http://example.org/x%20y");
        assert_eq!(target(base, "?q=1"), "http://example.org/a/b?q=1");
        assert_eq!(target(base, "//example.org/z#f"), "http://example.org/z");
        assert_eq!(target(base, "HTTPS://Example.ORG/"), "https://example.org/");
        assert_eq!(
            target(base, "http://user:pw@example.org:80/"),
            "http://example.org/"
        );
    }

    #[test]
    fn other_origins_are_blocked() {
        for (url, location) in [
            ("http://example.org/", "http://example.com/"),
            ("http://example.org/", "http://www.example.org/"),
            ("http://example.org/", "http://example.org:8080/"),
            ("http://example.org:8080/", "https://example.org/"),
            ("http://example.org/", "https://example.org:8443/"),
            ("https://example.org/", "http://example.org/"),
            ("http://example.org/", "ftp://example.org/"),
            ("http://example.org/", "file:///etc/passwd"),
            ("http://example.org/", "//169.254.169.254/latest"),
        ] {
            let message = follow(url, 302, location).unwrap_err();
            assert!(message.contains("leads to"), "{message}");
        }
        let secret = follow("http://a/", 302, "http://user:pw@b/p?key=k#f").unwrap_err();
        assert!(secret.contains("http://b/p;"), "{secret}");
    }

    #[test]
    fn post_becomes_get() {
        for (status, method) in [
            (301, Method::GET),
            (302, Method::GET),
            (303, Method::GET),
            (307, Method::POST),
            (308, Method::POST),
        ] {
            let request = follow("http://a/", status, "/b").unwrap();
            assert_eq!(*request.method(), method, "{status}");
            assert_eq!(request.body().is_some(), method == Method::POST);
        }
    }
}
