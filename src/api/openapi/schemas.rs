//! The bodies.

use serde_json::{Map, Value, json};

use crate::domain::Code;
use crate::server::ProblemKind;

/// All of them, as components.
pub(crate) fn schema_components() -> Value {
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
        "description": "One per source, in the order of `sources`, else of the configuration, derived sources last.",
    });
    let properties = json!({
        "origen": {"enum": ["snapshot", "live"], "description": "From memory, or after asking for this request."},
        "version": {"type": "string", "pattern": "^[0-9a-f]{16}$", "description": "A hash over what is told; ages and \
            the texts of errors are not part of it."},
        "generated_at": instant_schema("The instant as of which every `age_ms` is true; at most 25 ms after the answer."),
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "description": "The deadline that applied, in seconds."},
        "complete": {"type": "boolean", "description": "Every source is ok, not stale, and did not fail last time."},
        "asincronia": text_schema("Why this server waits asynchronously."),
        "multithreading": text_schema("What its threads are for."),
        "resultados": results,
    });
    let all = [
        "origen",
        "version",
        "generated_at",
        "timeout_s",
        "complete",
        "asincronia",
        "multithreading",
        "resultados",
    ];
    object_schema(properties, &all)
}

/// What both forms of a result may say.
fn common_result_properties() -> Map<String, Value> {
    let properties = json!({
        "ms": {"type": "number", "minimum": 0, "description": "How long the latest finished attempt took; absent before \
            the first one."},
        "from": {"enum": ["snapshot", "live"], "description": "`live` when this request's round, or a flight that it \
            joined, brought the reading."},
        "error": text_schema("Why the latest attempt gave no reading."),
        "code": schema_ref("FailureCode"),
        "failing_since": instant_schema("When the first failed attempt since the last success began."),
        "attribution": text_schema("Whom to thank for the data."),
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
            json!({"not": {"type": "null"}, "description": "What the source's filter made of the answer."}),
        ),
        (
            "provider".to_owned(),
            name_schema("Who told it; a derived source's own name."),
        ),
        (
            "fetched_at".to_owned(),
            instant_schema(
                "When it was asked for; of a derived source, when its oldest input was.",
            ),
        ),
        (
            "age_ms".to_owned(),
            count_schema("`generated_at` − `fetched_at`, in milliseconds."),
        ),
        (
            "stale".to_owned(),
            json!({"type": "boolean", "description": "Whether it is older than its ttl."}),
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
    schema["description"] = json!("There is data, fresh or stale, and it may be used.");
    schema["dependentRequired"] =
        json!({"error": ["code"], "code": ["error"], "failing_since": ["code"]});
    schema
}

fn missing_result_schema() -> Value {
    let mut properties = Map::from_iter([("ok".to_owned(), json!({"const": false}))]);
    properties.append(&mut common_result_properties());
    let mut schema = object_schema(Value::Object(properties), &["ok", "from", "error", "code"]);
    schema["description"] = json!("There is no data that may be used.");
    schema
}

fn failure_code_schema() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({"type": "string", "enum": codes, "description": "A stable code. docs/errors.md tells cause and remedy of each."})
}

fn health_status_schema() -> Value {
    json!({"enum": ["pass", "warn", "fail"], "description": "`pass`: fresh, and the latest attempt succeeded. `warn`: \
        usable, but stale or failing. `fail`: no data that may be used."})
}

fn health_schema() -> Value {
    let checks = json!({
        "type": "object", "description": "By source; `store:redis` is what the replicas share, if they do.",
        "properties": {"store:redis": {"type": "array", "minItems": 1, "maxItems": 1, "items": schema_ref("SharingHealth")}},
        "additionalProperties": {"type": "array", "minItems": 1, "maxItems": 1, "items": schema_ref("SourceHealth")},
    });
    let properties = json!({
        "status": health_status_schema(),
        "version": text_schema("The program's."),
        "time": instant_schema("Now."),
        "notes": {"type": "array", "items": {"type": "string"}, "description": "Which sources are not well, since when \
            and why, the missing ones first, and last the providers that fail while another one answers; absent when \
            all are well."},
        "checks": checks,
    });
    object_schema(properties, &["status", "version", "time", "checks"])
}

fn source_health_schema() -> Value {
    let properties = json!({
        "componentType": {"enum": ["source", "derived"]},
        "status": health_status_schema(),
        "freshness": {"enum": ["fresh", "stale", "missing"]},
        "time": instant_schema("When the newest reading was asked for."),
        "observedValue": count_schema("Its age."),
        "observedUnit": {"const": "ms"},
        "provider": name_schema("Who told it."),
        "ttl_ms": count_schema("How old a reading may be and still be fresh."),
        "max_stale_ms": count_schema("How much older than that it may be used."),
        "consecutive_failures": count_schema("Failed attempts since the last success."),
        "last_attempt": instant_schema("When the newest finished attempt began."),
        "next_attempt": instant_schema("When the next one is planned; of a derived source, the soonest of its inputs."),
        "output": text_schema("Why the latest attempt failed."),
        "code": schema_ref("FailureCode"),
        "failing_since": instant_schema("When the first failed attempt since the last success began."),
        "from": {"type": "array", "items": name_schema("An input."), "description": "Of a derived source."},
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
        "role": {"enum": ["joining", "sharing", "alone"], "description": "Whether this replica shares."},
        "replicas": count_schema("How many the store saw last, this one included; 0 if it was never reached."),
        "leases_taken": count_schema("Leases that this replica took since its start."),
        "leases_lost": count_schema("Those that were gone when their attempt ended."),
        "outcomes_heard": count_schema("Attempts of others whose outcome was taken in."),
        "clock_ahead_ms": {"type": "integer", "description": "By how much the store's clock is ahead of this replica's."},
        "output": text_schema("Why it does not share."),
    });
    object_schema(properties, &["componentType", "status", "role", "replicas"])
}

fn provider_health_schema() -> Value {
    let properties = json!({
        "provider": name_schema("Its name."),
        "status": {"enum": ["pass", "warn", "fail", "unknown"], "description": "Of its latest request; `warn` if it was \
            given up because another provider was faster, `unknown` if it was never asked."},
        "time": instant_schema("When its latest finished request began."),
        "ms": count_schema("How long that took."),
        "output": text_schema("Why it failed, or was given up."),
        "code": schema_ref("FailureCode"),
        "failing_since": instant_schema("When its first failed request since its last success began."),
        "consecutive_failures": count_schema("Its failed requests since its last success."),
        "held_until": instant_schema("Until when it asked to be left alone (`Retry-After`)."),
        "next_attempt": instant_schema("When it may be asked next: with the source's next attempt, or once it is not held. A \
            provider that is not the first is asked only if those before it fail or are slow."),
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
    let track = object_schema(
        json!({"times": times, "values": values}),
        &["times", "values"],
    );
    json!({"type": "object", "description": "By source.", "additionalProperties": track})
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.code()).collect();
    let properties = json!({
        "type": {"type": "string", "format": "uri", "pattern": "^urn:resumen:problem:[a-z_]+$",
            "description": "A name for the kind of problem: its `code`. It leads to no page; docs/errors.md tells \
                cause and remedy of each."},
        "title": text_schema("The kind of problem in words."),
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text_schema("What happened this time."),
        "code": {"type": "string", "enum": codes},
        "param": text_schema("The parameter that it is about."),
        "got": text_schema("What was sent, at most 80 characters of it."),
        "expected": text_schema("What would have been right."),
        "suggestion": text_schema("What was probably meant."),
    });
    let mut schema = object_schema(properties, &["type", "title", "status", "detail", "code"]);
    schema["description"] = json!("RFC 9457.");
    schema
}
