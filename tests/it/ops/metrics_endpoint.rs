//! The content of `/metrics`.

use std::time::Duration;

use resumen::domain::{Code, Schedule};

use crate::http::server_with_readings;
use crate::support::process_usage::metric_value;
use crate::support::requirements::require_program;
use crate::support::scripted_fetch::{
    ScriptedFetch, test_derived_source, test_schedule, test_source,
};
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::wait::wait_until;

#[test]
fn responses_count_by_route_and_class() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    for path in [
        "/resumen",
        "/resumen?_=1",
        "/resumen?sources=btc",
        "/resumen?x",
        "/nothing",
        "/evil\"path",
        "/salud",
    ] {
        client.get(path);
    }
    let page = client.get("/metrics");
    assert_eq!(
        page.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = page.text();
    let requests = |route, class| {
        metric_value(
            page,
            &format!("resumen_http_requests_total{{route=\"{route}\",status=\"{class}\"}}"),
        )
    };
    assert_eq!(requests("/resumen", "2xx"), Some(3.0));
    assert_eq!(requests("/resumen", "4xx"), Some(1.0));
    assert_eq!(requests("other", "4xx"), Some(2.0));
    assert_eq!(
        metric_value(
            page,
            "resumen_http_request_duration_seconds_count{route=\"/resumen\"}"
        ),
        Some(4.0)
    );
    assert_eq!(metric_value(page, "resumen_http_connections"), Some(1.0));
    assert!(metric_value(page, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(!page.contains("evil") && !page.contains("nothing"));
}

#[test]
fn every_response_is_counted() {
    let server = server_with_readings();
    let etag = server
        .connect_client()
        .get("/resumen")
        .header("etag")
        .unwrap()
        .to_owned();
    let head = "GET /resumen HTTP/1.1\r\nHost: a\r\n";
    let connections = [
        // Pipelined requests on the fast path.
        format!(
            "{}{head}Connection: close\r\n\r\n",
            format!("{head}\r\n").repeat(50)
        ),
        // 304 on the fast path and from hyper.
        format!(
            "{head}If-None-Match: {etag}\r\n\r\n{head}If-None-Match: {etag}\r\nConnection: close\r\n\r\n"
        ),
        // Rejected by hyper: malformed, too large, not HTTP/1.
        "nonsense\r\n\r\n".into(),
        format!("{head}X: {}\r\n\r\n", "y".repeat(70_000)),
        format!("{head}{}\r\n", "X: y\r\n".repeat(200)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        // Rejected by the validation, which closes the connection.
        format!("{head}Content-Length: 1\r\n\r\nx"),
    ];
    let sent: Vec<u16> = connections
        .iter()
        .flat_map(|bytes| {
            let mut client = server.connect_client();
            client.send(bytes);
            client
                .read_responses_to_end("GET")
                .into_iter()
                .map(|response| response.status)
        })
        .collect();
    assert_eq!(sent.len(), 51 + 2 + 5, "{sent:?}");
    let page = server.connect_client().get("/metrics");
    let page = page.text();
    let requests = |route, class| {
        metric_value(
            page,
            &format!("resumen_http_requests_total{{route=\"{route}\",status=\"{class}\"}}"),
        )
    };
    assert_eq!(requests("/resumen", "2xx"), Some(52.0));
    assert_eq!(requests("/resumen", "3xx"), Some(2.0));
    assert_eq!(requests("/resumen", "4xx"), Some(1.0));
    assert_eq!(requests("other", "4xx"), Some(4.0));
    for (route, count) in [("/resumen", 55.0), ("other", 4.0)] {
        let series = format!("resumen_http_request_duration_seconds_count{{route=\"{route}\"}}");
        assert_eq!(metric_value(page, &series), Some(count));
        let last = format!(
            "resumen_http_request_duration_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}}"
        );
        assert_eq!(metric_value(page, &last), Some(count));
    }
}

#[test]
fn source_metrics_are_exported() {
    let server = server_with_readings();
    server.publish_failure("usd", Code::HttpStatus, "HTTP 503");
    let page = server.connect_client().get("/metrics");
    let page = page.text();
    assert_eq!(
        metric_value(page, "resumen_source_up{source=\"btc\"}"),
        Some(1.0)
    );
    assert_eq!(
        metric_value(page, "resumen_source_stale{source=\"btc\"}"),
        Some(0.0)
    );
    assert_eq!(
        metric_value(page, "resumen_value{source=\"btc\",path=\"usd\"}"),
        Some(97123.45)
    );
    assert!(metric_value(page, "resumen_snapshot_timestamp_seconds").unwrap() > 1.6e9);
}

#[test]
fn derived_failures_count_with_inputs() {
    let sources = [
        test_source("usd", &["provider"], test_schedule()),
        test_derived_source("eur", &["usd"], ".usd"),
    ];
    let server = TestServer::start(
        default_server_settings(),
        &sources,
        ScriptedFetch::default(),
    );
    assert_eq!(
        metric_value(
            server.connect_client().get("/metrics").text(),
            "resumen_source_up{source=\"eur\"}"
        ),
        None
    );
    server.publish_failure("usd", Code::HttpStatus, "HTTP 503");
    let page = server.connect_client().get("/metrics");
    for source in ["usd", "eur"] {
        let value = |family| {
            metric_value(
                page.text(),
                &format!("resumen_source_{family}{{source=\"{source}\"}}"),
            )
        };
        assert_eq!(
            (value("up"), value("consecutive_failures")),
            (Some(0.0), Some(1.0)),
            "{source}"
        );
    }
    let health: serde_json::Value =
        serde_json::from_slice(&server.connect_client().get("/salud/fuentes").body).unwrap();
    assert_eq!(
        health["checks"]["eur"][0]["consecutive_failures"], 1,
        "{health}"
    );
}

#[test]
fn metric_families_are_declared_once() {
    let page = server_with_readings().connect_client().get("/metrics");
    let mut declared = std::collections::HashSet::new();
    for line in page.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                declared.insert(rest.split(' ').next().unwrap().to_owned()),
                "{rest} is repeated"
            );
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(declared.contains(name) || declared.contains(base), "{line}");
        }
    }
}

#[test]
fn promtool_accepts_metrics() {
    if !require_program("promtool") {
        return;
    }
    let server = server_with_readings();
    let data = r#"{"a.b":1,"a":{"b":2},"q\"\\\n":3,"huge":1e400,"e":-1.5E+3}"#;
    server.publish_reading("btc", data);
    let page = server.connect_client().get("/metrics");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics");
    std::fs::write(&path, &page.body).unwrap();
    let mut command = std::process::Command::new("promtool");
    command.args(["check", "metrics"]);
    let output = command
        .stdin(std::fs::File::open(path).unwrap())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    let is_accepted = output.status.success() && report.is_empty();
    assert!(is_accepted, "{report}\n{}", page.text());
}

#[test]
fn stale_value_is_not_exported() {
    let schedule = Schedule {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        ..test_schedule()
    };
    let server = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["provider"], schedule)],
        ScriptedFetch::default(),
    );
    server.publish_reading("a", "1");
    let series = "resumen_value{source=\"a\",path=\"\"}";
    assert_eq!(
        metric_value(server.connect_client().get("/metrics").text(), series),
        Some(1.0)
    );
    wait_until("the end of a stale value", || {
        metric_value(server.connect_client().get("/metrics").text(), series).is_none()
    });
    let page = server.connect_client().get("/metrics");
    assert_eq!(
        metric_value(page.text(), "resumen_source_stale{source=\"a\"}"),
        Some(1.0)
    );
}

#[test]
fn successes_start_at_zero() {
    let page = server_with_readings().connect_client().get("/metrics");
    let series = "resumen_source_fetches_total{source=\"btc\",provider=\"provider\",result=\"ok\"}";
    assert_eq!(metric_value(page.text(), series), Some(0.0));
    assert_eq!(
        metric_value(
            page.text(),
            "resumen_source_fetch_duration_seconds_count{source=\"btc\"}"
        ),
        Some(0.0)
    );
}

/// A provider that answers with other keys each time, such as times, cannot add series without limit.
#[test]
fn changing_paths_are_admitted_slowly() {
    let server = server_with_readings();
    let left_out = "resumen_values_left_out{source=\"btc\"}";
    let mut client = server.connect_client();
    for round in 0..5 {
        // Few enough that the page stays small: a large one is served again for 250 ms.
        let members = (0..400).map(|n| format!("\"key{round}-{n}\":{n}"));
        let members = members.collect::<Vec<_>>().join(",");
        server.publish_reading("btc", &format!("{{{members}}}"));
        for _ in 0..2 {
            let page = client.get("/metrics");
            let page = page.text();
            let exported = page.matches("resumen_value{source=\"btc\"").count();
            let expected = [400, 400, 200, 0, 0][round];
            // One more for each 36 s that the test takes.
            assert!(
                (expected..expected + 3).contains(&exported),
                "{round}: {exported}"
            );
            assert_eq!(metric_value(page, left_out), Some((400 - exported) as f64));
        }
    }
}
