//! What each route does, in the order of the list of routes.

use serde_json::{Value, json};

use crate::server::ProblemKind;

use super::operation::{DocumentContext, OperationSpec, ResponseSpec};
use super::parameters;

const JSON_TYPE: &str = "application/json";

/// The fields of an answer of `/resumen` with a body, and of one without.
const SUMMARY_HEADERS: [&str; 6] = [
    "ETag",
    "Cache-Control",
    "CDN-Cache-Control",
    "Cache-Status",
    "Content-Encoding",
    "Server-Timing",
];
const NOT_MODIFIED_HEADERS: [&str; 4] =
    ["ETag", "Cache-Control", "CDN-Cache-Control", "Cache-Status"];

/// The fields of the page and its files.
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

/// An answer whose body is never kept.
fn no_store_response(
    description: &'static str,
    media: &'static str,
    schema: Value,
) -> ResponseSpec {
    ResponseSpec {
        status: 200,
        description,
        headers: vec!["Cache-Control"],
        content: vec![(media, schema)],
    }
}

fn not_modified_response(headers: &[&'static str]) -> ResponseSpec {
    let description = "`If-None-Match` names the current version; there is no body.";
    ResponseSpec {
        status: 304,
        description,
        headers: headers.to_vec(),
        content: Vec::new(),
    }
}

/// An operation that takes nothing, and is never refused for what it is.
fn simple_operation(
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &str,
    answer: ResponseSpec,
) -> OperationSpec {
    OperationSpec {
        id,
        tag,
        summary,
        description: description.to_owned(),
        path_parameters: Vec::new(),
        parameters: Vec::new(),
        responses: vec![answer],
        problems: Vec::new(),
    }
}

/// `/`
pub(crate) fn describe_panel(_: &DocumentContext<'_>) -> OperationSpec {
    let headers = [&PANEL_HEADERS[..], &["ETag"]].concat();
    let page = ResponseSpec {
        status: 200,
        description: "The page.",
        headers,
        content: vec![("text/html", text_schema())],
    };
    let same = not_modified_response(&[
        "ETag",
        "Cache-Control",
        "Content-Security-Policy",
        "Referrer-Policy",
    ]);
    OperationSpec {
        parameters: vec![parameters::if_none_match(), parameters::accept_encoding()],
        problems: vec![ProblemKind::NotAcceptable],
        responses: vec![page, same],
        ..simple_operation(
            "panel",
            "panel",
            "The panel, a page for people",
            "Made to be left open on a wall.",
            no_store_response("", JSON_TYPE, text_schema()),
        )
    }
}

/// `/panel/history.json`
pub(crate) fn describe_panel_history(_: &DocumentContext<'_>) -> OperationSpec {
    let headers = PANEL_HEADERS.to_vec();
    let content = vec![(JSON_TYPE, schema_ref("History"))];
    let answer = ResponseSpec {
        status: 200,
        description: "Recent numbers, per source and path.",
        headers,
        content,
    };
    OperationSpec {
        parameters: vec![parameters::accept_encoding()],
        problems: vec![ProblemKind::NotAcceptable],
        ..simple_operation(
            "panel-history",
            "panel",
            "What the panel's lines begin with",
            "The recent numbers in the sources' data, kept in memory and bounded. At most a second old.",
            answer,
        )
    }
}

/// `/panel/{version}/{file}`
pub(crate) fn describe_panel_asset(terms: &DocumentContext<'_>) -> OperationSpec {
    let content = vec![
        ("text/css", text_schema()),
        ("text/javascript", text_schema()),
    ];
    let answer = ResponseSpec {
        status: 200,
        description: "The file.",
        headers: PANEL_HEADERS.to_vec(),
        content,
    };
    let version = "The version of the page's files; another one than the current is answered with the current file.";
    OperationSpec {
        path_parameters: vec![
            parameters::path_parameter("version", version, &text_schema()),
            parameters::path_parameter(
                "file",
                "The file's name.",
                &json!({"type": "string", "enum": terms.asset_names}),
            ),
        ],
        parameters: vec![parameters::accept_encoding()],
        problems: vec![ProblemKind::NotFound, ProblemKind::NotAcceptable],
        ..simple_operation(
            "panel-file",
            "panel",
            "A file of the panel",
            "The page names the files that there are.",
            answer,
        )
    }
}

/// `/resumen`
pub(crate) fn describe_summary(terms: &DocumentContext<'_>) -> OperationSpec {
    let content = vec![(JSON_TYPE, schema_ref("Summary"))];
    let found = ResponseSpec {
        status: 200,
        description: "The summary.",
        headers: SUMMARY_HEADERS.to_vec(),
        content,
    };
    let description = "From memory, unless `fresh` or `max_age` asks for a live answer: then its sources are asked in \
        parallel, and it is complete when all have answered or at the deadline, whichever is first; a source that fails \
        or is late is answered from memory, with its age and the reason. At the very start, an answer from memory waits \
        for the first round, at most `timeout`.";
    OperationSpec {
        id: "summary",
        tag: "summary",
        summary: "What the sources say",
        description: description.to_owned(),
        path_parameters: Vec::new(),
        parameters: vec![
            parameters::freshness(),
            parameters::timeout(terms),
            parameters::sources(terms),
            parameters::if_none_match(),
            parameters::accept_encoding(),
        ],
        responses: vec![found, not_modified_response(&NOT_MODIFIED_HEADERS)],
        problems: vec![
            ProblemKind::InvalidParameter,
            ProblemKind::UnknownParameter,
            ProblemKind::UnknownSource,
            ProblemKind::NotAcceptable,
        ],
    }
}

/// `/resumen/stream`
pub(crate) fn describe_stream(_: &DocumentContext<'_>) -> OperationSpec {
    let example = "retry: 2731\n\nevent: resumen\nid: 5d0c3f1a9be24467\ndata: {\"origen\":\"snapshot\",…}\n\n";
    let events = json!({
        "type": "string", "description": "Server-Sent Events. The `data` of an event is a `Summary` in one line.",
        "examples": [example],
    });
    let headers = vec!["Cache-Control", "X-Accel-Buffering"];
    let content = vec![("text/event-stream", events)];
    let answer = ResponseSpec {
        status: 200,
        description: "Events, without an end.",
        headers,
        content,
    };
    OperationSpec {
        parameters: vec![parameters::last_event_id()],
        problems: vec![ProblemKind::UnknownParameter, ProblemKind::StreamFull],
        ..simple_operation(
            "stream",
            "summary",
            "The summary now, and again after every change",
            "One event at once, then one per change (`event: resumen`, `id:` the version, `data:` the summary in one \
             line), a comment every 15 s, and `retry:` with when to come back. A client that is slower than the changes \
             gets the newest version only; one that takes nothing for 10 s is dropped.",
            answer,
        )
    }
}

/// `/salud`
pub(crate) fn describe_liveness(_: &DocumentContext<'_>) -> OperationSpec {
    let about =
        "Whatever the providers do. 503 if the refresher has given no sign of life for 10 s.";
    let answer = no_store_response("It lives.", JSON_TYPE, schema_ref("Ok"));
    OperationSpec {
        problems: vec![ProblemKind::Lifeless],
        ..simple_operation("alive", "health", "Does the service live", about, answer)
    }
}

/// `/salud/listo`
pub(crate) fn describe_readiness(_: &DocumentContext<'_>) -> OperationSpec {
    let about =
        "Once a first round has ended or a snapshot was restored, and until the service stops.";
    let answer = no_store_response("It is ready.", JSON_TYPE, schema_ref("Ok"));
    let problems = vec![ProblemKind::NotReady, ProblemKind::Draining];
    OperationSpec {
        problems,
        ..simple_operation(
            "ready",
            "health",
            "Is there something to serve",
            about,
            answer,
        )
    }
}

/// `/salud/fuentes`
pub(crate) fn describe_source_health(_: &DocumentContext<'_>) -> OperationSpec {
    let about = "Per source and per provider: the verdict, the age, the last error and since when, failures in a row, and \
        the next attempt. Always 200: the verdict is in the body.";
    let answer = no_store_response(
        "How each source is.",
        "application/health+json",
        schema_ref("Health"),
    );
    let problems = vec![ProblemKind::UnknownParameter];
    OperationSpec {
        problems,
        ..simple_operation(
            "sources-health",
            "health",
            "How each source and provider is",
            about,
            answer,
        )
    }
}

/// `/metrics`
pub(crate) fn describe_metrics(_: &DocumentContext<'_>) -> OperationSpec {
    let media = "text/plain; version=0.0.4; charset=utf-8";
    let answer = no_store_response("The metrics.", media, text_schema());
    simple_operation(
        "metrics",
        "reference",
        "For Prometheus",
        "The text format of Prometheus, version 0.0.4.",
        answer,
    )
}

/// `/openapi.json`
pub(crate) fn describe_openapi(_: &DocumentContext<'_>) -> OperationSpec {
    let answer = no_store_response(
        "An OpenAPI 3.1 document.",
        JSON_TYPE,
        json!({"type": "object"}),
    );
    let problems = vec![ProblemKind::UnknownParameter];
    OperationSpec {
        problems,
        ..simple_operation(
            "openapi",
            "reference",
            "This document",
            "Made by the program for itself.",
            answer,
        )
    }
}
