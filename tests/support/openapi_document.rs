//! The document that the service gives of itself, and whether an answer is as it says.

use std::collections::{BTreeSet, HashMap};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::raw_client::RawResponse;

const DOCUMENT_URI: &str = "mem:///openapi.json";

/// Fields that belong to the connection and the message, not to the answer.
const HOP_BY_HOP_HEADERS: [&str; 4] = ["date", "connection", "content-length", "transfer-encoding"];

/// An `OpenAPI` document.
pub struct OpenApiDocument {
    /// As it came.
    pub value: Value,
    schemas: Schemas,
    compiler: Compiler,
    compiled: HashMap<String, SchemaIndex>,
}

impl OpenApiDocument {
    /// This document. Objects of its schemas are taken to have no members but those that are described, so that nothing
    /// undescribed goes unseen.
    pub fn new(value: Value) -> Self {
        let mut closed = value.clone();
        closed["components"]["schemas"]
            .as_object_mut()
            .unwrap()
            .values_mut()
            .for_each(forbid_additional_properties);
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(DOCUMENT_URI, closed).unwrap();
        Self {
            value,
            schemas: Schemas::new(),
            compiler,
            compiled: HashMap::new(),
        }
    }

    /// Every path, in order.
    pub fn paths(&self) -> Vec<&str> {
        self.value["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    /// The path's pattern that a target belongs to.
    pub fn matching_path(&self, target: &str) -> Option<String> {
        let path = target.split('?').next().unwrap();
        let exact = self.paths().into_iter().find(|known| *known == path);
        let pattern = |known: &&str| {
            known
                .split_once('{')
                .is_some_and(|(prefix, _)| path.starts_with(prefix))
        };
        exact
            .or_else(|| self.paths().into_iter().find(pattern))
            .map(str::to_owned)
    }

    /// The statuses that are described for `GET`, `HEAD` or `OPTIONS` at a path.
    pub fn statuses(&self, path: &str, method: &str) -> BTreeSet<u16> {
        let responses = self.value["paths"][path][method]["responses"]
            .as_object()
            .unwrap();
        responses
            .keys()
            .map(|status| status.parse().unwrap())
            .collect()
    }

    /// What is wrong about an answer, by the description of `method` at the path of this pattern.
    pub fn check_operation(
        &mut self,
        path: &str,
        method: &str,
        answer: &RawResponse,
    ) -> Result<(), String> {
        let status = answer.status.to_string();
        let mut tokens = ["paths", path, method, "responses", &status]
            .map(str::to_owned)
            .to_vec();
        let reference = self
            .value
            .pointer(&json_pointer(&tokens))
            .and_then(|response| response["$ref"].as_str());
        if let Some(place) = reference {
            tokens = place.split('/').skip(1).map(str::to_owned).collect();
        }
        self.check_response(&tokens, answer)
    }

    /// What is wrong about an answer, by the response that stands at these keys.
    pub fn check_response(
        &mut self,
        tokens: &[String],
        answer: &RawResponse,
    ) -> Result<(), String> {
        let response = self
            .value
            .pointer(&json_pointer(tokens))
            .ok_or(format!("status {} is not described", answer.status))?;
        self.check_response_headers(response, answer)?;
        let Some(content) = response.get("content") else {
            return if answer.body.is_empty() {
                Ok(())
            } else {
                Err("a body is not described".into())
            };
        };
        // A head that cannot be parsed: the one answer that may have a body or not.
        if answer.body.is_empty() && answer.status == 400 {
            return Ok(());
        }
        let media = answer
            .header("content-type")
            .ok_or("no Content-Type")?
            .to_owned();
        let known = |key: &&String| media.split(';').next() == key.split(';').next();
        let key = content
            .as_object()
            .unwrap()
            .keys()
            .find(known)
            .ok_or(format!("{media} is not described"))?
            .clone();
        if answer.header("content-encoding").is_some() {
            return Ok(());
        }
        let body = if media.contains("json") {
            serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?
        } else {
            Value::String(String::from_utf8_lossy(&answer.body).into_owned())
        };
        let tokens = [tokens, &["content".into(), key, "schema".into()]].concat();
        self.validate(&json_pointer(&tokens), &body)
    }

    /// What is wrong about a value, by the schema at this pointer.
    pub fn validate(&mut self, pointer: &str, value: &Value) -> Result<(), String> {
        let compiled = self.compiled.entry(pointer.to_owned()).or_insert_with(|| {
            let place = format!("{DOCUMENT_URI}#{pointer}");
            self.compiler
                .compile(&place, &mut self.schemas)
                .unwrap_or_else(|error| panic!("{place}: {error:#}"))
        });
        self.schemas
            .validate(value, *compiled)
            .map_err(|error| format!("{error:#}\nin {value:#}"))
    }

    fn check_response_headers(&self, response: &Value, answer: &RawResponse) -> Result<(), String> {
        let empty = json!({});
        let described = response
            .get("headers")
            .unwrap_or(&empty)
            .as_object()
            .unwrap();
        for (name, _) in &answer.headers {
            let ours = !HOP_BY_HOP_HEADERS.contains(&&**name) && name != "content-type";
            if ours
                && !described
                    .keys()
                    .any(|known| known.eq_ignore_ascii_case(name))
            {
                return Err(format!("header {name} is not described"));
            }
        }
        for (name, reference) in described {
            let place = reference["$ref"].as_str().unwrap().trim_start_matches('#');
            let header = self
                .value
                .pointer(place)
                .unwrap_or_else(|| panic!("{place} leads nowhere"));
            if header["required"] == true && answer.header(&name.to_ascii_lowercase()).is_none() {
                return Err(format!("header {name} is missing"));
            }
        }
        Ok(())
    }
}

/// No members but those that are described.
fn forbid_additional_properties(schema: &mut Value) {
    if let Value::Object(members) = schema {
        members.values_mut().for_each(forbid_additional_properties);
        if members.contains_key("properties") && !members.contains_key("additionalProperties") {
            members.insert("additionalProperties".into(), json!(false));
        }
    }
}

fn json_pointer(tokens: &[String]) -> String {
    let tokens: Vec<String> = tokens
        .iter()
        .map(|token| token.replace('~', "~0").replace('/', "~1"))
        .collect();
    format!("/{}", tokens.join("/"))
}
