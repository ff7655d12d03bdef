//! What the operator says about the appearance of the sources, as the page reads it.

use serde_json::{Map, Value, json};

use crate::domain::{Source, SourceAppearance, ValueAppearance};

/// The JSON document `{"sources": {NAME: {title, group, order, unit, decimals, thresholds, paths}}}`. Without the
/// sources of which nothing is said.
pub(crate) fn appearance_document<'s>(sources: impl Iterator<Item = &'s Source>) -> String {
    let said = sources.filter(|source| *source.appearance != SourceAppearance::default());
    let appearances = said.map(|source| (source.name.to_string(), source_json(&source.appearance)));
    json!({"sources": appearances.collect::<Map<_, _>>()}).to_string()
}

fn source_json(appearance: &SourceAppearance) -> Value {
    let paths = appearance.paths.iter().map(|(path, shown)| {
        let mut members = value_members(&shown.value);
        insert(&mut members, "label", shown.label.as_deref());
        insert(&mut members, "hidden", shown.is_hidden.then_some(true));
        insert(&mut members, "as", shown.kind.as_deref());
        (path.clone(), Value::from(members))
    });
    let mut members = value_members(&appearance.value);
    insert(&mut members, "title", appearance.title.as_deref());
    insert(&mut members, "group", appearance.group.as_deref());
    insert(&mut members, "order", appearance.order);
    members.insert("paths".into(), Value::Object(paths.collect()));
    members.into()
}

fn value_members(value: &ValueAppearance) -> Map<String, Value> {
    let mut limits = Map::new();
    insert(&mut limits, "warn", value.thresholds.warn.clone());
    insert(&mut limits, "crit", value.thresholds.crit.clone());
    let mut members = Map::new();
    insert(&mut members, "unit", value.unit.as_deref());
    insert(&mut members, "decimals", value.decimals);
    insert(
        &mut members,
        "thresholds",
        (!limits.is_empty()).then_some(limits),
    );
    members
}

fn insert(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}
