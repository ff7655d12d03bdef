//! `/metrics` in `OpenMetrics` 1.0.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use resumen::domain::Code;

use crate::http::server_with_readings;
use crate::support::requirements::require;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Parses both formats with the reference implementation, whose `OpenMetrics` parser rejects what the
/// specification forbids, and compares their series.
const COMPARISON: &str = r#"
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

def series(families):
    found = set()
    for family in families:
        for sample in family.samples:
            labels = dict(sample.labels)
            if "le" in labels:
                labels["le"] = float(labels["le"])
            key = (sample.name, json.dumps(labels, sort_keys=True))
            assert key not in found, f"repeated: {key}"
            found.add(key)
    return found

pages = json.load(sys.stdin)
families = list(openmetrics.text_string_to_metric_families(pages["openmetrics"]))
text = series(parser.text_string_to_metric_families(pages["text"]))
difference = series(families) ^ text
assert not difference, f"in one format only: {sorted(difference)}"
types = {family.name: family.type for family in families}
assert types["resumen_build"] == "info", types
assert types["resumen_source_fetches"] == "counter", types
assert types["resumen_source_fetch_duration_seconds"] == "histogram", types
print(len(text))
"#;

#[test]
fn metrics_format_follows_accept() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    let cases = [
        (&[][..], TEXT),
        (&["Accept: */*"], TEXT),
        (&["Accept: image/png"], TEXT),
        (&["Accept: application/openmetrics-text;q=0"], TEXT),
        (&["Accept: application/openmetrics-text"], OPEN_METRICS),
        (
            &[
                "Accept: text/plain;q=0.5",
                "Accept: application/openmetrics-text;version=1.0.0",
            ],
            OPEN_METRICS,
        ),
    ];
    for (headers, content_type) in cases {
        for method in ["GET", "HEAD"] {
            let response = client.send_request(method, "/metrics", headers);
            assert_eq!(response.status, 200);
            let found = response.header("content-type");
            assert_eq!(found, Some(content_type), "{method} {headers:?}");
            assert_eq!(response.header("vary"), Some("Accept"));
            let is_complete = response.text().ends_with("\n# EOF\n");
            assert_eq!(is_complete, method == "GET" && content_type == OPEN_METRICS);
        }
    }
}

#[test]
fn reference_parser_reads_open_metrics() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prometheus-client/bin/python");
    let hint = "prometheus-client (`pip install prometheus-client`, in target/prometheus-client)";
    if !require(hint, python.exists()) {
        return;
    }
    let server = server_with_readings();
    let data =
        r#"{"a.b":1,"a":{"b":2},"q\"\\\n":3,"huge":1e400,"e":-1.5E+3,"big":12345678901234567890}"#;
    server.publish_reading("btc", data);
    server.publish_failure("usd", Code::HttpStatus, "HTTP 503");
    let mut client = server.connect_client();
    let text = client.get("/metrics").text().to_owned();
    let accept = format!("Accept: {OPEN_METRICS}");
    let open_metrics = client.send_request("GET", "/metrics", &[&accept]);
    let pages = serde_json::json!({"text": text, "openmetrics": open_metrics.text()});
    let mut parser = Command::new(python)
        .args(["-c", COMPARISON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = parser.stdin.take().unwrap();
    stdin.write_all(pages.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = parser.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{}", open_metrics.text());
    let count: usize = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    assert!(count > 200, "{count} series");
}
