//! `/openapi.json`: the `OpenAPI` 3.1 document of every endpoint.
//!
//! The document is the file `openapi.json`, without what depends on the running program: its
//! version, the names of sources and files, and the timeouts. Tests compare it with the routes, the
//! lists of codes, and the responses of a running service.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::domain::SourceSet;
use crate::server::{ProblemDetails, no_store_response};

use super::query::require_no_parameters;
use super::seconds_pattern::seconds_up_to;
use super::state::AppState;

/// The document as it is checked in.
const DOCUMENT: &str = include_str!("openapi.json");

/// The document with the names and limits of the running program. It is made once for each set of
/// sources.
pub(super) async fn get_openapi_document(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ProblemDetails> {
    require_no_parameters(query.as_deref().unwrap_or_default())?;
    let source_set = Arc::clone(state.server.cache.snapshot().source_set());
    let build = || build_document(&state, &source_set).to_string();
    let document = state.openapi_document.get_or_build(&source_set, build);
    Ok(no_store_response("application/json", document))
}

fn build_document(state: &AppState, source_set: &SourceSet) -> Value {
    let sources = source_set.sources().iter();
    let source_names: Vec<&str> = sources.map(|source| source.name.as_str()).collect();
    let file_names: Vec<&str> = state.panel_assets.asset_names().collect();
    let settings = &state.server.settings;

    let mut document = load_document();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    if state.server.access.requires_token() {
        document["security"] = json!([{"bearer": []}, {"basic": []}]);
    }
    let parameters = &mut document["components"]["parameters"];
    parameters["sources"]["schema"]["items"]["enum"] = json!(source_names);
    parameters["file"]["schema"]["enum"] = json!(file_names);
    let timeout = &mut parameters["timeout"]["schema"];
    timeout["pattern"] = json!(seconds_up_to(settings.max_timeout));
    timeout["default"] = json!(settings.default_timeout.as_secs_f64().to_string());
    document
}

fn load_document() -> Value {
    serde_json::from_str(DOCUMENT).expect("the unit tests parse the same document")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::ProblemKind;

    #[test]
    fn filled_parameters_exist() {
        let parameters = &load_document()["components"]["parameters"];
        for name in ["sources", "file", "timeout"] {
            assert_eq!(parameters[name]["name"], name);
        }
        assert_eq!(parameters["sources"]["schema"]["items"]["type"], "string");
    }

    #[test]
    fn document_lists_problem_kinds() {
        let document = load_document();
        let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let mut kinds: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.code()).collect();
        // One code can have two statuses: in a query, and in a path.
        kinds.dedup();
        assert_eq!(listed, &json!(kinds));
        let mut seen = BTreeSet::new();
        check_problem_examples(&document, &mut seen);
        assert_eq!(seen, BTreeSet::from_iter(kinds));
    }

    /// Checks that the examples of every problem response below `value` are the problems of its
    /// codes, and collects these codes.
    fn check_problem_examples<'d>(value: &'d Value, seen: &mut BTreeSet<&'d str>) {
        let content = &value["content"]["application/problem+json"];
        if let Some(examples) = content["examples"].as_object() {
            let expected = &content["schema"]["properties"];
            let codes: Vec<&str> = examples.keys().map(String::as_str).collect();
            assert_eq!(expected["code"]["enum"], json!(codes));
            for (code, example) in examples {
                let status = &expected["status"]["const"];
                let kind = ProblemKind::ALL
                    .iter()
                    .find(|kind| kind.code() == code && *status == kind.status().as_u16());
                let kind = *kind.unwrap_or_else(|| panic!("{code} is not a problem"));
                let problem = ProblemDetails::new(kind, "…");
                assert_eq!(example["value"], json!(problem.to_dto()));
                let line = format!("- `{code}`: {}\n", kind.title());
                let description = value["description"].as_str().unwrap();
                assert!(description.contains(&line), "{description}");
                seen.insert(code);
            }
        }
        match value {
            Value::Object(members) => members
                .values()
                .for_each(|member| check_problem_examples(member, seen)),
            Value::Array(items) => items
                .iter()
                .for_each(|item| check_problem_examples(item, seen)),
            _ => {}
        }
    }
}
