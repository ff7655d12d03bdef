//! Cross-origin resource sharing: which origins' pages may read the responses (CORS protocol of the
//! Fetch standard).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::problem::ALLOWED_METHODS;

/// The origins whose pages may read the responses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CorsPolicy {
    /// Only the server's own origin.
    SameOrigin,
    /// Every origin.
    AnyOrigin,
    /// The server's own origin and these.
    ListedOrigins(Vec<HeaderValue>),
}

impl CorsPolicy {
    /// The policy for the configured `origins`: exact origins, or `*`.
    pub(super) fn new(origins: &[String]) -> Self {
        if origins.iter().any(|origin| origin == "*") {
            return Self::AnyOrigin;
        }
        let listed: Vec<_> = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok())
            .collect();
        if listed.is_empty() {
            Self::SameOrigin
        } else {
            Self::ListedOrigins(listed)
        }
    }

    /// The value of `Access-Control-Allow-Origin` for a request with these headers.
    pub(super) fn allowed_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::SameOrigin => None,
            Self::AnyOrigin => Some(HeaderValue::from_static("*")),
            Self::ListedOrigins(origins) => {
                let mut fields = request.get_all(ORIGIN).iter();
                let origin = fields.next().filter(|_| fields.next().is_none())?;
                origins.iter().find(|listed| *listed == origin).cloned()
            }
        }
    }

    /// Adds the headers of every response. `allowed_origin` comes from
    /// [`CorsPolicy::allowed_origin`].
    pub(super) fn add_response_headers(
        &self,
        allowed_origin: Option<HeaderValue>,
        response: &mut HeaderMap,
    ) {
        if let Some(origin) = allowed_origin {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed =
                HeaderValue::from_static("ETag, Cache-Status, Server-Timing, X-Request-Id");
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        // Shared caches must store a response per origin, also for requests without one.
        if matches!(self, Self::ListedOrigins(_)) {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Whether pages of other origins may read responses, so that browsers send preflights.
    pub(super) fn answers_preflights(&self) -> bool {
        *self != Self::SameOrigin
    }

    /// Adds the headers of a response to `OPTIONS`.
    pub(crate) fn add_preflight_headers(&self, response: &mut HeaderMap) {
        if !self.answers_preflights() {
            return;
        }
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        // `*` does not stand for this one.
        let headers = HeaderValue::from_static("*, Authorization");
        response.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
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
