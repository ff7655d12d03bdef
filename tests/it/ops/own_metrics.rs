//! Metrics under names of the operator's choice, in a running service.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use resumen::process::Clock;

use crate::support::fake_provider::FakeProvider;
use crate::support::markdown::markdown_sections;
use crate::support::process_usage::metric_value;
use crate::support::requirements::{require, require_program};
use crate::support::test_app::{TestApp, parse_test_config};
use crate::support::wait::{wait_for, wait_until};

const NO_STATE: &str = "[store]\npath = \"\"\n";

/// Reads both formats with the reference implementation, and prints the series of one metric.
const READ_LABELS: &str = r#"
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
pages = json.load(sys.stdin)
found = []
for parse, page in ((parser, pages[0]), (openmetrics, pages[1])):
    for family in parse.text_string_to_metric_families(page):
        if family.name in ("hostile", "hits"):
            samples = [[s.labels.get("text", ""), s.value] for s in family.samples]
            found.append([family.type, family.documentation, samples])
json.dump(found, sys.stdout)
"#;

/// Label values that a page must escape, or that look like a part of one.
const HOSTILE_TEXTS: [&str; 9] = [
    "plain",
    "a\"b",
    "\\",
    "\\n",
    "line\nbreak",
    "} 1\n# EOF",
    "\",text=\"x",
    "ñ\u{1F980}\u{202e}",
    "\t\r\u{7f}",
];

/// Waits until the page has this series, and returns the page.
fn page_with(app: &TestApp, series: &str) -> String {
    wait_for(series, || {
        let page = app.get("/metrics").body;
        metric_value(&page, series).map(|_| page)
    })
}

/// The samples of a page whose names begin with one of `prefixes`.
fn samples(page: &str, prefixes: &[&str]) -> Vec<(String, f64)> {
    let lines = page.lines().filter(|line| {
        let mut prefixes = prefixes.iter();
        prefixes.any(|prefix| line.starts_with(prefix))
    });
    let parsed = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    parsed.collect()
}

/// The page for people who come from `json_exporter` shows the series that its configuration gives.
#[test]
fn converted_example_gives_its_series() {
    let sections = markdown_sections("monitoring.md");
    let section = sections
        .iter()
        .find(|section| section.heading == "Instead of json_exporter")
        .unwrap();
    let [water, birds] = section.blocks_in_language("json")[..] else {
        panic!("two answers");
    };
    let (water, birds) = (
        FakeProvider::with_json(water),
        FakeProvider::with_json(birds),
    );
    let config = section.blocks_in_language("toml")[0]
        .replace("http://192.168.1.20/water", &water.url())
        .replace("http://192.168.1.20/birds", &birds.url());
    let app = TestApp::start(&format!("{NO_STATE}{config}"));
    let prefixes = ["water_", "bird_"];
    let expected = samples(section.blocks_in_language("text")[0], &prefixes);
    assert!(expected.len() > 10);
    page_with(&app, "water_read_timestamp_seconds");
    let page = page_with(&app, &expected.last().unwrap().0);
    assert_eq!(samples(&page, &prefixes), expected, "{page}");
    assert!(!page.contains("resumen_value{"), "{page}");
    let help = "# HELP water_starts_total Starts of all pumps\n# TYPE water_starts_total counter\n";
    assert!(page.contains(help), "{page}");
    assert!(water.request_heads()[0].contains("X-Reader: wall"));
}

#[test]
fn failing_filters_are_counted() {
    let data =
        r#"{"rates":[{"name":"EUR","value":1},{"value":2},{"name":"EUR","value":3}],"n":true}"#;
    let provider = FakeProvider::with_json(data);
    let config = format!(
        r#"{NO_STATE}
[sources.a]
url = "{}"
interval = "1h"
[[sources.a.metrics]]
name = "rate"
each = ".rates[]"
value = ".value"
labels = {{ quote = ".name" }}
[[sources.a.metrics]]
name = "absent"
value = ".absent"
[[sources.a.metrics]]
name = "runaway"
value = "last(repeat(1))"
[[sources.a.metrics]]
name = "works"
value = ".n"
[sources.b]
url = "{}"
interval = "1h"
[derived.d]
from = ["a"]
extract = ".a.rates"
metrics = [{{ name = "count", value = "length" }}]
"#,
        provider.url(),
        provider.url()
    );
    let app = TestApp::start(&config);
    let page = page_with(&app, "works");
    let rates = [("rate{quote=\"EUR\"}".to_owned(), 1.0)];
    assert_eq!(samples(&page, &["rate"]), rates);
    assert_eq!(metric_value(&page, "works"), Some(1.0));
    for (metric, errors) in [
        ("rate", 1.0),
        ("absent", 1.0),
        ("runaway", 1.0),
        ("works", 0.0),
    ] {
        let series = format!("resumen_metric_errors_total{{source=\"a\",metric=\"{metric}\"}}");
        assert_eq!(metric_value(&page, &series), Some(errors), "{metric}");
    }
    // Three failures, and a series that is equal to another one.
    let left_out = "resumen_values_left_out{source=\"a\"}";
    assert_eq!(metric_value(&page, left_out), Some(4.0));
    // A source without metrics has its numbers under the general name.
    let page = page_with(&app, "resumen_value{source=\"b\",path=\"rates.0.value\"}");
    assert!(!page.contains("resumen_value{source=\"a\""), "{page}");
    page_with(&app, "count");
}

/// A configuration of a source `a` with these filters as metrics `m0`, `m1` and so on.
fn config_of_filters(provider: &FakeProvider, filters: &[&str]) -> String {
    let metrics = filters.iter().enumerate();
    let metrics = metrics.map(|(n, filter)| format!("{{ name = \"m{n}\", value = '{filter}' }}"));
    let metrics = metrics.collect::<Vec<_>>().join(", ");
    let url = provider.url();
    format!(
        "{NO_STATE}[sources.a]\nurl = \"{url}\"\ninterval = \"200ms\"\nmin_interval = \"0s\"\nttl = \"1m\"\nmetrics = [{metrics}]\n"
    )
}

#[test]
fn endless_metric_delays_no_other() {
    let provider = FakeProvider::with_json("1");
    let filters = [".", "last(repeat(1))", ". + 1"];
    let app = TestApp::start(&config_of_filters(&provider, &filters));
    page_with(&app, "m2");
    provider.set_json("10");
    let clock = Clock::start();
    let begin = clock.now();
    let value = |series| metric_value(&app.get("/metrics").body, series);
    wait_until("the series of the next reading", || {
        value("m2") == Some(11.0)
    });
    // Half a second for the endless filter, instead of two for all of them.
    let duration = clock.now().since(begin);
    assert!(duration < Duration::from_secs(2), "{duration:?}");
    assert_eq!(value("m0"), Some(10.0));
    let errors = value("resumen_metric_errors_total{source=\"a\",metric=\"m1\"}");
    assert_eq!(errors, Some(2.0));
}

#[test]
fn metrics_without_memory_stop_no_other() {
    let provider = FakeProvider::with_json("7");
    let filters = [&["\"x\" * 4000000000 | length"; 5][..], &["."]].concat();
    let app = TestApp::start(&config_of_filters(&provider, &filters));
    let page = page_with(&app, "m5");
    assert_eq!(samples(&page, &["m"]), [("m5".to_owned(), 7.0)]);
    provider.set_json("8");
    let page = || app.get("/metrics").body;
    wait_until("the next reading", || {
        metric_value(&page(), "m5") == Some(8.0)
    });
}

#[test]
fn label_values_survive_both_formats() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prometheus-client/bin/python");
    let hint = "prometheus-client (`pip install prometheus-client`, in target/prometheus-client)";
    if !require(hint, python.exists()) || !require_program("promtool") {
        return;
    }
    let help = r#"A "help" with \ and \n in it"#;
    let provider = FakeProvider::with_json(&serde_json::to_string(&HOSTILE_TEXTS).unwrap());
    let config = format!(
        "{NO_STATE}[sources.a]\nurl = \"{}\"\n
[[sources.a.metrics]]\nname = \"hostile\"\nhelp = '{help}'\neach = 'to_entries[]'
value = '.key / 4'\nlabels = {{ text = \".value\" }}
[[sources.a.metrics]]\nname = \"hits_total\"\nvalue = '1e15'\nlabels = {{ text = '\"\"' }}\n",
        provider.url()
    );
    let app = TestApp::start(&config);
    let text = page_with(&app, "hits_total");
    let open_metrics = app.send_raw(
        "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: application/openmetrics-text\r\n\r\n",
    );
    let pages = serde_json::json!([text, open_metrics.body]).to_string();
    let found = run_with_input(Command::new(python).args(["-c", READ_LABELS]), &pages);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let series = HOSTILE_TEXTS.iter().enumerate();
    let series: Vec<_> = series
        .map(|(key, text)| serde_json::json!([text, key as f64 / 4.0]))
        .collect();
    for format in [0, 2] {
        let expected = serde_json::json!(["gauge", help, series]);
        assert_eq!(found[format], expected, "{text}");
        let counter = &found[format + 1];
        assert_eq!(counter[0], "counter");
        assert_eq!(counter[2], serde_json::json!([["", 1e15]]));
    }
    run_with_input(Command::new("promtool").args(["check", "metrics"]), &text);
}

/// The standard output of a program that must succeed and report nothing.
fn run_with_input(command: &mut Command, input: &str) -> String {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = piped.spawn().unwrap();
    let mut stdin = program.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = program.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && report.is_empty(),
        "{report}\n{input}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Of equal series the first in the order of the configuration stays, while its source is fresh.
#[test]
fn equal_series_of_sources_give_way() {
    let (first, second) = (FakeProvider::with_json("1"), FakeProvider::with_json("2"));
    let config = format!(
        "{NO_STATE}[defaults]\ninterval = \"200ms\"\ntimeout = \"200ms\"\nttl = \"5s\"\nmin_interval = \"0s\"
[[defaults.metrics]]\nname = \"shared\"\nvalue = \".\"\nlabels = {{ unit = '\"W\"' }}
[sources.first]\nurl = \"{}\"\nttl = \"1s\"\n[sources.second]\nurl = \"{}\"\n[sources.none]\nurl = \"{}\"\nmetrics = []\n",
        first.url(),
        second.url(),
        second.url()
    );
    let app = TestApp::start(&config);
    let series = "shared{unit=\"W\"}";
    let value = || metric_value(&app.get("/metrics").body, series);
    wait_until("the first source's series", || value() == Some(1.0));
    let left_out = "resumen_values_left_out{source=\"second\"}";
    wait_until("the second source's series", || {
        metric_value(&app.get("/metrics").body, left_out) == Some(1.0)
    });
    let page = page_with(&app, "resumen_value{source=\"none\",path=\"\"}");
    assert_eq!(samples(&page, &["shared"]).len(), 1, "{page}");
    let left_out = "resumen_values_left_out{source=\"first\"}";
    assert_eq!(metric_value(&page, left_out), Some(0.0));
    first.set_status("503 Service Unavailable");
    wait_until("the second source's series", || value() == Some(2.0));
    second.set_status("503 Service Unavailable");
    wait_until("no series of stale sources", || value().is_none());
}

/// A provider that answers with other labels each time cannot add series without limit.
#[test]
fn changing_labels_are_admitted_slowly() {
    let body = |from: usize| {
        let items: Vec<_> = (from..from + 700).map(|n| n.to_string()).collect();
        format!("[{}]", items.join(","))
    };
    let provider = FakeProvider::with_json(&body(0));
    let config = format!(
        "{NO_STATE}[defaults]\ninterval = \"1s\"\nttl = \"1m\"\n[sources.a]\nurl = \"{}\"
[[sources.a.metrics]]\nname = \"item\"\neach = \".[]\"\nvalue = \".\"\nlabels = {{ id = \".\" }}
[[sources.a.metrics]]\nname = \"items\"\nvalue = \"length\"\n",
        provider.url()
    );
    let app = TestApp::start(&config);
    let count = || app.get("/metrics").body.matches("\nitem{").count();
    wait_until("all first series", || count() == 700);
    provider.set_json(&body(500));
    // 200 known ones, and 300 further ones of the first thousand.
    wait_until("the admitted series", || count() == 500);
    let page = page_with(&app, "items");
    let left_out = "resumen_values_left_out{source=\"a\"}";
    assert_eq!(metric_value(&page, left_out), Some(200.0));
    assert_eq!(metric_value(&page, "items"), Some(700.0));
}

#[test]
fn reload_replaces_metrics() {
    let provider = FakeProvider::with_json(r#"{"a":1,"b":2}"#);
    let config = |metrics: &str| {
        parse_test_config(&format!(
            "{NO_STATE}[sources.a]\nurl = \"{}\"\ninterval = \"1h\"\nmetrics = {metrics}\n",
            provider.url()
        ))
    };
    let old = config(r#"[{ name = "one", value = ".a" }, { name = "two", value = ".b" }]"#);
    let new = config(r#"[{ name = "three", value = ".b" }]"#);
    let none = config("[]");
    let app = TestApp::start_with_config(&old);
    page_with(&app, "two");
    app.service.reloader().reload(&old, &new).unwrap();
    let page = page_with(&app, "three");
    assert_eq!(samples(&page, &["one", "two"]), []);
    app.service.reloader().reload(&new, &none).unwrap();
    let page = page_with(&app, "resumen_value{source=\"a\",path=\"b\"}");
    assert_eq!(samples(&page, &["three"]), []);
    // The reading is the first one's.
    assert_eq!(provider.call_count(), 1);
}
