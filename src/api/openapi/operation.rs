//! The description of one route, and its conversion to an `OpenAPI` path item.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::server::{ProblemDetails, ProblemKind};

use super::response_headers::{header_ref, header_refs};

/// The names and limits of the running configuration.
pub(crate) struct DocumentContext<'c> {
    /// Names of the panel's files.
    pub(crate) asset_names: Vec<&'static str>,
    /// Valid values of `sources`, in the order of the configuration.
    pub(crate) source_names: Vec<&'c str>,
    /// Deadline of a request without `timeout`.
    pub(crate) default_timeout: Duration,
    /// Maximum of `timeout`.
    pub(crate) max_timeout: Duration,
}

/// The `GET` operation of one path. `HEAD` and `OPTIONS` are derived from it.
pub(crate) struct OperationSpec {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    pub(super) path_parameters: Vec<Value>,
    /// Query and header parameters.
    pub(super) parameters: Vec<Value>,
    pub(super) responses: Vec<ResponseSpec>,
    /// Problems of this route, in addition to [`COMMON_PROBLEMS`].
    pub(super) problems: Vec<ProblemKind>,
}

/// A response that is not a problem.
pub(super) struct ResponseSpec {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// Headers of this response, in addition to those that every response may have.
    pub(super) headers: Vec<&'static str>,
    /// Media types and the schema of each; empty for a response without a body.
    pub(super) content: Vec<(&'static str, Value)>,
}

/// Problems that any request can cause.
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
    /// The path item with the operations of `GET`, `HEAD` and `OPTIONS`.
    pub(super) fn to_path_item(&self) -> Value {
        json!({"get": self.build_method("get", true), "head": self.build_method("head", false), "options": self.build_options()})
    }

    fn build_method(&self, method: &str, has_body: bool) -> Value {
        let mut responses = Map::new();
        for response in &self.responses {
            responses.insert(
                response.status.to_string(),
                response.to_response_object(has_body),
            );
        }
        add_problem_responses(
            &mut responses,
            self.problems.iter().chain(&COMMON_PROBLEMS),
            has_body,
        );
        // Operation identifiers must be unique within the document.
        let id = if method == "get" {
            self.id.to_owned()
        } else {
            format!("{method}-{}", self.id)
        };
        let mut operation = json!({
            "operationId": id, "tags": [self.tag], "summary": self.summary, "description": self.description,
        });
        if !has_body {
            operation["summary"] = json!(format!("{} (headers only)", self.summary));
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
        let response = ResponseSpec {
            status: 204,
            description: "The supported methods. The CORS headers are present if `server.cors_origins` is not empty.",
            headers,
            content: Vec::new(),
        };
        responses.insert("204".into(), response.to_response_object(false));
        // `OPTIONS` reads no parameter, so the problems of the route do not apply.
        add_problem_responses(&mut responses, COMMON_PROBLEMS.iter(), true);
        let mut operation = json!({
            "operationId": format!("options-{}", self.id), "tags": [self.tag],
            "summary": "The supported methods, and the response to a CORS preflight",
        });
        if !self.path_parameters.is_empty() {
            operation["parameters"] = self.path_parameters.iter().map(relax_parameter).collect();
        }
        operation["responses"] = Value::Object(responses);
        operation
    }
}

/// A path parameter that accepts any text: `OPTIONS` does not check whether the resource exists.
fn relax_parameter(parameter: &Value) -> Value {
    let mut parameter = parameter.clone();
    parameter["schema"] = json!({"type": "string"});
    parameter
}

impl ResponseSpec {
    fn to_response_object(&self, has_body: bool) -> Value {
        let mut response =
            json!({"description": self.description, "headers": header_refs(&self.headers)});
        if has_body && !self.content.is_empty() {
            let content = self
                .content
                .iter()
                .map(|(media_type, schema)| ((*media_type).to_owned(), json!({"schema": schema})));
            response["content"] = Value::Object(content.collect());
        }
        response
    }
}

/// Adds one response per status code of these problems, and hyper's own 431. A response that is the
/// same for every route is a reference to a shared component.
fn add_problem_responses<'k>(
    responses: &mut Map<String, Value>,
    kinds: impl Iterator<Item = &'k ProblemKind> + Clone,
    has_body: bool,
) {
    for (status, kinds) in group_by_status(kinds) {
        let is_shared = kinds.iter().all(|kind| COMMON_PROBLEMS.contains(kind));
        let response = if is_shared {
            shared_response_ref(status, has_body)
        } else {
            build_problem_response(status, &kinds, has_body)
        };
        responses.insert(status.to_string(), response);
    }
    // hyper sends the 431 without a body for every method.
    responses.insert("431".into(), shared_response_ref(431, true));
    responses.sort_keys();
}

fn group_by_status<'k>(
    kinds: impl Iterator<Item = &'k ProblemKind>,
) -> BTreeMap<u16, Vec<ProblemKind>> {
    let mut statuses = BTreeMap::<u16, Vec<ProblemKind>>::new();
    for kind in kinds {
        let status = kind.status().as_u16();
        statuses.entry(status).or_default().push(*kind);
    }
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

/// The problem responses that every route shares, as components.
pub(super) fn build_shared_responses() -> Map<String, Value> {
    let mut components = Map::new();
    for (status, kinds) in group_by_status(COMMON_PROBLEMS.iter()) {
        for has_body in [true, false] {
            components.insert(
                shared_response_name(status, has_body),
                build_problem_response(status, &kinds, has_body),
            );
        }
    }
    let too_large = "The request's head is too large: more than 16 KiB or 64 fields. The response has no body, and the \
        connection closes.";
    components.insert(
        shared_response_name(431, true),
        json!({"description": too_large}),
    );
    components
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
            .push_str("\nThe response to every method except `GET`, `HEAD` and `OPTIONS`.\n");
    }
    let headers: &[&str] = if status == 405 {
        &["Cache-Control", "Allow"]
    } else {
        &["Cache-Control"]
    };
    let mut response = json!({"description": description, "headers": header_refs(headers)});
    if status == 400 {
        // hyper's own response to a head that cannot be parsed has no `Cache-Control`, so here it
        // is optional.
        response["headers"]["Cache-Control"] = header_ref("Refusal-Cache-Control");
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
