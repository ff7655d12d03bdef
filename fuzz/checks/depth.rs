//! The depth guard against a parser: whatever `serde_json` reads, the guard finds exactly as deep.

use resumen::extract::find_excess_depth;
use serde_json::Value;

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Panics if anything is wrong with these bytes.
pub fn check(json: &[u8]) {
    for limit in 0..4 {
        if let Some(at) = find_excess_depth(json, limit) {
            assert!(matches!(json[at], b'[' | b'{'));
        }
    }
    // Members of one name hide each other in a `Value`, so it may be less deep than its text.
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    let depth = depth(&value);
    if depth > 0 {
        assert!(find_excess_depth(json, depth - 1).is_some());
    }
    let again = serde_json::to_string(&value).expect("JSON");
    assert!(
        find_excess_depth(again.as_bytes(), depth).is_none(),
        "deeper than {depth}"
    );
}
