//! The Grafana dashboard and its provisioning files.

use std::collections::HashSet;

use serde_json::Value;

use crate::support::monitoring_files::{DASHBOARD_FILE, load_yaml};

/// Types of panels without plugins.
const PANEL_TYPES: [&str; 4] = ["row", "stat", "timeseries", "state-timeline"];

fn load_dashboard() -> Value {
    serde_json::from_slice(&std::fs::read(DASHBOARD_FILE).unwrap()).unwrap()
}

fn text_at<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key}: {value:#}"))
}

fn list_at<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key]
        .as_array()
        .unwrap_or_else(|| panic!("no {key}: {value:#}"))
}

#[test]
fn dashboard_panels_do_not_overlap() {
    let dashboard = load_dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert_eq!(
        (text_at(&dashboard, "uid"), text_at(&dashboard, "title")),
        ("resumen", "resumen")
    );
    let (mut ids, mut cells) = (HashSet::new(), HashSet::new());
    for panel in list_at(&dashboard, "panels") {
        let title = text_at(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(PANEL_TYPES.contains(&text_at(panel, "type")), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24 && at("h") > 0, "{title}");
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{title} overlaps another panel");
        }
    }
}

#[test]
fn panels_use_selected_datasource() {
    for panel in crate::support::monitoring_files::dashboard_panels() {
        let title = text_at(&panel, "title");
        assert!(text_at(&panel, "description").len() > 8, "{title}");
        assert_eq!(
            text_at(&panel["datasource"], "uid"),
            "${datasource}",
            "{title}"
        );
        let mut ref_ids = HashSet::new();
        for target in list_at(&panel, "targets") {
            assert!(ref_ids.insert(text_at(target, "refId")), "{title}");
            assert_eq!(
                text_at(&target["datasource"], "uid"),
                "${datasource}",
                "{title}"
            );
            assert!(
                !text_at(target, "expr").is_empty() && !text_at(target, "legendFormat").is_empty(),
                "{title}"
            );
        }
        assert!(!ref_ids.is_empty(), "{title}");
    }
}

#[test]
fn dashboard_variables_are_defined() {
    let dashboard = load_dashboard();
    let variables = list_at(&dashboard["templating"], "list");
    let defined: HashSet<&str> = variables
        .iter()
        .map(|variable| text_at(variable, "name"))
        .collect();
    let text = std::fs::read_to_string(DASHBOARD_FILE).unwrap();
    let mut used = HashSet::new();
    for rest in text.split('$').skip(1) {
        let name = rest.trim_start_matches('{');
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(name.len());
        used.insert(&name[..end]);
    }
    // Names of Grafana begin with two underscores.
    used.retain(|name| !name.starts_with("__"));
    assert_eq!(used, defined);
}

#[test]
fn provisioned_datasource_matches_dashboard() {
    let sources = load_yaml("config/grafana/provisioning/datasources/prometheus.yml");
    let source = &sources["datasources"][0];
    assert_eq!(sources["apiVersion"].as_i64(), Some(1));
    assert_eq!(source["type"].as_str(), Some("prometheus"));
    assert_eq!(source["url"].as_str(), Some("http://prometheus:9090"));
    let dashboard = load_dashboard();
    let variable = list_at(&dashboard["templating"], "list")
        .iter()
        .find(|variable| text_at(variable, "type") == "datasource");
    assert_eq!(
        source["uid"].as_str(),
        variable.unwrap()["current"]["value"].as_str()
    );

    let dashboards = load_yaml("config/grafana/provisioning/dashboards/resumen.yml");
    assert_eq!(dashboards["apiVersion"].as_i64(), Some(1));
    let provider = &dashboards["providers"][0];
    assert_eq!(provider["type"].as_str(), Some("file"));
    assert_eq!(
        provider["options"]["path"].as_str(),
        Some("/var/lib/grafana/dashboards")
    );
}
