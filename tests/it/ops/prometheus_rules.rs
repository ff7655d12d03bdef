//! `promtool` over the files, and a Prometheus that scrapes the service and evaluates every query of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resumen::process::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::child_process::{PROCESS_TIMEOUT, TestProcess};
use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};

use crate::support::monitoring_files::{
    RULES_FILE, dashboard_panels, is_installed, load_yaml, metric_names,
};

const PROMETHEUS_CONFIG: &str = "config/prometheus/prometheus.yml";
const ALERT_TESTS: &str = "tests/prometheus/alerts.test.yml";
const MONITORING_PAGE: &str = "docs/monitoring.md";

/// What the configuration says to do for a service on this machine.
const DNS_DISCOVERY_CONFIG: &str =
    "dns_sd_configs: [{ names: [resumen], type: A, port: 8080, refresh_interval: 10s }]\n";

fn run_promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn promtool_accepts_config_and_rules() {
    if is_installed("promtool") {
        run_promtool(&["check", "config", PROMETHEUS_CONFIG]);
        run_promtool(&["check", "rules", "--lint-fatal", RULES_FILE]);
    }
}

#[test]
fn alerts_fire_only_when_due() {
    if is_installed("promtool") {
        run_promtool(&["test", "rules", ALERT_TESTS]);
    }
    let cases = fs::read_to_string(ALERT_TESTS).unwrap();
    for alert in documented_alerts() {
        assert!(
            cases.contains(&format!("\"{alert}\"")),
            "no case makes {alert} speak"
        );
    }
}

/// The names of all alerts; each says what is the matter, how bad it is, and what to do, and stands in the document.
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

/// A Prometheus with the shipped configuration, but for its pace and its target.
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

    /// What its API says to a GET.
    fn query_api(&self, target: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PROCESS_TIMEOUT)).unwrap();
        write!(stream, "GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let answer: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(answer["status"], "success", "{target}: {answer}");
        answer["data"].clone()
    }

    /// Whether the expression has a value that is a number.
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

    /// Every rule as it stands.
    fn loaded_rules(&self) -> Vec<Value> {
        let groups = self.query_api("/api/v1/rules")["groups"].clone();
        let groups = groups.as_array().unwrap().iter();
        groups
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }
}

/// On a free port, which its log tells.
fn prometheus_command(configuration: &Path) -> Command {
    let mut command = Command::new("prometheus");
    let data = configuration.with_file_name("data");
    command
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A service with something of everything: a source that answers, one that fails, one that is derived.
fn start_service() -> (TestApp, FakeProvider) {
    let good = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let bad = FakeProvider::with_json("{}");
    bad.update_response(|answer| answer.status = "503 Service Unavailable");
    let url = |stub: &FakeProvider| format!("http://{}/", stub.address);
    let pace = "[defaults]\ninterval = \"500ms\"\ntimeout = \"400ms\"\nmin_interval = \"0s\"\n";
    let fetched = source_tables(&[("btc", url(&good)), ("usd", url(&bad))]);
    let derived = "[derived.half]\nfrom = [\"btc\"]\nextract = \"{usd: (.btc.usd / 2)}\"\n";
    (TestApp::start(&format!("{pace}{fetched}{derived}")), bad)
}

/// Waits until nothing is left of `open`; polls the service meanwhile, so that there are requests to count.
fn wait_until_empty(served: &TestApp, mut open: impl FnMut() -> Vec<String>) {
    let clock = Clock::start();
    let by = clock.instant() + 3 * PROCESS_TIMEOUT;
    loop {
        served.get("/resumen");
        let left = open();
        if left.is_empty() {
            return;
        }
        assert!(clock.instant() < by, "no data: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn dashboard_and_alert_queries_have_data() {
    if !is_installed("prometheus") {
        return;
    }
    let (served, _bad) = start_service();
    let prometheus = PrometheusServer::start_scraping(served.address);

    let shown = dashboard_panels()
        .iter()
        .flat_map(panel_queries)
        .collect::<Vec<_>>();
    assert!(shown.len() > 20, "{shown:?}");
    wait_until_empty(&served, || {
        shown
            .iter()
            .filter(|query| !prometheus.has_data(query))
            .cloned()
            .collect()
    });

    wait_until_empty(&served, || {
        let rules = prometheus
            .loaded_rules()
            .into_iter()
            .filter(|rule| rule["health"] != "ok");
        rules.map(|rule| rule.to_string()).collect()
    });
    let rules = prometheus.loaded_rules();
    let used: Vec<String> = rules
        .iter()
        .flat_map(|rule| metric_names(rule["query"].as_str().unwrap()))
        .collect();
    assert!(used.len() > 15, "{used:?}");
    wait_until_empty(&served, || {
        used.iter()
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

/// A panel's queries with Grafana's variables filled in.
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
