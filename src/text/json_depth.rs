//! How deeply a text nests, without parsing it: a loop over its bytes, no recursion, so no text can exhaust the stack.

/// The most levels of arrays and objects that a payload, or a filter's result, may have.
pub const MAX_DEPTH: usize = 64;

/// Where `json` opens its first array or object beyond `limit` levels, in bytes. The text need not be JSON: brackets
/// count wherever no string is open.
pub fn find_excess_depth(json: &[u8], limit: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'[' | b'{' if depth == limit => return Some(at),
            b'[' | b'{' => depth += 1,
            // Not JSON yet: a text may close more than it opens.
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(json, at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The closing quote of the string whose text begins at `at`, or the end of the input.
pub(crate) fn end_of_string(json: &[u8], mut at: usize) -> usize {
    loop {
        match json.get(at) {
            None | Some(b'"') => return at,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn depth_limit_is_inclusive() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(
            find_excess_depth(nested(MAX_DEPTH).as_bytes(), MAX_DEPTH),
            None
        );
        assert_eq!(
            find_excess_depth(nested(MAX_DEPTH + 1).as_bytes(), MAX_DEPTH),
            Some(MAX_DEPTH)
        );
        assert_eq!(
            find_excess_depth("[".repeat(1_000_000).as_bytes(), MAX_DEPTH),
            Some(MAX_DEPTH)
        );
    }

    #[test]
    fn brackets_in_strings_are_ignored() {
        assert_eq!(
            find_excess_depth(br#"["[[[[", "\"[[", "\\", "]"]"#, 1),
            None
        );
        assert_eq!(find_excess_depth(br#"["\\", [1]]"#, 1), Some(7));
        assert_eq!(find_excess_depth(br#""[[["#, 0), None);
        assert_eq!(find_excess_depth(br#""\"#, 0), None);
    }

    #[test]
    fn siblings_share_one_level() {
        assert_eq!(find_excess_depth("[[],[],[],{},{}]".as_bytes(), 2), None);
    }

    fn json_depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(json_depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(json_depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn json_values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[\[\]{}"\\ a]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(12, 64, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((r#"[\[\]{}"\\ a]{0,4}"#, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn depth_agrees_with_parser(value in json_values(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let depth = json_depth(&value);
            prop_assert_eq!(find_excess_depth(text.as_bytes(), depth), None);
            if depth > 0 {
                prop_assert!(find_excess_depth(text.as_bytes(), depth - 1).is_some());
            }
        }

        #[test]
        fn depth_check_never_panics(bytes: Vec<u8>, limit in 0_usize..4) {
            if let Some(at) = find_excess_depth(&bytes, limit) {
                let opens = matches!(bytes[at], b'[' | b'{');
                prop_assert!(opens);
            }
        }
    }
}
