//! Prometheus rules and dashboard queries, checked by `promtool` and by a real Prometheus that scrapes the
//! service.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resumen::process::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::child_process::TestProcess;
use crate::support::fake_provider::FakeProvider;
use crate::support::http_reply::send_request;
use crate::support::requirements::require_program;
use crate::support::test_app::{TestApp, source_tables};
use crate::support::wait::WAIT_LIMIT;

use crate::support::monitoring_files::{RULES_FILE, dashboard_panels, load_yaml, metric_names};

const PROMETHEUS_CONFIG: &str = "config/prometheus/prometheus.yml";
const ALERT_TESTS: &str = "tests/prometheus/alerts.test.yml";
const MONITORING_PAGE: &str = "docs/monitoring.md";

/// The line of the configuration that a service on this machine replaces.
const DNS_DISCOVERY_CONFIG: &str =
    "dns_sd_configs: [{ names: [resumen], type: A, port: 8080, refresh_interval: 10s }]\n";

fn run_promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
}

#[test]
fn promtool_accepts_config_and_rules() {
    if require_program("promtool") {
        run_promtool(&["check", "config", PROMETHEUS_CONFIG]);
        run_promtool(&["check", "rules", "--lint-fatal", RULES_FILE]);
    }
}

#[test]
fn alerts_fire_only_when_due() {
    if require_program("promtool") {
        run_promtool(&["test", "rules", ALERT_TESTS]);
    }
    let cases = fs::read_to_string(ALERT_TESTS).unwrap();
    for alert in documented_alerts() {
        assert!(
            cases.contains(&format!("\"{alert}\"")),
            "no test makes {alert} fire"
        );
    }
}

/// The names of all alerts. Each has a summary, a description, a severity and a row in the document.
fn documented_alerts() -> Vec<String> {
    let file = load_yaml(RULES_FILE);
    let document = fs::read_to_string(MONITORING_PAGE).unwrap();
    let groups = file["groups"].as_vec().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_vec().unwrap());
    let mut alerts = Vec::new();
    for rule in rules {
        let Some(name) = rule["alert"].as_str() else {
            continue;
        };
        let text = |key: &str| {
            rule["annotations"][key]
                .as_str()
                .unwrap_or_else(|| panic!("{name} has no {key}"))
        };
        assert!(
            text("summary").len() < 120 && text("description").len() > 60,
            "{name}"
        );
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(matches!(severity, "critical" | "warning"), "{name}");
        let row = format!(
            "| {name} | {severity} | {} |",
            rule["for"].as_str().unwrap_or("–")
        );
        assert!(
            document.contains(&row),
            "{MONITORING_PAGE} has no row {row}"
        );
        alerts.push(name.to_owned());
    }
    alerts
}

/// A Prometheus with the shipped configuration, but with another interval and target.
struct PrometheusServer {
    address: SocketAddr,
    _process: TestProcess,
    _folder: TempDir,
}

impl PrometheusServer {
    fn start_scraping(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(PROMETHEUS_CONFIG).unwrap();
        assert!(text.contains(DNS_DISCOVERY_CONFIG), "{text}");
        let local = format!("static_configs: [{{ targets: [\"{target}\"] }}]\n");
        let path = folder.path().join("prometheus.yml");
        fs::write(
            &path,
            text.replace(DNS_DISCOVERY_CONFIG, &local)
                .replace(": 15s", ": 200ms"),
        )
        .unwrap();
        fs::copy(RULES_FILE, folder.path().join("alerts.yml")).unwrap();
        let program = TestProcess::start(&mut prometheus_command(&path));
        let line = program.wait_for_stderr_line("\"Listening on\"");
        let address = line
            .split("address=")
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        program.wait_for_stderr_line("Server is ready");
        Self {
            address,
            _process: program,
            _folder: folder,
        }
    }

    /// The data of an API response.
    fn query_api(&self, target: &str) -> Value {
        // Prometheus sends no chunks to a client of HTTP/1.0.
        let request = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut reply = send_request(&self.address.to_string(), &request).json();
        assert_eq!(reply["status"], "success", "{target}: {reply}");
        reply["data"].take()
    }

    /// Whether the expression has a numeric value.
    fn has_data(&self, expression: &str) -> bool {
        let target = format!(
            "/api/v1/query?query={}",
            utf8_percent_encode(expression, NON_ALPHANUMERIC)
        );
        let result = self.query_api(&target)["result"].clone();
        let number = |series: &Value| {
            series["value"][1]
                .as_str()
                .is_some_and(|text| text != "NaN")
        };
        result.as_array().unwrap().iter().any(number)
    }

    /// All rules with their states.
    fn loaded_rules(&self) -> Vec<Value> {
        let groups = self.query_api("/api/v1/rules")["groups"].clone();
        let groups = groups.as_array().unwrap().iter();
        groups
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }
}

/// Prometheus on a free port, which it logs.
fn prometheus_command(configuration: &Path) -> Command {
    let mut command = Command::new("prometheus");
    let data = configuration.with_file_name("data");
    command
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .stdin(Stdio::null());
    command
}

/// A service with a good, a failing and a derived source.
fn start_service() -> (TestApp, [FakeProvider; 2]) {
    let good = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let bad = FakeProvider::with_status("503 Service Unavailable");
    let defaults = "[defaults]\ninterval = \"500ms\"\ntimeout = \"400ms\"\nmin_interval = \"0s\"\n";
    let fetched = source_tables(&[("btc", good.url()), ("usd", bad.url())]);
    let derived = "[derived.half]\nfrom = [\"btc\"]\nextract = \"{usd: (.btc.usd / 2)}\"\n";
    let app = TestApp::start(&format!("{defaults}{fetched}{derived}"));
    (app, [good, bad])
}

/// Sends requests to the service until `missing` is empty.
fn wait_until_empty(app: &TestApp, mut missing: impl FnMut() -> Vec<String>) {
    let clock = Clock::start();
    let end = clock.instant() + 2 * WAIT_LIMIT;
    loop {
        app.get("/resumen");
        let missing = missing();
        if missing.is_empty() {
            return;
        }
        assert!(clock.instant() < end, "no data: {missing:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn dashboard_and_alert_queries_have_data() {
    if !require_program("prometheus") {
        return;
    }
    let (app, _providers) = start_service();
    let prometheus = PrometheusServer::start_scraping(app.address);

    let queries = dashboard_panels()
        .iter()
        .flat_map(panel_queries)
        .collect::<Vec<_>>();
    assert!(queries.len() > 20, "{queries:?}");
    wait_until_empty(&app, || {
        queries
            .iter()
            .filter(|query| !prometheus.has_data(query))
            .cloned()
            .collect()
    });

    wait_until_empty(&app, || {
        let rules = prometheus
            .loaded_rules()
            .into_iter()
            .filter(|rule| rule["health"] != "ok");
        rules.map(|rule| rule.to_string()).collect()
    });
    let rules = prometheus.loaded_rules();
    let names: Vec<String> = rules
        .iter()
        .flat_map(|rule| metric_names(rule["query"].as_str().unwrap()))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    wait_until_empty(&app, || {
        names
            .iter()
            .filter(|name| !prometheus.has_data(&format!("count({name})")))
            .cloned()
            .collect()
    });

    let state =
        |name: &str| rules.iter().find(|rule| rule["name"] == name).unwrap()["state"].clone();
    for (alert, expected) in [
        ("ResumenSourceFailing", "pending"),
        ("ResumenSourceNeverAnswered", "pending"),
        ("ResumenDown", "inactive"),
        ("ResumenRefresherSilent", "inactive"),
        ("ResumenStoreErrors", "inactive"),
    ] {
        assert_eq!(state(alert), expected, "{alert}");
    }
}

/// The queries of a panel with values for the variables of Grafana.
fn panel_queries(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().unwrap().iter();
    let filled = targets.map(|target| {
        let expression = target["expr"].as_str().unwrap();
        expression
            .replace("$__rate_interval", "10s")
            .replace("$instance", ".*")
            .replace("$source", ".*")
    });
    filled.collect()
}
