//! Flat JSON body of a summary: one object whose members are scalars.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::domain::Time;
use crate::text::visit_scalars;

use super::json_text::write_json_string;
use super::summary_body::SummaryRow;

/// How many times as long as the data of a source its members may be, and this many bytes more. Data
/// that nests long keys over many scalars would repeat them without end.
const MAX_GROWTH: usize = 16;
const MIN_LIMIT_BYTES: usize = 64 << 10;

/// Returns the flat body, with ages as of `generated_at`, in a buffer that begins with `capacity`
/// bytes. Of members with one name the first is written.
pub(super) fn write_flat(rows: &[SummaryRow<'_>], generated_at: Time, capacity: usize) -> Vec<u8> {
    let mut flat = FlatWriter {
        out: Vec::with_capacity(capacity),
        seen: HashSet::new(),
    };
    flat.out.push(b'{');
    for row in rows {
        flat.write_row(row, generated_at);
    }
    flat.out.push(b'}');
    flat.out
}

struct FlatWriter {
    out: Vec<u8>,
    /// The names of the members written so far.
    seen: HashSet<String>,
}

impl FlatWriter {
    fn write_row(&mut self, row: &SummaryRow<'_>, generated_at: Time) {
        let (name, view) = (&row.source_state.source.name, &row.view);
        self.write_member(&format!("{name}.ok"), &view.reading.is_some().to_string());
        if let Some(reading) = &view.reading {
            let age = generated_at.since(reading.fetched_at).as_millis();
            self.write_member(&format!("{name}.stale"), &view.is_stale().to_string());
            self.write_member(&format!("{name}.age_ms"), &age.to_string());
        }
        if let Some(failure) = &view.failure {
            self.write_member(&format!("{name}.code"), &format!("\"{}\"", failure.code));
        }
        let Some(reading) = &view.reading else {
            return;
        };
        let json = reading.data.as_json();
        let limit = self.out.len() + json.len() * MAX_GROWTH + MIN_LIMIT_BYTES;
        let mut path = name.to_string();
        let _ = visit_scalars(json, &mut path, &mut |path, text| {
            if self.out.len() + path.len() + text.len() > limit {
                return ControlFlow::Break(());
            }
            self.write_member(path, text);
            ControlFlow::Continue(())
        });
    }

    /// Writes one member; `value` is the JSON text of a scalar.
    fn write_member(&mut self, name: &str, value: &str) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        write_json_string(&mut self.out, name);
        self.out.push(b':');
        self.out.extend_from_slice(value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::Value;

    use crate::render::BodyForm;
    use crate::render::rendering::tests::rendering_of;

    use super::*;

    /// The flat body of a source `s` with this data.
    fn flat_of(json: &str) -> String {
        let rendering = rendering_of(json, &BodyForm::Flat, Duration::ZERO);
        String::from_utf8(rendering.body.to_vec()).unwrap()
    }

    fn json_strategy() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c.\"\\\\ñ]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-c.\"ñ]{0,3}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The scalars below `value` by their dotted paths, the first of each.
    fn collect(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(members) => members
                .iter()
                .for_each(|(key, member)| collect(member, &format!("{path}.{key}"), found)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, item)| collect(item, &format!("{path}.{index}"), found)),
            scalar if found.iter().all(|(known, _)| known != path) => {
                found.push((path.to_owned(), scalar.clone()));
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn every_scalar_is_written_once(data in json_strategy()) {
            let text = flat_of(&data.to_string());
            let mut expected = vec![
                ("s.ok".to_owned(), Value::from(true)),
                ("s.stale".to_owned(), Value::from(false)),
                ("s.age_ms".to_owned(), Value::from(20)),
            ];
            collect(&data, "s", &mut expected);
            // An object with a repeated name would not be read into so many members.
            let flat: HashMap<String, Value> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(flat.len(), expected.len());
            for (name, value) in expected {
                prop_assert_eq!(&flat[&name], &value, "{}", name);
            }
        }
    }

    #[test]
    fn growth_is_limited() {
        let data = format!(r#"{{"{}":[{}1]}}"#, "k".repeat(50_000), "1,".repeat(50_000));
        let text = flat_of(&data);
        assert!(
            text.len() <= data.len() * (MAX_GROWTH + 1) + MIN_LIMIT_BYTES,
            "{}",
            text.len()
        );
        assert!(text.len() > data.len() && text.ends_with('}'));
    }

    #[test]
    fn scalar_has_the_bare_name() {
        assert_eq!(
            flat_of("1.50"),
            r#"{"s.ok":true,"s.stale":false,"s.age_ms":20,"s":1.50}"#
        );
        let collision = flat_of(r#"{"ok":7,"a.b":1,"a":{"b":2}}"#);
        assert_eq!(
            collision,
            r#"{"s.ok":true,"s.stale":false,"s.age_ms":20,"s.a.b":1}"#
        );
    }
}
