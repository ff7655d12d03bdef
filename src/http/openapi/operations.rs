//! What each route does, in the order of the list of routes.

use serde_json::{Value, json};

use crate::http::problem::Kind;

use super::operation::{Answer, Operation, Terms};
use super::parameters;

const JSON: &str = "application/json";

/// The fields of an answer of `/resumen` with a body, and of one without.
const SUMMARY: [&str; 6] = [
    "ETag",
    "Cache-Control",
    "CDN-Cache-Control",
    "Cache-Status",
    "Content-Encoding",
    "Server-Timing",
];
const UNCHANGED: [&str; 4] = ["ETag", "Cache-Control", "CDN-Cache-Control", "Cache-Status"];

/// The fields of the page and its files.
const PAGE: [&str; 4] = [
    "Cache-Control",
    "Content-Encoding",
    "Content-Security-Policy",
    "Referrer-Policy",
];

fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn text() -> Value {
    json!({"type": "string"})
}

/// An answer whose body is never kept.
fn told(description: &'static str, media: &'static str, schema: Value) -> Answer {
    Answer {
        status: 200,
        description,
        headers: vec!["Cache-Control"],
        content: vec![(media, schema)],
    }
}

fn unchanged(headers: &[&'static str]) -> Answer {
    let description = "`If-None-Match` names the current version; there is no body.";
    Answer {
        status: 304,
        description,
        headers: headers.to_vec(),
        content: Vec::new(),
    }
}

/// An operation that takes nothing, and is never refused for what it is.
fn plain(
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &str,
    answer: Answer,
) -> Operation {
    Operation {
        id,
        tag,
        summary,
        description: description.to_owned(),
        parts: Vec::new(),
        parameters: Vec::new(),
        answers: vec![answer],
        problems: Vec::new(),
    }
}

/// `/`
pub(in crate::http) fn panel(_: &Terms<'_>) -> Operation {
    let headers = [&PAGE[..], &["ETag"]].concat();
    let page = Answer {
        status: 200,
        description: "The page.",
        headers,
        content: vec![("text/html", text())],
    };
    let same = unchanged(&[
        "ETag",
        "Cache-Control",
        "Content-Security-Policy",
        "Referrer-Policy",
    ]);
    Operation {
        parameters: vec![parameters::none_match(), parameters::accept_encoding()],
        problems: vec![Kind::NotAcceptable],
        answers: vec![page, same],
        ..plain(
            "panel",
            "panel",
            "The panel, a page for people",
            "Made to be left open on a wall.",
            told("", JSON, text()),
        )
    }
}

/// `/panel/history.json`
pub(in crate::http) fn panel_history(_: &Terms<'_>) -> Operation {
    let headers = PAGE.to_vec();
    let content = vec![(JSON, schema("History"))];
    let answer = Answer {
        status: 200,
        description: "Recent numbers, per source and path.",
        headers,
        content,
    };
    Operation {
        parameters: vec![parameters::accept_encoding()],
        problems: vec![Kind::NotAcceptable],
        ..plain(
            "panel-history",
            "panel",
            "What the panel's lines begin with",
            "The recent numbers in the sources' data, kept in memory and bounded. At most a second old.",
            answer,
        )
    }
}

/// `/panel/{version}/{file}`
pub(in crate::http) fn panel_file(terms: &Terms<'_>) -> Operation {
    let content = vec![("text/css", text()), ("text/javascript", text())];
    let answer = Answer {
        status: 200,
        description: "The file.",
        headers: PAGE.to_vec(),
        content,
    };
    let version = "The version of the page's files; another one than the current is answered with the current file.";
    Operation {
        parts: vec![
            parameters::part("version", version, &text()),
            parameters::part(
                "file",
                "The file's name.",
                &json!({"type": "string", "enum": terms.files}),
            ),
        ],
        parameters: vec![parameters::accept_encoding()],
        problems: vec![Kind::NotFound, Kind::NotAcceptable],
        ..plain(
            "panel-file",
            "panel",
            "A file of the panel",
            "The page names the files that there are.",
            answer,
        )
    }
}

/// `/resumen`
pub(in crate::http) fn resumen(terms: &Terms<'_>) -> Operation {
    let content = vec![(JSON, schema("Summary"))];
    let found = Answer {
        status: 200,
        description: "The summary.",
        headers: SUMMARY.to_vec(),
        content,
    };
    let description = "From memory, unless `fresh` or `max_age` asks for a live answer: then its sources are asked in \
        parallel, and it is complete when all have answered or at the deadline, whichever is first; a source that fails \
        or is late is answered from memory, with its age and the reason. At the very start, an answer from memory waits \
        for the first round, at most `timeout`.";
    Operation {
        id: "summary",
        tag: "summary",
        summary: "What the sources say",
        description: description.to_owned(),
        parts: Vec::new(),
        parameters: vec![
            parameters::freshness(),
            parameters::timeout(terms),
            parameters::sources(terms),
            parameters::none_match(),
            parameters::accept_encoding(),
        ],
        answers: vec![found, unchanged(&UNCHANGED)],
        problems: vec![
            Kind::InvalidParameter,
            Kind::UnknownParameter,
            Kind::UnknownSource,
            Kind::NotAcceptable,
        ],
    }
}

/// `/resumen/stream`
pub(in crate::http) fn stream(_: &Terms<'_>) -> Operation {
    let example = "retry: 2731\n\nevent: resumen\nid: 5d0c3f1a9be24467\ndata: {\"origen\":\"snapshot\",…}\n\n";
    let events = json!({
        "type": "string", "description": "Server-Sent Events. The `data` of an event is a `Summary` in one line.",
        "examples": [example],
    });
    let headers = vec!["Cache-Control", "X-Accel-Buffering"];
    let content = vec![("text/event-stream", events)];
    let answer = Answer {
        status: 200,
        description: "Events, without an end.",
        headers,
        content,
    };
    Operation {
        parameters: vec![parameters::last_event_id()],
        problems: vec![Kind::UnknownParameter, Kind::StreamFull],
        ..plain(
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
pub(in crate::http) fn alive(_: &Terms<'_>) -> Operation {
    let about =
        "Whatever the providers do. 503 if the refresher has given no sign of life for 10 s.";
    let answer = told("It lives.", JSON, schema("Ok"));
    Operation {
        problems: vec![Kind::Lifeless],
        ..plain("alive", "health", "Does the service live", about, answer)
    }
}

/// `/salud/listo`
pub(in crate::http) fn ready(_: &Terms<'_>) -> Operation {
    let about =
        "Once a first round has ended or a snapshot was restored, and until the service stops.";
    let answer = told("It is ready.", JSON, schema("Ok"));
    let problems = vec![Kind::NotReady, Kind::Draining];
    Operation {
        problems,
        ..plain(
            "ready",
            "health",
            "Is there something to serve",
            about,
            answer,
        )
    }
}

/// `/salud/fuentes`
pub(in crate::http) fn fuentes(_: &Terms<'_>) -> Operation {
    let about = "Per source and per provider: the verdict, the age, the last error and since when, failures in a row, and \
        the next attempt. Always 200: the verdict is in the body.";
    let answer = told(
        "How each source is.",
        "application/health+json",
        schema("Health"),
    );
    let problems = vec![Kind::UnknownParameter];
    Operation {
        problems,
        ..plain(
            "sources-health",
            "health",
            "How each source and provider is",
            about,
            answer,
        )
    }
}

/// `/metrics`
pub(in crate::http) fn metrics(_: &Terms<'_>) -> Operation {
    let media = "text/plain; version=0.0.4; charset=utf-8";
    let answer = told("The metrics.", media, text());
    plain(
        "metrics",
        "reference",
        "For Prometheus",
        "The text format of Prometheus, version 0.0.4.",
        answer,
    )
}

/// `/openapi.json`
pub(in crate::http) fn description(_: &Terms<'_>) -> Operation {
    let answer = told("An OpenAPI 3.1 document.", JSON, json!({"type": "object"}));
    let problems = vec![Kind::UnknownParameter];
    Operation {
        problems,
        ..plain(
            "openapi",
            "reference",
            "This document",
            "Made by the program for itself.",
            answer,
        )
    }
}
