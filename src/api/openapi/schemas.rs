//! Schemas of the response bodies.

use serde_json::{Map, Value, json};

use crate::domain::Code;
use crate::server::ProblemKind;

/// Every schema, as components.
pub(super) fn schema_components() -> Value {
    json!({
        "Summary": summary_schema(),
        "Result": {"oneOf": [schema_ref("Usable"), schema_ref("Missing")]},
        "Usable": usable_result_schema(),
        "Missing": missing_result_schema(),
        "FailureCode": failure_code_schema(),
        "Health": health_schema(),
        "SourceHealth": source_health_schema(),
        "SharingHealth": replica_health_schema(),
        "ProviderHealth": provider_health_schema(),
        "History": history_schema(),
        "Ok": object_schema(json!({"status": {"const": "ok"}}), &["status"]),
        "Problem": problem_schema(),
    })
}

fn schema_ref(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object_schema(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "required": required});
    schema["properties"] = properties;
    schema
}

fn instant_schema(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn name_schema(description: &str) -> Value {
    json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$", "description": description})
}

fn count_schema(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

fn text_schema(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn summary_schema() -> Value {
    let results = json!({
        "type": "object", "additionalProperties": schema_ref("Result"),
        "description": "One result per source, in the order of `sources`, else of the configuration with derived sources last.",
    });
    let properties = json!({
        "origen": {"enum": ["snapshot", "live"], "description": "From memory, or fetched for this request."},
        "version": {"type": "string", "pattern": "^[0-9a-f]{16}$", "description": "A hash over the results without their \
            ages and error messages."},
        "generated_at": instant_schema("The instant at which every `age_ms` is exact; at most 25 ms after the response."),
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "description": "The deadline that applied, in seconds."},
        "complete": {"type": "boolean", "description": "Every source is ok, not stale, and its latest attempt succeeded."},
        "asincronia": text_schema("Why the server waits asynchronously."),
        "multithreading": text_schema("What the server uses threads for."),
        "resultados": results,
    });
    let required = [
        "origen",
        "version",
        "generated_at",
        "timeout_s",
        "complete",
        "asincronia",
        "multithreading",
        "resultados",
    ];
    object_schema(properties, &required)
}

/// The properties of both forms of a result.
fn common_result_properties() -> Map<String, Value> {
    let properties = json!({
        "ms": {"type": "number", "minimum": 0, "description": "Duration of the latest finished attempt in milliseconds; \
            absent before the first one."},
        "from": {"enum": ["snapshot", "live"], "description": "`live` if an attempt that this request started or \
            joined gave the reading."},
        "error": text_schema("Why the latest attempt failed."),
        "code": schema_ref("FailureCode"),
        "failing_since": instant_schema("When the first failed attempt after the last success began."),
        "attribution": text_schema("The attribution that the data's licence requires."),
    });
    if let Value::Object(properties) = properties {
        properties
    } else {
        Map::new()
    }
}

fn usable_result_schema() -> Value {
    let mut properties = Map::from_iter([
        ("ok".to_owned(), json!({"const": true})),
        (
            "data".to_owned(),
            json!({"not": {"type": "null"}, "description": "The output of the source's filter."}),
        ),
        (
            "provider".to_owned(),
            name_schema("The provider of the reading; for a derived source, its own name."),
        ),
        (
            "fetched_at".to_owned(),
            instant_schema(
                "When the request for the reading was sent; for a derived source, that of its oldest input.",
            ),
        ),
        (
            "age_ms".to_owned(),
            count_schema("`generated_at` − `fetched_at`, in milliseconds."),
        ),
        (
            "stale".to_owned(),
            json!({"type": "boolean", "description": "Whether the reading is older than its ttl."}),
        ),
    ]);
    properties.append(&mut common_result_properties());
    let required = [
        "ok",
        "data",
        "provider",
        "fetched_at",
        "age_ms",
        "stale",
        "from",
    ];
    let mut schema = object_schema(Value::Object(properties), &required);
    schema["description"] = json!("There is data, fresh or stale.");
    schema["dependentRequired"] =
        json!({"error": ["code"], "code": ["error"], "failing_since": ["code"]});
    schema
}

fn missing_result_schema() -> Value {
    let mut properties = Map::from_iter([("ok".to_owned(), json!({"const": false}))]);
    properties.append(&mut common_result_properties());
    let mut schema = object_schema(Value::Object(properties), &["ok", "from", "error", "code"]);
    schema["description"] = json!("There is no data, or only data that is too old.");
    schema
}

fn failure_code_schema() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({"type": "string", "enum": codes, "description": "A stable code. docs/errors.md lists the cause and remedy of each."})
}

fn health_status_schema() -> Value {
    json!({"enum": ["pass", "warn", "fail"], "description": "`pass`: fresh, and the latest attempt succeeded. `warn`: \
        usable, but stale or failing. `fail`: no usable data."})
}

fn health_schema() -> Value {
    let checks = json!({
        "type": "object", "description": "By source; `store:redis` is the store that replicas share, if one is configured.",
        "properties": {"store:redis": {"type": "array", "minItems": 1, "maxItems": 1, "items": schema_ref("SharingHealth")}},
        "additionalProperties": {"type": "array", "minItems": 1, "maxItems": 1, "items": schema_ref("SourceHealth")},
    });
    let properties = json!({
        "status": health_status_schema(),
        "version": text_schema("Version of the program."),
        "time": instant_schema("When the report was made."),
        "notes": {"type": "array", "items": {"type": "string"}, "description": "Which sources fail, since when and why: missing \
            sources first, then stale or failing ones, then failing providers of sources that another provider supplies. \
            Absent if there are none."},
        "checks": checks,
    });
    object_schema(properties, &["status", "version", "time", "checks"])
}

fn source_health_schema() -> Value {
    let properties = json!({
        "componentType": {"enum": ["source", "derived"]},
        "status": health_status_schema(),
        "freshness": {"enum": ["fresh", "stale", "missing"]},
        "time": instant_schema("When the request for the newest reading was sent."),
        "observedValue": count_schema("Age of the newest reading."),
        "observedUnit": {"const": "ms"},
        "provider": name_schema("The provider of the reading."),
        "ttl_ms": count_schema("Maximum age of a fresh reading."),
        "max_stale_ms": count_schema("How much older than `ttl_ms` a usable reading may be."),
        "consecutive_failures": count_schema("Failed attempts since the last success."),
        "last_attempt": instant_schema("When the newest finished attempt began."),
        "next_attempt": instant_schema("When the next attempt is planned; for a derived source, the earliest of its inputs."),
        "output": text_schema("Why the latest attempt failed."),
        "code": schema_ref("FailureCode"),
        "failing_since": instant_schema("When the first failed attempt after the last success began."),
        "from": {"type": "array", "items": name_schema("An input."), "description": "The inputs of a derived source."},
        "providers": {"type": "array", "items": schema_ref("ProviderHealth"), "description": "In order of preference."},
    });
    let required = [
        "componentType",
        "status",
        "freshness",
        "ttl_ms",
        "max_stale_ms",
        "consecutive_failures",
        "providers",
    ];
    let mut schema = object_schema(properties, &required);
    schema["dependentRequired"] =
        json!({"output": ["code"], "code": ["output"], "time": ["observedValue"]});
    schema
}

fn replica_health_schema() -> Value {
    let properties = json!({
        "componentType": {"const": "datastore"},
        "status": {"enum": ["pass", "warn"]},
        "role": {"enum": ["joining", "sharing", "alone"], "description": "Whether this replica shares readings with others."},
        "replicas": count_schema("Replicas seen last in the store, including this one; 0 if it was never reached."),
        "leases_taken": count_schema("Leases that this replica has acquired since its start."),
        "leases_lost": count_schema("Leases that expired before their attempt ended."),
        "outcomes_heard": count_schema("Outcomes of other replicas' attempts that were merged."),
        "clock_ahead_ms": {"type": "integer", "description": "The store's clock minus this replica's clock, in milliseconds."},
        "output": text_schema("Why readings are not shared."),
    });
    object_schema(properties, &["componentType", "status", "role", "replicas"])
}

fn provider_health_schema() -> Value {
    let properties = json!({
        "provider": name_schema("Name of the provider."),
        "status": {"enum": ["pass", "warn", "fail", "unknown"], "description": "Status of its latest request; `warn` if the \
            request was cancelled because another provider was faster, `unknown` if there was none."},
        "time": instant_schema("When its latest finished request began."),
        "ms": count_schema("Duration of that request in milliseconds."),
        "output": text_schema("Why the request failed or was cancelled."),
        "code": schema_ref("FailureCode"),
        "failing_since": instant_schema("When its first failed request after its last success began."),
        "consecutive_failures": count_schema("Failed requests since its last success."),
        "held_until": instant_schema("End of the pause that the provider requested with `Retry-After`."),
        "next_attempt": instant_schema("When its next request is possible: at the source's next attempt, or after `held_until`. \
            Providers after the first are called only if those before them fail or are slow."),
    });
    let mut schema = object_schema(properties, &["provider", "status", "consecutive_failures"]);
    schema["dependentRequired"] = json!({"code": ["output"]});
    schema
}

fn history_schema() -> Value {
    let values = json!({
        "type": "object", "description": "By dotted path.",
        "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
    });
    let times = json!({"type": "array", "items": {"type": "integer"}, "description": "Milliseconds since the epoch."});
    let series = object_schema(
        json!({"times": times, "values": values}),
        &["times", "values"],
    );
    json!({"type": "object", "description": "By source.", "additionalProperties": series})
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.code()).collect();
    let properties = json!({
        "type": {"type": "string", "format": "uri", "pattern": "^urn:resumen:problem:[a-z_]+$",
            "description": "A URN of the `code`, not the address of a page. docs/errors.md lists the cause \
                and remedy of each."},
        "title": text_schema("A short text for the kind of problem."),
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text_schema("What is wrong with this request."),
        "code": {"type": "string", "enum": codes},
        "param": text_schema("The parameter or field that is wrong."),
        "got": text_schema("What was sent, at most 80 characters."),
        "expected": text_schema("What would be valid."),
        "suggestion": text_schema("The nearest valid name."),
    });
    let mut schema = object_schema(properties, &["type", "title", "status", "detail", "code"]);
    schema["description"] = json!("RFC 9457.");
    schema
}
