//! The dashboard and its provisioning, by what Grafana needs to find in them.

use std::collections::HashSet;

use serde_json::Value;

use super::{DASHBOARD, yaml};

/// Kinds of panels that every Grafana has.
const KINDS: [&str; 4] = ["row", "stat", "timeseries", "state-timeline"];

fn dashboard() -> Value {
    serde_json::from_slice(&std::fs::read(DASHBOARD).unwrap()).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key}: {value:#}"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key]
        .as_array()
        .unwrap_or_else(|| panic!("no {key}: {value:#}"))
}

#[test]
fn panels_have_what_grafana_needs_and_do_not_overlap() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert_eq!(
        (text(&dashboard, "uid"), text(&dashboard, "title")),
        ("resumen", "resumen")
    );
    let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(KINDS.contains(&text(panel, "type")), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24 && at("h") > 0, "{title}");
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{title} lies on another panel");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_asks_the_chosen_prometheus() {
    for panel in super::panels() {
        let title = text(&panel, "title");
        assert!(text(&panel, "description").len() > 8, "{title}");
        assert_eq!(
            text(&panel["datasource"], "uid"),
            "${datasource}",
            "{title}"
        );
        let mut letters = HashSet::new();
        for target in list(&panel, "targets") {
            assert!(letters.insert(text(target, "refId")), "{title}");
            assert_eq!(
                text(&target["datasource"], "uid"),
                "${datasource}",
                "{title}"
            );
            assert!(
                !text(target, "expr").is_empty() && !text(target, "legendFormat").is_empty(),
                "{title}"
            );
        }
        assert!(!letters.is_empty(), "{title}");
    }
}

#[test]
fn variables_are_defined_before_they_are_used() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    let defined: HashSet<&str> = variables
        .iter()
        .map(|variable| text(variable, "name"))
        .collect();
    let written = std::fs::read_to_string(DASHBOARD).unwrap();
    let mut used = HashSet::new();
    for after in written.split('$').skip(1) {
        let name = after.trim_start_matches('{');
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(name.len());
        used.insert(&name[..end]);
    }
    // Grafana's own begin with two underscores.
    used.retain(|name| !name.starts_with("__"));
    assert_eq!(used, defined);
}

#[test]
fn provisioning_names_the_prometheus_that_the_dashboard_asks() {
    let sources = yaml("config/grafana/provisioning/datasources/prometheus.yml");
    let source = &sources["datasources"][0];
    assert_eq!(sources["apiVersion"].as_i64(), Some(1));
    assert_eq!(source["type"].as_str(), Some("prometheus"));
    assert_eq!(source["url"].as_str(), Some("http://prometheus:9090"));
    let dashboard = dashboard();
    let chosen = list(&dashboard["templating"], "list")
        .iter()
        .find(|variable| text(variable, "type") == "datasource");
    assert_eq!(
        source["uid"].as_str(),
        chosen.unwrap()["current"]["value"].as_str()
    );

    let dashboards = yaml("config/grafana/provisioning/dashboards/resumen.yml");
    assert_eq!(dashboards["apiVersion"].as_i64(), Some(1));
    let provider = &dashboards["providers"][0];
    assert_eq!(provider["type"].as_str(), Some("file"));
    assert_eq!(
        provider["options"]["path"].as_str(),
        Some("/var/lib/grafana/dashboards")
    );
}
