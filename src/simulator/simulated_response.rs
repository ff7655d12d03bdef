//! Builds the response to a request: the endpoint's JSON with the requested faults.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::fault_script::ScriptedBody;
use super::faults::{BodyFault, ClosePoint, FAULT_PARAMETERS, FaultQueryError, FaultSettings};
use super::moving_values::{ENDPOINTS, SimulatedEndpoint};
use crate::domain::Time;
use crate::process::Clock;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Builds the response to one request. An error closes the connection without a response.
pub(crate) async fn respond<B>(
    request: Request<B>,
    clock: Clock,
    started: Time,
) -> io::Result<Response<ScriptedBody>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let (status, detail) = (
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are allowed",
        );
        let mut response = problem_response(status, "method_not_allowed", detail, json!({}));
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let path = request.uri().path();
    if path == "/" {
        let list = ScriptedBody::from_bytes(list_endpoints());
        return Ok(build_response(StatusCode::OK, TEXT, list));
    }
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) else {
        let known: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        let more = json!({"got": path, "known": known});
        let detail = "no such simulated provider";
        return Ok(problem_response(
            StatusCode::NOT_FOUND,
            "not_found",
            detail,
            more,
        ));
    };
    match FaultSettings::parse_query(request.uri().query().unwrap_or_default()) {
        Ok(faults) => respond_with_faults(endpoint, faults, clock, started).await,
        Err(error) => Ok(query_error_response(&error)),
    }
}

async fn respond_with_faults(
    endpoint: &SimulatedEndpoint,
    faults: FaultSettings,
    clock: Clock,
    started: Time,
) -> io::Result<Response<ScriptedBody>> {
    let faults = faults.apply_triggers(clock.now().since(started), fastrand::f64());
    // The pauses come first: a closed connection or an error status is delayed like any response.
    let jitter = fastrand::u64(0..=faults.jitter.as_millis() as u64);
    tokio::time::sleep(faults.delay + Duration::from_millis(jitter)).await;
    if faults.close_point == Some(ClosePoint::Head) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let json = (endpoint.build_json)(clock.now()).to_string();
    let status = faults.status.unwrap_or(StatusCode::OK);
    let (content_type, mut body) = match faults.body_fault {
        Some(fault) => fault_body(fault, json),
        None if status == StatusCode::OK => (JSON, ScriptedBody::from_bytes(json)),
        None => {
            let detail = "this status was requested";
            let problem = problem_json(status, "simulated", detail, json!({}));
            (PROBLEM_JSON, ScriptedBody::from_bytes(problem))
        }
    };
    if faults.close_point == Some(ClosePoint::Body) {
        body = body.with_truncation();
    }
    if let Some(interval) = faults.byte_interval {
        body = body.with_byte_interval(interval);
    }
    let mut response = build_response(status, content_type, body);
    if let Some(value) = faults.retry_after {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    if let Some(value) = faults.location {
        response.headers_mut().insert(LOCATION, value);
    }
    Ok(response)
}

fn fault_body(fault: BodyFault, json: String) -> (HeaderValue, ScriptedBody) {
    const LOGIN_PAGE: &str =
        "<!DOCTYPE html>\n<title>Log in</title>\n<p>Please log in to use this network.</p>\n";
    let body = match fault {
        BodyFault::Html => return (HTML, ScriptedBody::from_bytes(LOGIN_PAGE)),
        BodyFault::Empty => ScriptedBody::from_bytes(""),
        BodyFault::Truncated => ScriptedBody::from_bytes(json).with_truncation(),
        // One gigabyte from a shared buffer of 64 KiB.
        BodyFault::Huge => ScriptedBody::from_repeated(vec![b'1'; 64 * 1024], 16 * 1024),
        BodyFault::Garbage => ScriptedBody::from_bytes(&b"\xff\xfe{\"data\": \xc3\x28}\x00"[..]),
        BodyFault::Deep => ScriptedBody::from_bytes("[".repeat(30_000) + &"]".repeat(30_000)),
        BodyFault::Null => ScriptedBody::from_bytes("null"),
        BodyFault::ErrorObject => {
            let error = json!({"code": 101, "type": "missing_access_key"});
            ScriptedBody::from_bytes(json!({"success": false, "error": error}).to_string())
        }
    };
    (JSON, body)
}

fn query_error_response(error: &FaultQueryError) -> Response<ScriptedBody> {
    let FaultQueryError {
        param,
        got,
        expected,
    } = error;
    let (code, detail, more) = if let Some(expected) = expected {
        let detail = format!("`{param}` takes {expected}");
        let more = json!({"param": param, "got": got, "expected": expected});
        ("invalid_parameter", detail, more)
    } else {
        let known: Vec<_> = FAULT_PARAMETERS.iter().map(|known| known.name).collect();
        let names = known.join(", ");
        let detail = format!("there is no parameter `{param}`; there are {names}");
        let more = json!({"param": param, "got": got, "known": known});
        ("unknown_parameter", detail, more)
    };
    problem_response(StatusCode::BAD_REQUEST, code, &detail, more)
}

fn problem_response(
    status: StatusCode,
    code: &str,
    detail: &str,
    more: Value,
) -> Response<ScriptedBody> {
    let problem = problem_json(status, code, detail, more);
    build_response(status, PROBLEM_JSON, ScriptedBody::from_bytes(problem))
}

fn problem_json(status: StatusCode, code: &str, detail: &str, more: Value) -> String {
    let title = status.canonical_reason().unwrap_or("Unknown");
    let mut body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "code": code,
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body.to_string()
}

fn build_response(
    status: StatusCode,
    content_type: HeaderValue,
    body: ScriptedBody,
) -> Response<ScriptedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Returns the text of `GET /`: every endpoint and every fault parameter.
fn list_endpoints() -> String {
    let mut text = String::from("Simulated providers. Their values change over time.\n\n");
    for SimulatedEndpoint {
        path, description, ..
    } in ENDPOINTS
    {
        let _ = writeln!(text, "  {path:<15} {description}");
    }
    text.push_str(
        "\nQuery parameters inject faults, such as /btc?delay=250ms&status=503&fail=0.2\n\n",
    );
    for parameter in FAULT_PARAMETERS {
        let _ = writeln!(
            text,
            "  {:<12} {}",
            parameter.name, parameter.accepted_values
        );
        let _ = writeln!(text, "{:15}{}", "", parameter.description);
    }
    text
}
