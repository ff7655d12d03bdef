//! The `OpenAPI` document of the service, and a check of responses against it.

use std::collections::{BTreeSet, HashMap};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::raw_client::RawResponse;

const DOCUMENT_URI: &str = "mem:///openapi.json";

/// Headers of the connection, which the document does not describe.
const HOP_BY_HOP_HEADERS: [&str; 4] = ["date", "connection", "content-length", "transfer-encoding"];

/// An `OpenAPI` document.
pub struct OpenApiDocument {
    pub value: Value,
    schemas: Schemas,
    compiler: Compiler,
    compiled: HashMap<String, SchemaIndex>,
}

impl OpenApiDocument {
    /// Compiles the schemas of a document. Members that a schema does not describe are errors.
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

    /// All paths, in order.
    pub fn paths(&self) -> Vec<&str> {
        self.value["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    /// The pattern of a path that matches the target.
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

    /// The statuses that the document describes for a method in lower case at a path.
    pub fn statuses(&self, path: &str, method: &str) -> BTreeSet<u16> {
        let responses = self.value["paths"][path][method]["responses"]
            .as_object()
            .unwrap();
        responses
            .keys()
            .map(|status| status.parse().unwrap())
            .collect()
    }

    /// Checks a response against the description of `method` at `path`.
    pub fn check_operation(
        &mut self,
        path: &str,
        method: &str,
        response: &RawResponse,
    ) -> Result<(), String> {
        let status = response.status.to_string();
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
        self.check_response(&tokens, response)
    }

    /// Checks a response against the description at these keys.
    pub fn check_response(
        &mut self,
        tokens: &[String],
        response: &RawResponse,
    ) -> Result<(), String> {
        let described = self
            .value
            .pointer(&json_pointer(tokens))
            .ok_or(format!("status {} is not described", response.status))?;
        self.check_response_headers(described, response)?;
        let Some(content) = described.get("content") else {
            return if response.body.is_empty() {
                Ok(())
            } else {
                Err("a body is not described".into())
            };
        };
        // Only the response to a malformed head may have a body or not.
        if response.body.is_empty() && response.status == 400 {
            return Ok(());
        }
        let media = response
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
        if response.header("content-encoding").is_some() {
            return Ok(());
        }
        let body = if media.contains("json") {
            serde_json::from_slice(&response.body).map_err(|error| error.to_string())?
        } else {
            Value::String(String::from_utf8_lossy(&response.body).into_owned())
        };
        let tokens = [tokens, &["content".into(), key, "schema".into()]].concat();
        self.validate(&json_pointer(&tokens), &body)
    }

    /// Checks a value against the schema at this pointer.
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

    fn check_response_headers(
        &self,
        description: &Value,
        response: &RawResponse,
    ) -> Result<(), String> {
        let empty = json!({});
        let described = description
            .get("headers")
            .unwrap_or(&empty)
            .as_object()
            .unwrap();
        for (name, _) in &response.headers {
            let is_own = !HOP_BY_HOP_HEADERS.contains(&&**name) && name != "content-type";
            if is_own
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
            let has = |(sent, _): &(String, String)| sent.eq_ignore_ascii_case(name);
            if header["required"] == true && !response.headers.iter().any(has) {
                return Err(format!("header {name} is missing"));
            }
        }
        Ok(())
    }
}

/// Rejects members that a schema does not describe.
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
