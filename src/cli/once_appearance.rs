//! The operator's words in the output of `once`: titles, labels, units, decimals, limits and hidden values.

use serde_json::{Map, Value, json};

use crate::domain::{Snapshot, SourceAppearance, ThresholdLevel};

/// Keys that are added to a result: what is shown instead of its name, its group, and the worst level of its numbers.
pub(super) const TITLE_KEY: &str = "title";
pub(super) const GROUP_KEY: &str = "group";
pub(super) const LEVEL_KEY: &str = "level";

/// Writes the data of each result in the body as its appearance tells, and orders the results as the panel does.
pub(super) fn apply_appearances(body: &mut Value, snapshot: &Snapshot) {
    if let Some(results) = body["resultados"].as_object_mut() {
        order_results(results, snapshot);
    }
    for state in snapshot.source_states() {
        let appearance = &state.source.appearance;
        let Some(result) = body["resultados"].get_mut(state.source.name.as_str()) else {
            continue;
        };
        if let Some(title) = &appearance.title {
            result[TITLE_KEY] = json!(&**title);
        }
        if let Some(group) = &appearance.group {
            result[GROUP_KEY] = json!(&**group);
        }
        let mut worst = None;
        if let Some(data) = result.get_mut("data") {
            *data = apply_to_value(data.take(), "", appearance, &mut worst);
        }
        if let Some(level) = worst {
            result[LEVEL_KEY] = json!(level.as_str());
        }
    }
}

/// Orders the results by `order`, and by group in the order of the groups' first sources.
fn order_results(results: &mut Map<String, Value>, snapshot: &Snapshot) {
    let states = snapshot.source_states().iter();
    let mut sources: Vec<_> = states.map(|state| &state.source).collect();
    sources.sort_by_key(|source| source.appearance.order.unwrap_or(u64::MAX));
    let mut groups = Vec::new();
    for source in &sources {
        if !groups.contains(&source.appearance.group) {
            groups.push(source.appearance.group.clone());
        }
    }
    sources.sort_by_key(|source| {
        groups
            .iter()
            .position(|group| *group == source.appearance.group)
    });
    let names = sources.iter().map(|source| source.name.as_str());
    *results = names
        .filter_map(|name| results.remove_entry(name))
        .collect();
}

/// Returns the value at a dotted path as it is shown. `worst` becomes the worst level so far.
fn apply_to_value(
    value: Value,
    path: &str,
    appearance: &SourceAppearance,
    worst: &mut Option<ThresholdLevel>,
) -> Value {
    match value {
        Value::Object(members) => {
            let mut shown = Map::new();
            for (key, member) in members {
                let path = join_path(path, &key);
                let own = appearance.path(&path);
                if own.is_some_and(|own| own.is_hidden) {
                    continue;
                }
                let label = own.and_then(|own| own.label.as_deref()).unwrap_or(&key);
                let member = apply_to_value(member, &path, appearance, worst);
                // Two members may have one label: the key keeps them apart.
                let label = if shown.contains_key(label) {
                    &key
                } else {
                    label
                };
                shown.insert(label.to_owned(), member);
            }
            Value::Object(shown)
        }
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(at, item)| {
                    apply_to_value(item, &join_path(path, &at.to_string()), appearance, worst)
                })
                .collect()
        }
        Value::Number(number) => {
            let shown = appearance.value_at(path);
            let level = number.as_f64().and_then(|n| shown.thresholds.level_of(n));
            *worst = (*worst).max(level);
            if shown.unit.is_none() && shown.decimals.is_none() {
                return Value::Number(number);
            }
            Value::String(shown.format_number(&number.to_string()))
        }
        other => other,
    }
}

fn join_path(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PathAppearance, Thresholds, ValueAppearance};

    #[test]
    fn data_follows_appearance() {
        let used = PathAppearance {
            label: Some("Root".into()),
            value: ValueAppearance {
                unit: Some("%".into()),
                decimals: Some(1),
                thresholds: Thresholds {
                    warn: Some(80.into()),
                    crit: Some(90.into()),
                },
            },
            ..PathAppearance::default()
        };
        let hidden = PathAppearance {
            is_hidden: true,
            ..PathAppearance::default()
        };
        let appearance = SourceAppearance {
            paths: vec![("fs.0.used".into(), used), ("secret".into(), hidden)],
            ..SourceAppearance::default()
        };
        let data = json!({"fs": [{"used": 93.26}], "secret": 1, "n": 1});
        let mut worst = None;
        let shown = apply_to_value(data, "", &appearance, &mut worst);
        assert_eq!(shown["n"], 1);
        assert_eq!(shown["fs"][0]["Root"], "93.3 %");
        assert_eq!(shown.get("secret"), None);
        assert_eq!(worst, Some(ThresholdLevel::Crit));
    }
}
