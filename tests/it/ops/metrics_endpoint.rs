//! `/metrics` as a scraper sees it.

use crate::http::server_with_readings;
use crate::support::scripted_fetch::{
    ScriptedFetch, test_derived_source, test_schedule, test_source,
};
use crate::support::test_server::{TestServer, default_server_settings};

fn metric_value(page: &str, series: &str) -> Option<f64> {
    page.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map(|text| text.parse().unwrap())
}

#[test]
fn responses_count_by_route_and_class() {
    let served = server_with_readings();
    let mut client = served.connect_client();
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
    let served = server_with_readings();
    let etag = served
        .connect_client()
        .get("/resumen")
        .header("etag")
        .unwrap()
        .to_owned();
    let head = "GET /resumen HTTP/1.1\r\nHost: a\r\n";
    let closing = [
        // By the short way, many at once.
        format!(
            "{}{head}Connection: close\r\n\r\n",
            format!("{head}\r\n").repeat(50)
        ),
        // Unchanged, on the short way and on the library's.
        format!(
            "{head}If-None-Match: {etag}\r\n\r\n{head}If-None-Match: {etag}\r\nConnection: close\r\n\r\n"
        ),
        // Refused by the library itself: syntax, size, and what is not HTTP/1 at all.
        "nonsense\r\n\r\n".into(),
        format!("{head}X: {}\r\n\r\n", "y".repeat(70_000)),
        format!("{head}{}\r\n", "X: y\r\n".repeat(200)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        // Refused by a guard, which closes.
        format!("{head}Content-Length: 1\r\n\r\nx"),
    ];
    let sent: Vec<u16> = closing
        .iter()
        .flat_map(|bytes| {
            let mut client = served.connect_client();
            client.send(bytes);
            client
                .read_responses_to_end("GET")
                .into_iter()
                .map(|answer| answer.status)
        })
        .collect();
    assert_eq!(sent.len(), 51 + 2 + 5, "{sent:?}");
    let page = served.connect_client().get("/metrics");
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
    let served = server_with_readings();
    served.publish_failure("usd", resumen::domain::Code::HttpStatus, "HTTP 503");
    let page = served.connect_client().get("/metrics");
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
    let stand = TestServer::start(
        default_server_settings(),
        &sources,
        ScriptedFetch::default(),
    );
    assert_eq!(
        metric_value(
            stand.connect_client().get("/metrics").text(),
            "resumen_source_up{source=\"eur\"}"
        ),
        None
    );
    stand.publish_failure("usd", resumen::domain::Code::HttpStatus, "HTTP 503");
    let page = stand.connect_client().get("/metrics");
    for source in ["usd", "eur"] {
        let shown = |family| {
            metric_value(
                page.text(),
                &format!("resumen_source_{family}{{source=\"{source}\"}}"),
            )
        };
        assert_eq!(
            (shown("up"), shown("consecutive_failures")),
            (Some(0.0), Some(1.0)),
            "{source}"
        );
    }
    let health: serde_json::Value =
        serde_json::from_slice(&stand.connect_client().get("/salud/fuentes").body).unwrap();
    assert_eq!(
        health["checks"]["eur"][0]["consecutive_failures"], 1,
        "{health}"
    );
}

#[test]
fn metric_families_are_declared_once() {
    let page = server_with_readings().connect_client().get("/metrics");
    let mut announced = std::collections::HashSet::new();
    for line in page.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                announced.insert(rest.split(' ').next().unwrap().to_owned()),
                "{rest} comes twice"
            );
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(
                announced.contains(name) || announced.contains(base),
                "{line}"
            );
        }
    }
}

#[test]
fn promtool_accepts_metrics() {
    let Ok(mut promtool) = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
    else {
        return panic_if_promtool_missing();
    };
    let stand = server_with_readings();
    stand.publish_reading(
        "btc",
        r#"{"a.b":1,"a":{"b":2},"q\"\\\n":3,"huge":1e400,"e":-1.5E+3}"#,
    );
    let page = stand.connect_client().get("/metrics");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), &page.body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.is_empty(),
        "{told}\n{}",
        page.text()
    );
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn panic_if_promtool_missing() {
    let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "promtool is missing (Debian's prometheus)");
    eprintln!("skipped: promtool is missing (Debian's prometheus)");
}

#[test]
fn stale_value_is_not_exported() {
    let moment = std::time::Duration::from_millis(300);
    let short = resumen::domain::Schedule {
        interval: moment / 3,
        timeout: moment / 3,
        ..test_schedule()
    };
    let stand = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["provider"], short)],
        ScriptedFetch::default(),
    );
    stand.publish_reading("a", "1");
    let series = "resumen_value{source=\"a\",path=\"\"}";
    assert_eq!(
        metric_value(stand.connect_client().get("/metrics").text(), series),
        Some(1.0)
    );
    let gone = (0..1000).any(|_| {
        std::thread::sleep(moment / 30);
        metric_value(stand.connect_client().get("/metrics").text(), series).is_none()
    });
    assert!(gone, "a stale value is exported");
    let page = stand.connect_client().get("/metrics");
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
