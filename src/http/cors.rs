//! Which pages of other origins may read the answers (the Fetch standard's CORS protocol).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::problem::METHODS;

/// Who may read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cors {
    /// Only pages of this origin.
    Nobody,
    /// Everyone.
    Everyone,
    /// Pages of these origins.
    These(Vec<HeaderValue>),
}

impl Cors {
    /// `origins` as they are configured: exact ones, or `*`.
    pub(super) fn new(origins: &[String]) -> Self {
        if origins.iter().any(|origin| origin == "*") {
            return Self::Everyone;
        }
        let exact: Vec<_> = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok())
            .collect();
        if exact.is_empty() {
            Self::Nobody
        } else {
            Self::These(exact)
        }
    }

    /// The value of `Access-Control-Allow-Origin` for a request with these headers.
    pub(super) fn allows(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Nobody => None,
            Self::Everyone => Some(HeaderValue::from_static("*")),
            Self::These(origins) => {
                let mut sent = request.get_all(ORIGIN).iter();
                let origin = sent.next().filter(|_| sent.next().is_none())?;
                origins.iter().find(|known| *known == origin).cloned()
            }
        }
    }

    /// Adds what every answer says.
    pub(super) fn mark(&self, allowed: Option<HeaderValue>, response: &mut HeaderMap) {
        if let Some(origin) = allowed {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed =
                HeaderValue::from_static("ETag, Cache-Status, Server-Timing, X-Request-Id");
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        // Shared caches must keep the answers for different origins apart, also those for none.
        if matches!(self, Self::These(_)) {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Adds what only the answer to `OPTIONS` says.
    pub(super) fn mark_preflight(&self, response: &mut HeaderMap) {
        if *self == Self::Nobody {
            return;
        }
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        response.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], sent: &'static str) -> Option<HeaderValue> {
        let origins: Vec<String> = origins.iter().map(|&o| o.to_owned()).collect();
        let mut request = HeaderMap::new();
        request.insert(ORIGIN, HeaderValue::from_static(sent));
        Cors::new(&origins).allows(&request)
    }

    #[test]
    fn origins_are_compared_exactly() {
        assert_eq!(allowed(&[], "https://a.example"), None);
        assert_eq!(allowed(&["*"], "https://a.example").unwrap(), "*");
        assert_eq!(
            allowed(&["https://a.example"], "https://a.example").unwrap(),
            "https://a.example"
        );
        for other in [
            "https://a.example:443",
            "http://a.example",
            "https://a.example.evil",
            "null",
            "HTTPS://A.EXAMPLE",
        ] {
            assert_eq!(allowed(&["https://a.example"], other), None, "{other}");
        }
    }
}
