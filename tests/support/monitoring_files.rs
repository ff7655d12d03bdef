//! The files for Prometheus and Grafana, against a real Prometheus that scrapes the real service. Without Debian's
//! `prometheus` those tests are left out, unless `RESUMEN_REQUIRE_ALL=1`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

pub const RULES_FILE: &str = "config/prometheus/alerts.yml";
pub const DASHBOARD_FILE: &str = "config/grafana/dashboards/resumen.json";

/// Whether a program of Prometheus is there.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn is_installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "{program} is missing (Debian's prometheus)");
        eprintln!("skipped: {program} is missing (Debian's prometheus)");
    }
    found
}

/// The dashboard's panels, rows left out.
pub fn dashboard_panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_slice(&std::fs::read(DASHBOARD_FILE).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .filter(|panel| panel["type"] != "row")
        .cloned()
        .collect()
}

/// The names of metrics and recorded series in an expression.
pub fn metric_names(expression: &str) -> Vec<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !part(c));
    let known = ["resumen_", "process_", "source:", "provider:", "route:"];
    words
        .filter(|word| known.iter().any(|begin| word.starts_with(begin)))
        .map(str::to_owned)
        .collect()
}

/// The file's values, by their path.
pub fn load_yaml(path: impl AsRef<Path>) -> yaml_rust2::Yaml {
    let text = std::fs::read_to_string(path).unwrap();
    yaml_rust2::YamlLoader::load_from_str(&text)
        .unwrap()
        .remove(0)
}
