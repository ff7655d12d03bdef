//! The bodies.

use serde_json::{Map, Value, json};

use crate::domain::Code;
use crate::http::problem::Kind;

/// All of them, as components.
pub(super) fn all() -> Value {
    json!({
        "Summary": summary(),
        "Result": {"oneOf": [refer("Usable"), refer("Missing")]},
        "Usable": usable(),
        "Missing": missing(),
        "FailureCode": failure_code(),
        "Health": health(),
        "SourceHealth": source_health(),
        "SharingHealth": sharing_health(),
        "ProviderHealth": provider_health(),
        "History": history(),
        "Ok": object(json!({"status": {"const": "ok"}}), &["status"]),
        "Problem": problem(),
    })
}

fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "required": required});
    schema["properties"] = properties;
    schema
}

fn instant(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn name(description: &str) -> Value {
    json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$", "description": description})
}

fn count(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn summary() -> Value {
    let results = json!({
        "type": "object", "additionalProperties": refer("Result"),
        "description": "One per source, in the order of `sources`, else of the configuration, derived sources last.",
    });
    let properties = json!({
        "origen": {"enum": ["snapshot", "live"], "description": "From memory, or after asking for this request."},
        "version": {"type": "string", "pattern": "^[0-9a-f]{16}$", "description": "A hash over what is told; ages and \
            the texts of errors are not part of it."},
        "generated_at": instant("The instant as of which every `age_ms` is true; at most 25 ms after the answer."),
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "description": "The deadline that applied, in seconds."},
        "complete": {"type": "boolean", "description": "Every source is ok, not stale, and did not fail last time."},
        "asincronia": text("Why this server waits asynchronously."),
        "multithreading": text("What its threads are for."),
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
    object(properties, &all)
}

/// What both forms of a result may say.
fn common() -> Map<String, Value> {
    let properties = json!({
        "ms": {"type": "number", "minimum": 0, "description": "How long the latest finished attempt took; absent before \
            the first one."},
        "from": {"enum": ["snapshot", "live"], "description": "`live` when this request's round, or a flight that it \
            joined, brought the reading."},
        "error": text("Why the latest attempt gave no reading."),
        "code": refer("FailureCode"),
        "failing_since": instant("When the first failed attempt since the last success began."),
        "attribution": text("Whom to thank for the data."),
    });
    if let Value::Object(properties) = properties {
        properties
    } else {
        Map::new()
    }
}

fn usable() -> Value {
    let mut properties = Map::from_iter([
        ("ok".to_owned(), json!({"const": true})),
        (
            "data".to_owned(),
            json!({"not": {"type": "null"}, "description": "What the source's filter made of the answer."}),
        ),
        (
            "provider".to_owned(),
            name("Who told it; a derived source's own name."),
        ),
        (
            "fetched_at".to_owned(),
            instant("When it was asked for; of a derived source, when its oldest input was."),
        ),
        (
            "age_ms".to_owned(),
            count("`generated_at` − `fetched_at`, in milliseconds."),
        ),
        (
            "stale".to_owned(),
            json!({"type": "boolean", "description": "Whether it is older than its ttl."}),
        ),
    ]);
    properties.append(&mut common());
    let required = [
        "ok",
        "data",
        "provider",
        "fetched_at",
        "age_ms",
        "stale",
        "from",
    ];
    let mut schema = object(Value::Object(properties), &required);
    schema["description"] = json!("There is data, fresh or stale, and it may be used.");
    schema["dependentRequired"] =
        json!({"error": ["code"], "code": ["error"], "failing_since": ["code"]});
    schema
}

fn missing() -> Value {
    let mut properties = Map::from_iter([("ok".to_owned(), json!({"const": false}))]);
    properties.append(&mut common());
    let mut schema = object(Value::Object(properties), &["ok", "from", "error", "code"]);
    schema["description"] = json!("There is no data that may be used.");
    schema
}

fn failure_code() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({"type": "string", "enum": codes, "description": "A stable code. docs/errors.md tells cause and remedy of each."})
}

fn verdict() -> Value {
    json!({"enum": ["pass", "warn", "fail"], "description": "`pass`: fresh, and the latest attempt succeeded. `warn`: \
        usable, but stale or failing. `fail`: no data that may be used."})
}

fn health() -> Value {
    let checks = json!({
        "type": "object", "description": "By source; `store:redis` is what the replicas share, if they do.",
        "properties": {"store:redis": {"type": "array", "minItems": 1, "maxItems": 1, "items": refer("SharingHealth")}},
        "additionalProperties": {"type": "array", "minItems": 1, "maxItems": 1, "items": refer("SourceHealth")},
    });
    let properties = json!({
        "status": verdict(),
        "version": text("The program's."),
        "time": instant("Now."),
        "notes": {"type": "array", "items": {"type": "string"}, "description": "Which sources are not well, since when \
            and why, the missing ones first, and last the providers that fail while another one answers; absent when \
            all are well."},
        "checks": checks,
    });
    object(properties, &["status", "version", "time", "checks"])
}

fn source_health() -> Value {
    let properties = json!({
        "componentType": {"enum": ["source", "derived"]},
        "status": verdict(),
        "freshness": {"enum": ["fresh", "stale", "missing"]},
        "time": instant("When the newest reading was asked for."),
        "observedValue": count("Its age."),
        "observedUnit": {"const": "ms"},
        "provider": name("Who told it."),
        "ttl_ms": count("How old a reading may be and still be fresh."),
        "max_stale_ms": count("How much older than that it may be used."),
        "consecutive_failures": count("Failed attempts since the last success."),
        "last_attempt": instant("When the newest finished attempt began."),
        "next_attempt": instant("When the next one is planned; of a derived source, the soonest of its inputs."),
        "output": text("Why the latest attempt failed."),
        "code": refer("FailureCode"),
        "failing_since": instant("When the first failed attempt since the last success began."),
        "from": {"type": "array", "items": name("An input."), "description": "Of a derived source."},
        "providers": {"type": "array", "items": refer("ProviderHealth"), "description": "In order of preference."},
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
    let mut schema = object(properties, &required);
    schema["dependentRequired"] =
        json!({"output": ["code"], "code": ["output"], "time": ["observedValue"]});
    schema
}

fn sharing_health() -> Value {
    let properties = json!({
        "componentType": {"const": "datastore"},
        "status": {"enum": ["pass", "warn"]},
        "role": {"enum": ["joining", "sharing", "alone"], "description": "Whether this replica shares."},
        "replicas": count("How many the store saw last, this one included; 0 if it was never reached."),
        "leases_taken": count("Leases that this replica took since its start."),
        "leases_lost": count("Those that were gone when their attempt ended."),
        "outcomes_heard": count("Attempts of others whose outcome was taken in."),
        "clock_ahead_ms": {"type": "integer", "description": "By how much the store's clock is ahead of this replica's."},
        "output": text("Why it does not share."),
    });
    object(properties, &["componentType", "status", "role", "replicas"])
}

fn provider_health() -> Value {
    let properties = json!({
        "provider": name("Its name."),
        "status": {"enum": ["pass", "warn", "fail", "unknown"], "description": "Of its latest request; `warn` if it was \
            given up because another provider was faster, `unknown` if it was never asked."},
        "time": instant("When its latest finished request began."),
        "ms": count("How long that took."),
        "output": text("Why it failed, or was given up."),
        "code": refer("FailureCode"),
        "failing_since": instant("When its first failed request since its last success began."),
        "consecutive_failures": count("Its failed requests since its last success."),
        "held_until": instant("Until when it asked to be left alone (`Retry-After`)."),
        "next_attempt": instant("When it may be asked next: with the source's next attempt, or once it is not held. A \
            provider that is not the first is asked only if those before it fail or are slow."),
    });
    let mut schema = object(properties, &["provider", "status", "consecutive_failures"]);
    schema["dependentRequired"] = json!({"code": ["output"]});
    schema
}

fn history() -> Value {
    let values = json!({
        "type": "object", "description": "By dotted path.",
        "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
    });
    let times = json!({"type": "array", "items": {"type": "integer"}, "description": "Milliseconds since the epoch."});
    let track = object(
        json!({"times": times, "values": values}),
        &["times", "values"],
    );
    json!({"type": "object", "description": "By source.", "additionalProperties": track})
}

fn problem() -> Value {
    let codes: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    let properties = json!({
        "type": {"type": "string", "format": "uri", "pattern": "^urn:resumen:problem:[a-z_]+$",
            "description": "A name for the kind of problem: its `code`. It leads to no page; docs/errors.md tells \
                cause and remedy of each."},
        "title": text("The kind of problem in words."),
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text("What happened this time."),
        "code": {"type": "string", "enum": codes},
        "param": text("The parameter that it is about."),
        "got": text("What was sent, at most 80 characters of it."),
        "expected": text("What would have been right."),
        "suggestion": text("What was probably meant."),
    });
    let mut schema = object(properties, &["type", "title", "status", "detail", "code"]);
    schema["description"] = json!("RFC 9457.");
    schema
}
