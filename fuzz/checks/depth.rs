//! The depth limit: for any text that `serde_json` parses, the limit applies exactly at its depth.

use resumen::extract::find_excess_depth;
use serde_json::Value;

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Panics if the result for `json` is wrong.
pub fn check(json: &[u8]) {
    for limit in 0..4 {
        if let Some(offset) = find_excess_depth(json, limit) {
            assert!(matches!(json[offset], b'[' | b'{'));
        }
    }
    // Of duplicate members a `Value` keeps the last, so it can be less deep than its text.
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    let depth = depth(&value);
    if depth > 0 {
        assert!(find_excess_depth(json, depth - 1).is_some());
    }
    let normalised = serde_json::to_string(&value).expect("JSON");
    assert!(
        find_excess_depth(normalised.as_bytes(), depth).is_none(),
        "deeper than {depth}"
    );
}
