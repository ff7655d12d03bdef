//! Conditional requests: a server whose response has not changed answers 304 without a body (RFC 9110,
//! section 13).

use http::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{Method, StatusCode};
use reqwest::Request;
use xxhash_rust::xxh3::xxh3_64;

/// Maximum length of a validator that is sent back, in bytes.
const MAX_VALIDATOR_BYTES: usize = 1024;

/// Length of the URL and the headers of a usual request, in bytes.
const HASHED_BYTES: usize = 512;

/// Headers that make a request conditional or partial. With one of them in the configuration, the operator asks for
/// its effect.
const CONDITION_HEADERS: [HeaderName; 6] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// Validators of a response (RFC 9110, section 8.8), with the request that it responded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
    request_hash: u64,
}

impl Validators {
    /// Returns the validators of a response to the request with this hash; `None` if it has none, or is no complete
    /// representation.
    pub(super) fn from_response(
        request_hash: Option<u64>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let validator = |name| {
            let value: &HeaderValue = headers.get(name)?;
            (value.len() <= MAX_VALIDATOR_BYTES && !value.is_empty()).then(|| value.clone())
        };
        let validators = Self {
            etag: validator(ETAG),
            last_modified: validator(LAST_MODIFIED),
            request_hash: request_hash?,
        };
        let has_one = validators.etag.is_some() || validators.last_modified.is_some();
        (status == StatusCode::OK && has_one).then_some(validators)
    }

    /// Makes the request with this hash conditional, if it is the one that was responded to. Returns whether it is.
    pub(super) fn add_condition(&self, request: &mut Request, request_hash: Option<u64>) -> bool {
        let is_same = request_hash == Some(self.request_hash);
        if is_same {
            let headers = request.headers_mut();
            // Both (RFC 9110, section 13.1.3): a server that knows ETags ignores the date.
            if let Some(etag) = &self.etag {
                headers.insert(IF_NONE_MATCH, etag.clone());
            }
            if let Some(last_modified) = &self.last_modified {
                headers.insert(IF_MODIFIED_SINCE, last_modified.clone());
            }
        }
        is_same
    }
}

/// Returns a hash of the URL and the headers of a request that may become conditional: a GET without a body and without
/// a condition of its own. `None` for others.
pub(super) fn hash_conditional_request(request: &Request) -> Option<u64> {
    let headers = request.headers();
    let has_condition = CONDITION_HEADERS
        .iter()
        .any(|name| headers.contains_key(name));
    if request.method() != Method::GET || request.body().is_some() || has_condition {
        return None;
    }
    let mut parts = Vec::with_capacity(HASHED_BYTES);
    parts.extend_from_slice(request.url().as_str().as_bytes());
    for (name, value) in headers {
        // No part contains the separator, so that the parts of two requests are equal if the hashed bytes are.
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            parts.push(0);
            parts.extend_from_slice(part);
        }
    }
    Some(xxh3_64(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, header: Option<HeaderName>) -> Request {
        let mut request = Request::new(method, "http://a.example/x".parse().unwrap());
        if let Some(name) = header {
            let value = HeaderValue::from_static("bytes=0-1");
            request.headers_mut().insert(name, value);
        }
        request
    }

    fn response(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_plain_gets_become_conditional() {
        assert!(hash_conditional_request(&request(Method::GET, None)).is_some());
        assert!(hash_conditional_request(&request(Method::POST, None)).is_none());
        for name in CONDITION_HEADERS {
            assert!(hash_conditional_request(&request(Method::GET, Some(name))).is_none());
        }
    }

    #[test]
    fn condition_is_of_the_same_request() {
        let mut sent = request(Method::GET, None);
        let hash = hash_conditional_request(&sent);
        let other = request(Method::GET, Some(HeaderName::from_static("x-key")));
        let headers = response(ETAG, "W/\"1\"");
        let validators = Validators::from_response(hash, StatusCode::OK, &headers).unwrap();
        assert!(!validators.add_condition(&mut sent, hash_conditional_request(&other)));
        assert!(!validators.add_condition(&mut sent, None));
        assert!(sent.headers().is_empty());
        assert!(validators.add_condition(&mut sent, hash));
        assert_eq!(sent.headers()[IF_NONE_MATCH], "W/\"1\"");
        assert!(!sent.headers().contains_key(IF_MODIFIED_SINCE));
    }

    #[test]
    fn unusable_validators_are_ignored() {
        let hash = Some(1);
        let validators = |status, headers| Validators::from_response(hash, status, &headers);
        let long = "x".repeat(MAX_VALIDATOR_BYTES + 1);
        assert_eq!(validators(StatusCode::OK, response(ETAG, &long)), None);
        assert_eq!(validators(StatusCode::OK, response(ETAG, "")), None);
        assert_eq!(validators(StatusCode::OK, HeaderMap::new()), None);
        let date = response(LAST_MODIFIED, "Sat, 28 Nov 2026 08:00:00 GMT");
        assert_eq!(validators(StatusCode::NOT_FOUND, date.clone()), None);
        assert!(validators(StatusCode::OK, date).is_some());
    }
}
