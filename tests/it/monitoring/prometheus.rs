//! `promtool` over the files, and a Prometheus that scrapes the service and evaluates every query of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resumen::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{LIMIT, Program};
use crate::support::served::{Served, sources};
use crate::support::stub::Stub;

use super::{RULES, installed, names, panels, yaml};

const CONFIGURATION: &str = "config/prometheus/prometheus.yml";
const CASES: &str = "tests/prometheus/alerts.test.yml";
const DOCUMENT: &str = "docs/monitoring.md";

/// What the configuration says to do for a service on this machine.
const DISCOVERED: &str =
    "dns_sd_configs: [{ names: [resumen], type: A, port: 8080, refresh_interval: 10s }]\n";

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    if installed("promtool") {
        promtool(&["check", "config", CONFIGURATION]);
        promtool(&["check", "rules", "--lint-fatal", RULES]);
    }
}

#[test]
fn each_alert_speaks_when_it_must_and_is_quiet_otherwise() {
    if installed("promtool") {
        promtool(&["test", "rules", CASES]);
    }
    let cases = fs::read_to_string(CASES).unwrap();
    for alert in alerts() {
        assert!(
            cases.contains(&format!("\"{alert}\"")),
            "no case makes {alert} speak"
        );
    }
}

/// The names of all alerts; each says what is the matter, how bad it is, and what to do, and stands in the document.
fn alerts() -> Vec<String> {
    let file = yaml(RULES);
    let document = fs::read_to_string(DOCUMENT).unwrap();
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
        assert!(document.contains(&row), "{DOCUMENT} has no row {row}");
        alerts.push(name.to_owned());
    }
    alerts
}

/// A Prometheus with the shipped configuration, but for its pace and its target.
struct Prometheus {
    address: SocketAddr,
    _program: Program,
    _folder: TempDir,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(CONFIGURATION).unwrap();
        assert!(text.contains(DISCOVERED), "{text}");
        let local = format!("static_configs: [{{ targets: [\"{target}\"] }}]\n");
        let path = folder.path().join("prometheus.yml");
        fs::write(
            &path,
            text.replace(DISCOVERED, &local).replace(": 15s", ": 200ms"),
        )
        .unwrap();
        fs::copy(RULES, folder.path().join("alerts.yml")).unwrap();
        let program = Program::start(&mut command(&path));
        let line = program.err_line("\"Listening on\"");
        let address = line
            .split("address=")
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        program.err_line("Server is ready");
        Self {
            address,
            _program: program,
            _folder: folder,
        }
    }

    /// What its API says to a GET.
    fn ask(&self, target: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
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
    fn has(&self, expression: &str) -> bool {
        let target = format!(
            "/api/v1/query?query={}",
            utf8_percent_encode(expression, NON_ALPHANUMERIC)
        );
        let result = self.ask(&target)["result"].clone();
        let number = |series: &Value| {
            series["value"][1]
                .as_str()
                .is_some_and(|text| text != "NaN")
        };
        result.as_array().unwrap().iter().any(number)
    }

    /// Every rule as it stands.
    fn rules(&self) -> Vec<Value> {
        let groups = self.ask("/api/v1/rules")["groups"].clone();
        let groups = groups.as_array().unwrap().iter();
        groups
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }
}

/// On a free port, which its log tells.
fn command(configuration: &Path) -> Command {
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
fn service() -> (Served, Stub) {
    let good = Stub::json(r#"{"usd": 97123.45}"#);
    let bad = Stub::json("{}");
    bad.change(|answer| answer.status = "503 Service Unavailable");
    let url = |stub: &Stub| format!("http://{}/", stub.address);
    let pace = "[defaults]\ninterval = \"500ms\"\ntimeout = \"400ms\"\nmin_interval = \"0s\"\n";
    let fetched = sources(&[("btc", url(&good)), ("usd", url(&bad))]);
    let derived = "[derived.half]\nfrom = [\"btc\"]\nextract = \"{usd: (.btc.usd / 2)}\"\n";
    (Served::start(&format!("{pace}{fetched}{derived}")), bad)
}

/// Waits until nothing is left of `open`; polls the service meanwhile, so that there are requests to count.
fn until_none(served: &Served, mut open: impl FnMut() -> Vec<String>) {
    let clock = Clock::start();
    let by = clock.instant() + 3 * LIMIT;
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
fn every_query_of_the_dashboard_and_of_the_alerts_has_data() {
    if !installed("prometheus") {
        return;
    }
    let (served, _bad) = service();
    let prometheus = Prometheus::scraping(served.address);

    let shown = panels().iter().flat_map(queries).collect::<Vec<_>>();
    assert!(shown.len() > 20, "{shown:?}");
    until_none(&served, || {
        shown
            .iter()
            .filter(|query| !prometheus.has(query))
            .cloned()
            .collect()
    });

    until_none(&served, || {
        let rules = prometheus
            .rules()
            .into_iter()
            .filter(|rule| rule["health"] != "ok");
        rules.map(|rule| rule.to_string()).collect()
    });
    let rules = prometheus.rules();
    let used: Vec<String> = rules
        .iter()
        .flat_map(|rule| names(rule["query"].as_str().unwrap()))
        .collect();
    assert!(used.len() > 15, "{used:?}");
    until_none(&served, || {
        used.iter()
            .filter(|name| !prometheus.has(&format!("count({name})")))
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
fn queries(panel: &Value) -> Vec<String> {
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
