//! Problem responses (RFC 9457): the `application/problem+json` bodies of 4xx and 5xx responses.

use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::process::WorkQueueFull;

/// The methods of every route.
pub(crate) const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The values of `WWW-Authenticate`, `Basic realm="resumen", Bearer` in two fields: Chromium ignores
/// a field of Basic that goes on with another scheme, and asks for no password.
const CHALLENGES: [HeaderValue; 2] = [
    HeaderValue::from_static("Basic realm=\"resumen\""),
    HeaderValue::from_static("Bearer"),
];

/// Maximum characters of a client's text that a problem repeats.
const MAX_ECHOED_CHARS: usize = 80;

const CONTENT_TYPE_OPTIONS: HeaderName = http::header::X_CONTENT_TYPE_OPTIONS;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident $code:literal $title:literal,)*) => {
        /// The kinds of problems. Their codes are stable: clients depend on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ProblemKind { $($(#[$doc])* $kind,)* }

        impl ProblemKind {
            /// Every kind.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The status code of the response.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            /// The value of `code`.
            pub(crate) fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// The value of `title`.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    /// The value of a query parameter is invalid.
    InvalidParameter = BAD_REQUEST "invalid_parameter" "A parameter's value is not valid",
    /// The query has a parameter that the route does not have.
    UnknownParameter = BAD_REQUEST "unknown_parameter" "Unknown query parameter",
    /// The query names a source that is not configured.
    UnknownSource = BAD_REQUEST "unknown_source" "Unknown source",
    /// The path names a source that is not configured.
    NoSuchSource = NOT_FOUND "unknown_source" "Unknown source",
    /// The data of a source has no value at the path.
    UnknownPath = NOT_FOUND "unknown_path" "No value at this path",
    /// A proxy could see another request in the same bytes.
    BadFraming = BAD_REQUEST "bad_framing" "The request's framing is ambiguous",
    /// `Host` is missing, repeated, empty or not a host.
    InvalidHost = BAD_REQUEST "invalid_host" "The Host field is not valid",
    /// The target of the request line is neither a path nor a URL.
    InvalidTarget = BAD_REQUEST "invalid_target" "The request's target is not valid",
    /// The request has a body, and its method allows none.
    UnexpectedBody = BAD_REQUEST "unexpected_body" "This request must not have a body",
    /// The request has no valid token.
    Unauthorized = UNAUTHORIZED "unauthorized" "A token is required",
    /// The token does not grant the route.
    Forbidden = FORBIDDEN "forbidden" "The token does not grant this",
    /// `server.live` grants no live answer.
    LiveDisabled = FORBIDDEN "live_disabled" "Live answers are not available",
    /// No route has this path.
    NotFound = NOT_FOUND "not_found" "No resource at this path",
    /// The route does not support the method.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "Method not allowed",
    /// The client accepts no available content coding.
    NotAcceptable = NOT_ACCEPTABLE "not_acceptable" "No acceptable encoding",
    /// `Expect` has a value other than `100-continue`.
    ExpectationFailed = EXPECTATION_FAILED "expectation_failed" "Unsupported expectation",
    /// The host name is not in `server.hosts`.
    MisdirectedHost = MISDIRECTED_REQUEST "misdirected_host" "This server has another name",
    /// A handler panicked.
    Internal = INTERNAL_SERVER_ERROR "internal" "Internal error",
    /// The source has no reading that may be shown.
    MissingValue = SERVICE_UNAVAILABLE "missing" "The source has no value now",
    /// The first round has not ended and nothing was restored.
    NotReady = SERVICE_UNAVAILABLE "not_ready" "Not ready yet",
    /// The server is draining.
    Draining = SERVICE_UNAVAILABLE "draining" "The service is stopping",
    /// The event stream has the maximum number of clients.
    StreamFull = SERVICE_UNAVAILABLE "stream_full" "The event stream has its maximum number of clients",
    /// Too many clients or expensive requests at a time.
    Busy = SERVICE_UNAVAILABLE "busy" "The service is busy",
    /// The refresher's liveness beat has stopped.
    RefresherStuck = SERVICE_UNAVAILABLE "refresher_stuck" "The background refresher is stuck",
}

/// A problem. Boxed, so that a `Result` with it stays small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProblemDetails(Box<ProblemMembers>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct ProblemMembers {
    kind: ProblemKind,
    detail: String,
    param: Option<String>,
    got: Option<String>,
    expected: Option<String>,
    suggestion: Option<String>,
    /// Whether the connection closes after the response.
    must_close: bool,
}

/// The members of the JSON object, in this order.
#[derive(Serialize)]
pub(crate) struct ProblemDto<'p> {
    r#type: String,
    title: &'p str,
    status: u16,
    detail: &'p str,
    code: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'p str>,
}

impl ProblemDetails {
    /// The problem of a request for which there is no place.
    pub(super) fn busy_connections() -> Self {
        let detail = "the service has its maximum number of connections";
        Self::new(ProblemKind::Busy, detail)
    }

    /// A problem of this kind. `detail` says what is wrong with this request.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemMembers {
            kind,
            detail: detail.into(),
            param: None,
            got: None,
            expected: None,
            suggestion: None,
            must_close: false,
        }))
    }

    /// Sets `param`: the parameter or field that is wrong.
    pub(crate) fn with_param(mut self, name: &str) -> Self {
        self.0.param = Some(truncate_echoed_text(name));
        self
    }

    /// Sets `got`: the text that the client sent.
    pub(crate) fn with_got(mut self, got: &str) -> Self {
        self.0.got = Some(truncate_echoed_text(got));
        self
    }

    /// Sets `expected`: what would be valid.
    pub(crate) fn with_expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// Sets `suggestion`: the nearest valid name.
    pub(crate) fn with_suggestion(mut self, suggestion: Option<&str>) -> Self {
        self.0.suggestion = suggestion.map(str::to_owned);
        self
    }

    /// Closes the connection after the response: the rest of its bytes cannot be trusted.
    pub(super) fn with_connection_close(mut self) -> Self {
        self.0.must_close = true;
        self
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// The members of the JSON object.
    pub(crate) fn to_dto(&self) -> ProblemDto<'_> {
        ProblemDto {
            r#type: format!("urn:resumen:problem:{}", self.0.kind.code()),
            title: self.0.kind.title(),
            status: self.0.kind.status().as_u16(),
            detail: &self.0.detail,
            code: self.0.kind.code(),
            param: self.0.param.as_deref(),
            got: self.0.got.as_deref(),
            expected: self.0.expected.as_deref(),
            suggestion: self.0.suggestion.as_deref(),
        }
    }

    fn to_json(&self) -> Vec<u8> {
        // Serialising strings and a number cannot fail.
        serde_json::to_vec(&self.to_dto()).unwrap_or_default()
    }

    /// The response, with `Cache-Control: no-store`.
    pub(super) fn to_response(&self) -> Response<Bytes> {
        let body = Bytes::from(self.to_json());
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(body);
        *response.status_mut() = self.0.kind.status();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.0.kind == ProblemKind::MethodNotAllowed {
            headers.insert(ALLOW, ALLOWED_METHODS);
        }
        if self.0.kind == ProblemKind::Busy {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.0.kind == ProblemKind::Unauthorized {
            for challenge in CHALLENGES {
                headers.append(WWW_AUTHENTICATE, challenge);
            }
        }
        if self.0.must_close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<WorkQueueFull> for ProblemDetails {
    fn from(WorkQueueFull: WorkQueueFull) -> Self {
        let detail = "requests that take long wait already; `/resumen` without parameters, `/salud` and small answers are not affected";
        Self::new(ProblemKind::Busy, detail)
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> axum::response::Response {
        self.to_response().map(Body::from)
    }
}

/// The result of `work`, or an `internal` problem if it panics. The panic hook has logged the
/// panic.
///
/// Unwind safety: handlers share only atomics, swapped snapshots, and data behind locks whose
/// holders keep it consistent at every step.
pub(super) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, ProblemDetails> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let detail = "a bug in this service, recorded in its log; other requests are not affected";
        ProblemDetails::new(ProblemKind::Internal, detail).with_connection_close()
    })
}

fn truncate_echoed_text(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHOED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_has_contract_members() {
        let problem = ProblemDetails::new(
            ProblemKind::InvalidParameter,
            "`timeout` is not a number of seconds",
        )
        .with_param("timeout")
        .with_got("abc")
        .with_expected("seconds");
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:resumen:problem:invalid_parameter", "title": "A parameter's value is not valid", "status": 400,
            "detail": "`timeout` is not a number of seconds", "code": "invalid_parameter", "param": "timeout",
            "got": "abc", "expected": "seconds",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn echoed_text_is_truncated() {
        let problem =
            ProblemDetails::new(ProblemKind::InvalidParameter, "").with_got(&"ñ".repeat(10_000));
        assert_eq!(problem.0.got.unwrap().chars().count(), MAX_ECHOED_CHARS + 1);
    }
}
