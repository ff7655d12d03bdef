//! From a request to its answer: the endpoint's JSON, with what the query asks to go wrong.

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

/// Answers one request; an error means that the connection is to be closed without an answer.
pub(crate) async fn answer_request<B>(
    request: Request<B>,
    clock: Clock,
    started: Time,
) -> io::Result<Response<ScriptedBody>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = problem_response(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET and HEAD",
            json!({}),
        );
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    let path = request.uri().path();
    if path == "/" {
        return Ok(build_response(
            StatusCode::OK,
            TEXT,
            ScriptedBody::from_bytes(list_endpoints()),
        ));
    }
    let Some(endpoint) = ENDPOINTS.iter().find(|e| e.path == path) else {
        let known: Vec<_> = ENDPOINTS.iter().map(|e| e.path).collect();
        let detail = "no such simulated provider";
        return Ok(problem_response(
            StatusCode::NOT_FOUND,
            "not_found",
            detail,
            json!({"got": path, "known": known}),
        ));
    };
    match FaultSettings::parse_query(request.uri().query().unwrap_or_default()) {
        Ok(faults) => respond_with_faults(endpoint, faults, clock, started).await,
        Err(refusal) => Ok(query_error_response(&refusal)),
    }
}

async fn respond_with_faults(
    endpoint: &SimulatedEndpoint,
    faults: FaultSettings,
    clock: Clock,
    started: Time,
) -> io::Result<Response<ScriptedBody>> {
    let faults = faults.apply_triggers(clock.now().since(started), fastrand::f64());
    let jitter = fastrand::u64(0..=faults.jitter.as_millis() as u64);
    tokio::time::sleep(faults.delay + Duration::from_millis(jitter)).await;
    if faults.close_point == Some(ClosePoint::Head) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut response = build_fault_response(&faults, &(endpoint.build_answer)(clock.now()));
    for (name, value) in [
        (RETRY_AFTER, faults.retry_after),
        (LOCATION, faults.location),
    ] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn build_fault_response(faults: &FaultSettings, good: &Value) -> Response<ScriptedBody> {
    let status = faults.status.unwrap_or(StatusCode::OK);
    let (kind, mut script) = match faults.body_fault {
        None if status == StatusCode::OK => (JSON, ScriptedBody::from_bytes(good.to_string())),
        None => {
            let detail = "this status was asked for";
            (
                PROBLEM_JSON,
                ScriptedBody::from_bytes(problem_json(status, "simulated", detail, json!({}))),
            )
        }
        Some(body) => fault_body(body, good),
    };
    if faults.close_point == Some(ClosePoint::Body) {
        script = script.with_truncation();
    }
    if let Some(pause) = faults.byte_interval {
        script = script.with_byte_interval(pause);
    }
    build_response(status, kind, script)
}

fn fault_body(body: BodyFault, good: &Value) -> (HeaderValue, ScriptedBody) {
    const LOGIN_PAGE: &str =
        "<!DOCTYPE html>\n<title>Log in</title>\n<p>Please log in to use this network.</p>\n";
    match body {
        BodyFault::Html => (HTML, ScriptedBody::from_bytes(LOGIN_PAGE)),
        BodyFault::Empty => (JSON, ScriptedBody::from_bytes("")),
        BodyFault::Truncated => (
            JSON,
            ScriptedBody::from_bytes(good.to_string()).with_truncation(),
        ),
        BodyFault::Huge => (
            JSON,
            ScriptedBody::from_repeated(vec![b'1'; 64 * 1024], 16 * 1024),
        ),
        BodyFault::Garbage => (
            JSON,
            ScriptedBody::from_bytes(&b"\xff\xfe{\"data\": \xc3\x28}\x00"[..]),
        ),
        BodyFault::Deep => (
            JSON,
            ScriptedBody::from_bytes("[".repeat(30_000) + &"]".repeat(30_000)),
        ),
        BodyFault::Null => (JSON, ScriptedBody::from_bytes("null")),
        BodyFault::ErrorObject => {
            let error =
                json!({"success": false, "error": {"code": 101, "type": "missing_access_key"}});
            (JSON, ScriptedBody::from_bytes(error.to_string()))
        }
    }
}

fn query_error_response(refusal: &FaultQueryError) -> Response<ScriptedBody> {
    let FaultQueryError {
        param,
        got,
        expected,
    } = refusal;
    if let Some(expected) = expected {
        let detail = format!("`{param}` takes {expected}");
        let more = json!({"param": param, "got": got, "expected": expected});
        return problem_response(StatusCode::BAD_REQUEST, "invalid_parameter", &detail, more);
    }
    let known: Vec<_> = FAULT_PARAMETERS.iter().map(|p| p.name).collect();
    let detail = format!(
        "there is no parameter `{param}`; there are {}",
        known.join(", ")
    );
    let more = json!({"param": param, "got": got, "known": known});
    problem_response(StatusCode::BAD_REQUEST, "unknown_parameter", &detail, more)
}

fn problem_response(
    status: StatusCode,
    code: &str,
    detail: &str,
    more: Value,
) -> Response<ScriptedBody> {
    build_response(
        status,
        PROBLEM_JSON,
        ScriptedBody::from_bytes(problem_json(status, code, detail, more)),
    )
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
    kind: HeaderValue,
    script: ScriptedBody,
) -> Response<ScriptedBody> {
    let mut response = Response::new(script);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What there is and what it takes, for people.
fn list_endpoints() -> String {
    let mut text = String::from("Simulated providers: their values move with time.\n\n");
    for endpoint in ENDPOINTS {
        let _ = writeln!(text, "  {:<15} {}", endpoint.path, endpoint.description);
    }
    text.push_str(
        "\nTheir query makes them fail, such as /btc?delay=250ms&status=503&fail=0.2\n\n",
    );
    for parameter in FAULT_PARAMETERS {
        let _ = writeln!(
            text,
            "  {:<12} {}\n{:15}{}",
            parameter.name, parameter.accepted_values, "", parameter.description
        );
    }
    text
}
