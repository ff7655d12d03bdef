//! Which pages of other origins may read the answers (the Fetch standard's CORS protocol).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::problem::ALLOWED_METHODS;

/// Who may read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CorsPolicy {
    /// Only pages of this origin.
    SameOrigin,
    /// Everyone.
    AnyOrigin,
    /// Pages of these origins.
    ListedOrigins(Vec<HeaderValue>),
}

impl CorsPolicy {
    /// `origins` as they are configured: exact ones, or `*`.
    pub(crate) fn new(origins: &[String]) -> Self {
        if origins.iter().any(|origin| origin == "*") {
            return Self::AnyOrigin;
        }
        let exact: Vec<_> = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok())
            .collect();
        if exact.is_empty() {
            Self::SameOrigin
        } else {
            Self::ListedOrigins(exact)
        }
    }

    /// The value of `Access-Control-Allow-Origin` for a request with these headers.
    pub(crate) fn allowed_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::SameOrigin => None,
            Self::AnyOrigin => Some(HeaderValue::from_static("*")),
            Self::ListedOrigins(origins) => {
                let mut sent = request.get_all(ORIGIN).iter();
                let origin = sent.next().filter(|_| sent.next().is_none())?;
                origins.iter().find(|known| *known == origin).cloned()
            }
        }
    }

    /// Adds what every answer says.
    pub(crate) fn add_response_headers(
        &self,
        allowed: Option<HeaderValue>,
        response: &mut HeaderMap,
    ) {
        if let Some(origin) = allowed {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed =
                HeaderValue::from_static("ETag, Cache-Status, Server-Timing, X-Request-Id");
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        // Shared caches must keep the answers for different origins apart, also those for none.
        if matches!(self, Self::ListedOrigins(_)) {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Adds what only the answer to `OPTIONS` says.
    pub(crate) fn add_preflight_headers(&self, response: &mut HeaderMap) {
        if *self == Self::SameOrigin {
            return;
        }
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
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
        CorsPolicy::new(&origins).allowed_origin(&request)
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
