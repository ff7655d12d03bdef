//! The configuration files for Prometheus and Grafana.

use std::path::Path;

use serde_json::Value;

pub const RULES_FILE: &str = "config/prometheus/alerts.yml";
pub const DASHBOARD_FILE: &str = "config/grafana/dashboards/resumen.json";

/// The panels of the dashboard, without its rows.
pub fn dashboard_panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_slice(&std::fs::read(DASHBOARD_FILE).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .filter(|panel| panel["type"] != "row")
        .cloned()
        .collect()
}

/// The names of metrics and of recorded series in an expression.
pub fn metric_names(expression: &str) -> Vec<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !part(c));
    let known = ["resumen_", "process_", "source:", "provider:", "route:"];
    words
        .filter(|word| known.iter().any(|begin| word.starts_with(begin)))
        .map(str::to_owned)
        .collect()
}

/// The first document of a YAML file.
pub fn load_yaml(path: impl AsRef<Path>) -> yaml_rust2::Yaml {
    let text = std::fs::read_to_string(path).unwrap();
    yaml_rust2::YamlLoader::load_from_str(&text)
        .unwrap()
        .remove(0)
}
