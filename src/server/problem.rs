//! Refusals and failures as RFC 9457 problems.

use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// What every route allows.
pub(crate) const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The most characters of a client's text that an answer repeats.
const MAX_ECHOED_CHARS: usize = 80;

const CONTENT_TYPE_OPTIONS: HeaderName = http::header::X_CONTENT_TYPE_OPTIONS;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident $code:literal $title:literal,)*) => {
        /// What kinds of problems there are. Clients rely on the codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ProblemKind { $($(#[$doc])* $kind,)* }

        impl ProblemKind {
            /// Every kind there is.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            pub(crate) fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    /// A parameter's value is not what it must be.
    InvalidParameter = BAD_REQUEST "invalid_parameter" "A parameter's value is not valid",
    /// There is no such parameter.
    UnknownParameter = BAD_REQUEST "unknown_parameter" "There is no such parameter",
    /// There is no such source.
    UnknownSource = BAD_REQUEST "unknown_source" "There is no such source",
    /// Two readers could see different requests in these bytes.
    BadFraming = BAD_REQUEST "bad_framing" "The request's framing is ambiguous",
    /// `Host` is missing, repeated, empty or no host.
    InvalidHost = BAD_REQUEST "invalid_host" "The Host field is not valid",
    /// The request line names nothing that could be asked for.
    InvalidTarget = BAD_REQUEST "invalid_target" "The request's target is not valid",
    /// A body where none has a meaning.
    UnexpectedBody = BAD_REQUEST "unexpected_body" "This request must not have a body",
    /// No route has this path.
    NotFound = NOT_FOUND "not_found" "There is nothing at this path",
    /// The route knows other methods only.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "This method is not allowed here",
    /// The client takes no form that there is.
    NotAcceptable = NOT_ACCEPTABLE "not_acceptable" "No acceptable encoding",
    /// `Expect` asks for something else than `100-continue`.
    ExpectationFailed = EXPECTATION_FAILED "expectation_failed" "The expectation cannot be met",
    /// A handler panicked.
    Internal = INTERNAL_SERVER_ERROR "internal" "A bug in this service",
    /// Nothing to serve yet.
    NotReady = SERVICE_UNAVAILABLE "not_ready" "Not ready yet",
    /// On its way out.
    Draining = SERVICE_UNAVAILABLE "draining" "The service is stopping",
    /// As many clients of the stream as there may be.
    StreamFull = SERVICE_UNAVAILABLE "stream_full" "The stream has as many clients as it may have",
    /// The refresher gives no sign of life.
    Lifeless = SERVICE_UNAVAILABLE "refresher_stuck" "The refresher gives no sign of life",
}

/// One problem.
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
    /// Whether the connection cannot be trusted any further.
    must_close: bool,
}

/// The members on the wire, in this order.
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
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(ProblemMembers {
            kind,
            detail,
            param: None,
            got: None,
            expected: None,
            suggestion: None,
            must_close: false,
        }))
    }

    /// About this parameter.
    pub(crate) fn with_param(mut self, name: &str) -> Self {
        self.0.param = Some(truncate_echoed_text(name));
        self
    }

    /// What the client sent.
    pub(crate) fn with_got(mut self, got: &str) -> Self {
        self.0.got = Some(truncate_echoed_text(got));
        self
    }

    /// What would have been right.
    pub(crate) fn with_expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// What was probably meant.
    pub(crate) fn with_suggestion(mut self, suggestion: Option<&str>) -> Self {
        self.0.suggestion = suggestion.map(str::to_owned);
        self
    }

    /// The connection ends with this answer.
    pub(crate) fn with_connection_close(mut self) -> Self {
        self.0.must_close = true;
        self
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// The members as they are sent.
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
        // Texts and a number always make JSON.
        serde_json::to_vec(&self.to_dto()).unwrap_or_default()
    }

    pub(crate) fn to_response(&self) -> Response<Bytes> {
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
        if self.0.must_close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> axum::response::Response {
        self.to_response().map(Full::new).into_response()
    }
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
            "`timeout` is no number of seconds",
        )
        .with_param("timeout")
        .with_got("abc")
        .with_expected("seconds");
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:resumen:problem:invalid_parameter", "title": "A parameter's value is not valid", "status": 400,
            "detail": "`timeout` is no number of seconds", "code": "invalid_parameter", "param": "timeout",
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
