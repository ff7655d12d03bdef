//! The descriptions of the routes, in the order of `routes`.

use serde_json::{Value, json};

use crate::server::ProblemKind;

use super::operation::{DocumentContext, OperationSpec, ResponseSpec};
use super::parameters;

const JSON_TYPE: &str = "application/json";

/// Headers of a 200 of `/resumen`.
const SUMMARY_HEADERS: [&str; 6] = [
    "ETag",
    "Cache-Control",
    "CDN-Cache-Control",
    "Cache-Status",
    "Content-Encoding",
    "Server-Timing",
];

/// Headers of a 304 of `/resumen`.
const NOT_MODIFIED_HEADERS: [&str; 4] =
    ["ETag", "Cache-Control", "CDN-Cache-Control", "Cache-Status"];

/// Headers of the page and its files.
const PANEL_HEADERS: [&str; 4] = [
    "Cache-Control",
    "Content-Encoding",
    "Content-Security-Policy",
    "Referrer-Policy",
];

fn schema_ref(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn text_schema() -> Value {
    json!({"type": "string"})
}

/// A 200 with the given headers and a body of one of the media types in `content`.
fn ok_response(
    description: &'static str,
    headers: &[&'static str],
    content: Vec<(&'static str, Value)>,
) -> ResponseSpec {
    ResponseSpec {
        status: 200,
        description,
        headers: headers.to_vec(),
        content,
    }
}

/// A 200 with `Cache-Control: no-store`.
fn no_store_response(
    description: &'static str,
    media_type: &'static str,
    schema: Value,
) -> ResponseSpec {
    ok_response(description, &["Cache-Control"], vec![(media_type, schema)])
}

fn not_modified_response(headers: &[&'static str]) -> ResponseSpec {
    ResponseSpec {
        status: 304,
        description: "`If-None-Match` contains the current version. No body.",
        headers: headers.to_vec(),
        content: Vec::new(),
    }
}

/// An operation without parameters and problems of its route.
fn simple_operation(
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &str,
    response: ResponseSpec,
) -> OperationSpec {
    OperationSpec {
        id,
        tag,
        summary,
        description: description.to_owned(),
        path_parameters: Vec::new(),
        parameters: Vec::new(),
        responses: vec![response],
        problems: Vec::new(),
    }
}

/// `/`
pub(crate) fn describe_panel(_: &DocumentContext<'_>) -> OperationSpec {
    let page = ok_response(
        "The page.",
        &[&PANEL_HEADERS[..], &["ETag"]].concat(),
        vec![("text/html", text_schema())],
    );
    let not_modified = not_modified_response(&[
        "ETag",
        "Cache-Control",
        "Content-Security-Policy",
        "Referrer-Policy",
    ]);
    let mut operation = simple_operation(
        "panel",
        "panel",
        "The panel, a web page",
        "A page that shows the values of all sources and updates itself.",
        page,
    );
    operation.parameters = vec![parameters::if_none_match(), parameters::accept_encoding()];
    operation.responses.push(not_modified);
    operation.problems = vec![ProblemKind::NotAcceptable];
    operation
}

/// `/panel/history.json`
pub(crate) fn describe_panel_history(_: &DocumentContext<'_>) -> OperationSpec {
    let response = ok_response(
        "Recent numbers by source and path.",
        &PANEL_HEADERS,
        vec![(JSON_TYPE, schema_ref("History"))],
    );
    let mut operation = simple_operation(
        "panel-history",
        "panel",
        "The points that the panel's charts begin with",
        "The recent numbers in the sources' data. Kept in memory, bounded, and at most a second old.",
        response,
    );
    operation.parameters = vec![parameters::accept_encoding()];
    operation.problems = vec![ProblemKind::NotAcceptable];
    operation
}

/// `/panel/{version}/{file}`
pub(crate) fn describe_panel_asset(context: &DocumentContext<'_>) -> OperationSpec {
    let response = ok_response(
        "The file.",
        &PANEL_HEADERS,
        vec![
            ("text/css", text_schema()),
            ("text/javascript", text_schema()),
        ],
    );
    let version =
        "Version of the panel's files; a request for another version gets the current file.";
    let file_names = json!({"type": "string", "enum": context.asset_names});
    let mut operation = simple_operation(
        "panel-file",
        "panel",
        "A file of the panel",
        "A style sheet or script that the page links to.",
        response,
    );
    operation.path_parameters = vec![
        parameters::path_parameter("version", version, &text_schema()),
        parameters::path_parameter("file", "Name of the file.", &file_names),
    ];
    operation.parameters = vec![parameters::accept_encoding()];
    operation.problems = vec![ProblemKind::NotFound, ProblemKind::NotAcceptable];
    operation
}

/// `/resumen`
pub(crate) fn describe_summary(context: &DocumentContext<'_>) -> OperationSpec {
    let summary = ok_response(
        "The summary.",
        &SUMMARY_HEADERS,
        vec![(JSON_TYPE, schema_ref("Summary"))],
    );
    let description = "From memory, unless `fresh` or `max_age` requests a live answer: then the sources are fetched in \
        parallel, and the response is sent when all have finished or at the deadline, whichever is first; a source that \
        fails or is late is answered from memory, with its age and the reason. Just after a start, a response from memory \
        waits for the first attempts at the sources, at most `timeout`.";
    let mut operation = simple_operation(
        "summary",
        "summary",
        "The values of the sources",
        description,
        summary,
    );
    operation.parameters = vec![
        parameters::freshness(),
        parameters::timeout(context),
        parameters::sources(context),
        parameters::if_none_match(),
        parameters::accept_encoding(),
    ];
    operation
        .responses
        .push(not_modified_response(&NOT_MODIFIED_HEADERS));
    operation.problems = vec![
        ProblemKind::InvalidParameter,
        ProblemKind::UnknownParameter,
        ProblemKind::UnknownSource,
        ProblemKind::NotAcceptable,
    ];
    operation
}

/// `/resumen/stream`
pub(crate) fn describe_stream(_: &DocumentContext<'_>) -> OperationSpec {
    let example = "retry: 2731\n\nevent: resumen\nid: 5d0c3f1a9be24467\ndata: {\"origen\":\"snapshot\",…}\n\n";
    let events = json!({
        "type": "string", "description": "Server-Sent Events. The `data` of an event is a `Summary` in one line.",
        "examples": [example],
    });
    let response = ok_response(
        "Events, until the client or the server stops.",
        &["Cache-Control", "X-Accel-Buffering"],
        vec![("text/event-stream", events)],
    );
    let description = "One event at once, then one per change (`event: resumen`, `id:` the version, `data:` the summary in \
        one line), a comment every 15 s, and `retry:` with the delay before a reconnect. A client that reads more slowly \
        than the summary changes receives the newest version only; a client that reads nothing for 10 s is disconnected.";
    let mut operation = simple_operation(
        "stream",
        "summary",
        "The summary now, and again after every change",
        description,
        response,
    );
    operation.parameters = vec![parameters::last_event_id()];
    operation.problems = vec![ProblemKind::UnknownParameter, ProblemKind::StreamFull];
    operation
}

/// `/salud`
pub(crate) fn describe_liveness(_: &DocumentContext<'_>) -> OperationSpec {
    let description = "Independent of the providers. 503 if the refresher's last heartbeat is more than 10 s old.";
    let response = no_store_response("The service is alive.", JSON_TYPE, schema_ref("Ok"));
    let mut operation = simple_operation("alive", "health", "Liveness", description, response);
    operation.problems = vec![ProblemKind::RefresherStuck];
    operation
}

/// `/salud/listo`
pub(crate) fn describe_readiness(_: &DocumentContext<'_>) -> OperationSpec {
    let description = "200 once the first attempts at all sources have finished, or readings were restored at the start; \
        503 before that and while the service stops.";
    let response = no_store_response("The service is ready.", JSON_TYPE, schema_ref("Ok"));
    let mut operation = simple_operation("ready", "health", "Readiness", description, response);
    operation.problems = vec![ProblemKind::NotReady, ProblemKind::Draining];
    operation
}

/// `/salud/fuentes`
pub(crate) fn describe_source_health(_: &DocumentContext<'_>) -> OperationSpec {
    let description = "Per source and per provider: status, age, latest error and when the failures began, consecutive \
        failures, and the next attempt. The status code is always 200; the status is in the body.";
    let response = no_store_response(
        "The health report.",
        "application/health+json",
        schema_ref("Health"),
    );
    let mut operation = simple_operation(
        "sources-health",
        "health",
        "Health of each source and provider",
        description,
        response,
    );
    operation.problems = vec![ProblemKind::UnknownParameter];
    operation
}

/// `/metrics`
pub(crate) fn describe_metrics(_: &DocumentContext<'_>) -> OperationSpec {
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    let mut response = no_store_response("The metrics.", media_type, text_schema());
    response.content.push((
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        text_schema(),
    ));
    let mut operation = simple_operation(
        "metrics",
        "reference",
        "Metrics for Prometheus",
        "The text format of Prometheus, version 0.0.4, or OpenMetrics 1.0 if `Accept` prefers it.",
        response,
    );
    operation.parameters = vec![parameters::accept()];
    operation
}

/// `/openapi.json`
pub(crate) fn describe_openapi(_: &DocumentContext<'_>) -> OperationSpec {
    let schema = json!({"type": "object"});
    let mut operation = simple_operation(
        "openapi",
        "reference",
        "This document",
        "Generated by the running program.",
        no_store_response("An OpenAPI 3.1 document.", JSON_TYPE, schema),
    );
    operation.problems = vec![ProblemKind::UnknownParameter];
    operation
}
