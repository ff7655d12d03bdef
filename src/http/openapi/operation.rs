//! What is told of one route, and how it is written down.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::http::problem::{Kind, Problem};

use super::headers;

/// What of the configuration the document tells.
pub(in crate::http) struct Terms<'c> {
    /// The names of the panel's files.
    pub(in crate::http) files: Vec<&'static str>,
    /// The names that `sources` takes, in the configuration's order.
    pub(in crate::http) sources: Vec<&'c str>,
    /// The deadline of an answer without `timeout`.
    pub(in crate::http) default_timeout: Duration,
    /// The largest `timeout`.
    pub(in crate::http) max_timeout: Duration,
}

/// What `GET` does at one path. `HEAD` and `OPTIONS` follow from that.
pub(in crate::http) struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    /// The parts of the path.
    pub(super) parts: Vec<Value>,
    pub(super) parameters: Vec<Value>,
    pub(super) answers: Vec<Answer>,
    /// What may be refused here beside what any request may be refused for.
    pub(super) problems: Vec<Kind>,
}

/// One answer that is no problem.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// Beside those that every answer may have.
    pub(super) headers: Vec<&'static str>,
    /// Media types, each with the schema of the body; none for an empty one.
    pub(super) content: Vec<(&'static str, Value)>,
}

/// What any request may be refused for, whatever it asks for.
const ANYWHERE: [Kind; 7] = [
    Kind::BadFraming,
    Kind::InvalidHost,
    Kind::InvalidTarget,
    Kind::UnexpectedBody,
    Kind::MethodNotAllowed,
    Kind::ExpectationFailed,
    Kind::Internal,
];

impl Operation {
    /// The path's item: every method that it knows.
    pub(super) fn item(&self) -> Value {
        json!({"get": self.method("get", true), "head": self.method("head", false), "options": self.options()})
    }

    fn method(&self, method: &str, has_body: bool) -> Value {
        let mut responses = Map::new();
        for answer in &self.answers {
            responses.insert(answer.status.to_string(), answer.response(has_body));
        }
        refusals(
            &mut responses,
            self.problems.iter().chain(&ANYWHERE),
            has_body,
        );
        let id = if method == "get" {
            self.id.to_owned()
        } else {
            format!("{method}-{}", self.id)
        };
        let mut operation = json!({
            "operationId": id, "tags": [self.tag], "summary": self.summary, "description": self.description,
        });
        if !has_body {
            operation["summary"] = json!(format!("{} (the head of the answer only)", self.summary));
        }
        if !self.parts.is_empty() || !self.parameters.is_empty() {
            operation["parameters"] = self.parts.iter().chain(&self.parameters).cloned().collect();
        }
        operation["responses"] = Value::Object(responses);
        operation
    }

    fn options(&self) -> Value {
        let mut responses = Map::new();
        let headers = vec![
            "Allow",
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
            "Access-Control-Max-Age",
        ];
        let description = "What may be done here. The CORS headers come if `server.cors_origins` allows an origin.";
        let answer = Answer {
            status: 204,
            description,
            headers,
            content: Vec::new(),
        };
        responses.insert("204".into(), answer.response(false));
        refusals(&mut responses, ANYWHERE.iter(), true);
        let mut operation = json!({
            "operationId": format!("options-{}", self.id), "tags": [self.tag],
            "summary": "Which methods there are, and the answer to a browser's preflight",
        });
        if !self.parts.is_empty() {
            operation["parameters"] = self.parts.iter().map(anything).collect();
        }
        operation["responses"] = Value::Object(responses);
        operation
    }
}

/// A part of the path of which it does not matter whether it leads to something.
fn anything(part: &Value) -> Value {
    let mut part = part.clone();
    part["schema"] = json!({"type": "string"});
    part
}

impl Answer {
    fn response(&self, has_body: bool) -> Value {
        let mut response =
            json!({"description": self.description, "headers": headers::of(&self.headers)});
        if has_body && !self.content.is_empty() {
            let media = self
                .content
                .iter()
                .map(|(media, schema)| ((*media).to_owned(), json!({"schema": schema})));
            response["content"] = Value::Object(media.collect());
        }
        response
    }
}

/// Adds one response per status of these problems, and what the HTTP library refuses by itself. Those that are the same
/// everywhere are told once.
fn refusals<'k>(
    responses: &mut Map<String, Value>,
    kinds: impl Iterator<Item = &'k Kind> + Clone,
    has_body: bool,
) {
    for (status, here) in by_status(kinds) {
        let everywhere = here.iter().all(|kind| ANYWHERE.contains(kind));
        let response = if everywhere {
            shared(status, has_body)
        } else {
            refusal(status, &here, has_body)
        };
        responses.insert(status.to_string(), response);
    }
    responses.insert("431".into(), shared(431, true));
    responses.sort_keys();
}

fn by_status<'k>(kinds: impl Iterator<Item = &'k Kind>) -> BTreeMap<u16, Vec<Kind>> {
    let mut statuses = BTreeMap::<u16, Vec<Kind>>::new();
    kinds.for_each(|kind| {
        statuses
            .entry(kind.status().as_u16())
            .or_default()
            .push(*kind)
    });
    statuses
}

fn shared(status: u16, has_body: bool) -> Value {
    json!({"$ref": format!("#/components/responses/{}", shared_name(status, has_body))})
}

fn shared_name(status: u16, has_body: bool) -> String {
    if has_body {
        format!("Refused{status}")
    } else {
        format!("Refused{status}Head")
    }
}

/// The responses that are the same everywhere, as components.
pub(super) fn shared_refusals() -> Map<String, Value> {
    let mut all = Map::new();
    for (status, kinds) in by_status(ANYWHERE.iter()) {
        for has_body in [true, false] {
            all.insert(
                shared_name(status, has_body),
                refusal(status, &kinds, has_body),
            );
        }
    }
    let oversize = "The request's head is too large: more than 16 KiB or 64 fields. Without a body, and the \
        connection ends.";
    all.insert(shared_name(431, true), json!({"description": oversize}));
    all
}

fn refusal(status: u16, kinds: &[Kind], has_body: bool) -> Value {
    let lines: Vec<String> = kinds
        .iter()
        .map(|kind| format!("- `{}`: {}\n", kind.code(), kind.title()))
        .collect();
    let mut description = lines.concat();
    if status == 400 {
        description.push_str("\nA head that cannot be parsed at all gets an empty body.\n");
    }
    if status == 405 {
        description
            .push_str("\nOnly other methods than `GET`, `HEAD` and `OPTIONS` are answered so.\n");
    }
    let fields: &[&str] = if status == 405 {
        &["Cache-Control", "Allow"]
    } else {
        &["Cache-Control"]
    };
    let mut response = json!({"description": description, "headers": headers::of(fields)});
    if status == 400 {
        // The library's own answer to a head that cannot be parsed has none of our fields.
        response["headers"]["Cache-Control"] = headers::refer("Refusal-Cache-Control");
    }
    if has_body {
        let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
        let schema = json!({
            "$ref": "#/components/schemas/Problem",
            "properties": {"status": {"const": status}, "code": {"enum": codes}},
        });
        let example = |kind: &Kind| {
            (
                kind.code().to_owned(),
                json!({"value": Problem::new(*kind, "…").wire()}),
            )
        };
        let examples: Map<String, Value> = kinds.iter().map(example).collect();
        response["content"] =
            json!({"application/problem+json": {"schema": schema, "examples": examples}});
    }
    response
}
