//! What is told of one route, and how it is written down.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::server::{ProblemDetails, ProblemKind};

use super::response_headers;

/// What of the configuration the document tells.
pub(crate) struct DocumentContext<'c> {
    /// The names of the panel's files.
    pub(crate) asset_names: Vec<&'static str>,
    /// The names that `sources` takes, in the configuration's order.
    pub(crate) source_names: Vec<&'c str>,
    /// The deadline of an answer without `timeout`.
    pub(crate) default_timeout: Duration,
    /// The largest `timeout`.
    pub(crate) max_timeout: Duration,
}

/// What `GET` does at one path. `HEAD` and `OPTIONS` follow from that.
pub(crate) struct OperationSpec {
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: String,
    /// The parts of the path.
    pub(crate) path_parameters: Vec<Value>,
    pub(crate) parameters: Vec<Value>,
    pub(crate) responses: Vec<ResponseSpec>,
    /// What may be refused here beside what any request may be refused for.
    pub(crate) problems: Vec<ProblemKind>,
}

/// One answer that is no problem.
pub(crate) struct ResponseSpec {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    /// Beside those that every answer may have.
    pub(crate) headers: Vec<&'static str>,
    /// Media types, each with the schema of the body; none for an empty one.
    pub(crate) content: Vec<(&'static str, Value)>,
}

/// What any request may be refused for, whatever it asks for.
const COMMON_PROBLEMS: [ProblemKind; 7] = [
    ProblemKind::BadFraming,
    ProblemKind::InvalidHost,
    ProblemKind::InvalidTarget,
    ProblemKind::UnexpectedBody,
    ProblemKind::MethodNotAllowed,
    ProblemKind::ExpectationFailed,
    ProblemKind::Internal,
];

impl OperationSpec {
    /// The path's item: every method that it knows.
    pub(crate) fn to_path_item(&self) -> Value {
        json!({"get": self.build_method("get", true), "head": self.build_method("head", false), "options": self.build_options()})
    }

    fn build_method(&self, method: &str, has_body: bool) -> Value {
        let mut responses = Map::new();
        for answer in &self.responses {
            responses.insert(
                answer.status.to_string(),
                answer.to_response_object(has_body),
            );
        }
        add_problem_responses(
            &mut responses,
            self.problems.iter().chain(&COMMON_PROBLEMS),
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
        if !self.path_parameters.is_empty() || !self.parameters.is_empty() {
            operation["parameters"] = self
                .path_parameters
                .iter()
                .chain(&self.parameters)
                .cloned()
                .collect();
        }
        operation["responses"] = Value::Object(responses);
        operation
    }

    fn build_options(&self) -> Value {
        let mut responses = Map::new();
        let headers = vec![
            "Allow",
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
            "Access-Control-Max-Age",
        ];
        let description = "What may be done here. The CORS headers come if `server.cors_origins` allows an origin.";
        let answer = ResponseSpec {
            status: 204,
            description,
            headers,
            content: Vec::new(),
        };
        responses.insert("204".into(), answer.to_response_object(false));
        add_problem_responses(&mut responses, COMMON_PROBLEMS.iter(), true);
        let mut operation = json!({
            "operationId": format!("options-{}", self.id), "tags": [self.tag],
            "summary": "Which methods there are, and the answer to a browser's preflight",
        });
        if !self.path_parameters.is_empty() {
            operation["parameters"] = self.path_parameters.iter().map(relax_parameter).collect();
        }
        operation["responses"] = Value::Object(responses);
        operation
    }
}

/// A part of the path of which it does not matter whether it leads to something.
fn relax_parameter(part: &Value) -> Value {
    let mut part = part.clone();
    part["schema"] = json!({"type": "string"});
    part
}

impl ResponseSpec {
    fn to_response_object(&self, has_body: bool) -> Value {
        let mut response = json!({"description": self.description, "headers": response_headers::header_refs(&self.headers)});
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
fn add_problem_responses<'k>(
    responses: &mut Map<String, Value>,
    kinds: impl Iterator<Item = &'k ProblemKind> + Clone,
    has_body: bool,
) {
    for (status, here) in group_by_status(kinds) {
        let everywhere = here.iter().all(|kind| COMMON_PROBLEMS.contains(kind));
        let response = if everywhere {
            shared_response_ref(status, has_body)
        } else {
            build_problem_response(status, &here, has_body)
        };
        responses.insert(status.to_string(), response);
    }
    responses.insert("431".into(), shared_response_ref(431, true));
    responses.sort_keys();
}

fn group_by_status<'k>(
    kinds: impl Iterator<Item = &'k ProblemKind>,
) -> BTreeMap<u16, Vec<ProblemKind>> {
    let mut statuses = BTreeMap::<u16, Vec<ProblemKind>>::new();
    kinds.for_each(|kind| {
        statuses
            .entry(kind.status().as_u16())
            .or_default()
            .push(*kind)
    });
    statuses
}

fn shared_response_ref(status: u16, has_body: bool) -> Value {
    json!({"$ref": format!("#/components/responses/{}", shared_response_name(status, has_body))})
}

fn shared_response_name(status: u16, has_body: bool) -> String {
    if has_body {
        format!("Refused{status}")
    } else {
        format!("Refused{status}Head")
    }
}

/// The responses that are the same everywhere, as components.
pub(crate) fn build_shared_responses() -> Map<String, Value> {
    let mut all = Map::new();
    for (status, kinds) in group_by_status(COMMON_PROBLEMS.iter()) {
        for has_body in [true, false] {
            all.insert(
                shared_response_name(status, has_body),
                build_problem_response(status, &kinds, has_body),
            );
        }
    }
    let oversize = "The request's head is too large: more than 16 KiB or 64 fields. Without a body, and the \
        connection ends.";
    all.insert(
        shared_response_name(431, true),
        json!({"description": oversize}),
    );
    all
}

fn build_problem_response(status: u16, kinds: &[ProblemKind], has_body: bool) -> Value {
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
    let mut response =
        json!({"description": description, "headers": response_headers::header_refs(fields)});
    if status == 400 {
        // The library's own answer to a head that cannot be parsed has none of our fields.
        response["headers"]["Cache-Control"] =
            response_headers::header_ref("Refusal-Cache-Control");
    }
    if has_body {
        let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
        let schema = json!({
            "$ref": "#/components/schemas/Problem",
            "properties": {"status": {"const": status}, "code": {"enum": codes}},
        });
        let example = |kind: &ProblemKind| {
            (
                kind.code().to_owned(),
                json!({"value": ProblemDetails::new(*kind, "…").to_dto()}),
            )
        };
        let examples: Map<String, Value> = kinds.iter().map(example).collect();
        response["content"] =
            json!({"application/problem+json": {"schema": schema, "examples": examples}});
    }
    response
}
