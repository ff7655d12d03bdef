//! From a request to its answer: the endpoint's JSON, with what the query asks to go wrong.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::faults::{Body, Close, Faults, PARAMETERS, Refusal};
use super::script::Script;
use super::values::{ENDPOINTS, Endpoint};
use crate::clock::Clock;
use crate::domain::Time;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers one request; an error means that the connection is to be closed without an answer.
pub(super) async fn answer<B>(
    request: Request<B>,
    clock: Clock,
    started: Time,
) -> io::Result<Response<Script>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = problem(
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
        return Ok(with(StatusCode::OK, TEXT, Script::whole(list())));
    }
    let Some(endpoint) = ENDPOINTS.iter().find(|e| e.path == path) else {
        let known: Vec<_> = ENDPOINTS.iter().map(|e| e.path).collect();
        let detail = "no such simulated provider";
        return Ok(problem(
            StatusCode::NOT_FOUND,
            "not_found",
            detail,
            json!({"got": path, "known": known}),
        ));
    };
    match Faults::parse(request.uri().query().unwrap_or_default()) {
        Ok(faults) => befallen(endpoint, faults, clock, started).await,
        Err(refusal) => Ok(refused(&refusal)),
    }
}

async fn befallen(
    endpoint: &Endpoint,
    faults: Faults,
    clock: Clock,
    started: Time,
) -> io::Result<Response<Script>> {
    let faults = faults.befall(clock.now().since(started), fastrand::f64());
    let jitter = fastrand::u64(0..=faults.jitter.as_millis() as u64);
    tokio::time::sleep(faults.delay + Duration::from_millis(jitter)).await;
    if faults.close == Some(Close::Head) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut response = with_body(&faults, &(endpoint.answer)(clock.now()));
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

fn with_body(faults: &Faults, good: &Value) -> Response<Script> {
    let status = faults.status.unwrap_or(StatusCode::OK);
    let (kind, mut script) = match faults.body {
        None if status == StatusCode::OK => (JSON, Script::whole(good.to_string())),
        None => {
            let detail = "this status was asked for";
            (
                PROBLEM,
                Script::whole(problem_text(status, "simulated", detail, json!({}))),
            )
        }
        Some(body) => stand_in(body, good),
    };
    if faults.close == Some(Close::Body) {
        script = script.cut();
    }
    if let Some(pause) = faults.drip {
        script = script.dripping(pause);
    }
    with(status, kind, script)
}

fn stand_in(body: Body, good: &Value) -> (HeaderValue, Script) {
    const PAGE: &str =
        "<!DOCTYPE html>\n<title>Log in</title>\n<p>Please log in to use this network.</p>\n";
    match body {
        Body::Html => (HTML, Script::whole(PAGE)),
        Body::Empty => (JSON, Script::whole("")),
        Body::Truncated => (JSON, Script::whole(good.to_string()).cut()),
        Body::Huge => (JSON, Script::repeated(vec![b'1'; 64 * 1024], 16 * 1024)),
        Body::Garbage => (
            JSON,
            Script::whole(&b"\xff\xfe{\"data\": \xc3\x28}\x00"[..]),
        ),
        Body::Deep => (
            JSON,
            Script::whole("[".repeat(30_000) + &"]".repeat(30_000)),
        ),
        Body::Null => (JSON, Script::whole("null")),
        Body::Refusal => {
            let error =
                json!({"success": false, "error": {"code": 101, "type": "missing_access_key"}});
            (JSON, Script::whole(error.to_string()))
        }
    }
}

fn refused(refusal: &Refusal) -> Response<Script> {
    let Refusal {
        param,
        got,
        expected,
    } = refusal;
    if let Some(expected) = expected {
        let detail = format!("`{param}` takes {expected}");
        let more = json!({"param": param, "got": got, "expected": expected});
        return problem(StatusCode::BAD_REQUEST, "invalid_parameter", &detail, more);
    }
    let known: Vec<_> = PARAMETERS.iter().map(|p| p.name).collect();
    let detail = format!(
        "there is no parameter `{param}`; there are {}",
        known.join(", ")
    );
    let more = json!({"param": param, "got": got, "known": known});
    problem(StatusCode::BAD_REQUEST, "unknown_parameter", &detail, more)
}

fn problem(status: StatusCode, code: &str, detail: &str, more: Value) -> Response<Script> {
    with(
        status,
        PROBLEM,
        Script::whole(problem_text(status, code, detail, more)),
    )
}

fn problem_text(status: StatusCode, code: &str, detail: &str, more: Value) -> String {
    let title = status.canonical_reason().unwrap_or("Unknown");
    let mut body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "code": code,
    });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body.to_string()
}

fn with(status: StatusCode, kind: HeaderValue, script: Script) -> Response<Script> {
    let mut response = Response::new(script);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What there is and what it takes, for people.
fn list() -> String {
    let mut text = String::from("Simulated providers: their values move with time.\n\n");
    for endpoint in ENDPOINTS {
        let _ = writeln!(text, "  {:<15} {}", endpoint.path, endpoint.like);
    }
    text.push_str(
        "\nTheir query makes them fail, such as /btc?delay=250ms&status=503&fail=0.2\n\n",
    );
    for parameter in PARAMETERS {
        let _ = writeln!(
            text,
            "  {:<12} {}\n{:15}{}",
            parameter.name, parameter.takes, "", parameter.does
        );
    }
    text
}
