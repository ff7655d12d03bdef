//! Formats through the whole service: the request's `Accept`, the response's charset and coding, the filter's result.

use resumen::domain::{BodyFormat, Code};
use serde_json::json;

use crate::support::fake_provider::FakeProvider;
use crate::support::markdown::{code_spans, markdown_sections};
use crate::support::test_app::TestApp;

/// A source: keys of its table, the provider's script, the expected `Accept` and data.
struct FormatTrial {
    name: &'static str,
    keys: &'static str,
    script: &'static [&'static str],
    accept: &'static str,
    /// The data as JSON text, so that digits count.
    data: &'static str,
}

fn trials() -> Vec<FormatTrial> {
    vec![
        FormatTrial {
            name: "jsonl",
            keys: "format = \"jsonl\"\nextract = 'map(.n) | add'",
            script: &[
                "head 200 | Content-Type: application/x-ndjson",
                "send {\"n\":1}\\n{\"n\":2}\\n",
            ],
            accept: "application/x-ndjson, application/jsonl, */*;q=0.5",
            data: "3",
        },
        FormatTrial {
            name: "text",
            keys: "format = \"text\"",
            script: &[
                "head 200 | Content-Type: text/plain; charset=\"ISO-8859-15\"",
                "send \\xa4\\r\\n",
            ],
            accept: "text/plain, */*;q=0.5",
            data: "\"€\"",
        },
        FormatTrial {
            name: "csv",
            keys: "format = \"csv\"\ncsv = { delimiter = \";\" }\nextract = '.[-1].v | tonumber'",
            script: &[
                "head 200 | Content-Encoding: gzip",
                "send gzip t;v\\n1;2.50\\n2;3.10\\n",
            ],
            accept: "text/csv, */*;q=0.5",
            data: "3.10",
        },
        FormatTrial {
            name: "xml",
            keys: "format = \"xml\"\nextract = '.a.b[\"@c\"]'",
            script: &[
                "head 200 | Content-Type: application/xml | Content-Encoding: deflate",
                "send deflate <a><b c=\"1\"/></a>",
            ],
            accept: "application/xml, text/xml, application/*;q=0.9, */*;q=0.5",
            data: "\"1\"",
        },
        FormatTrial {
            name: "html",
            keys: "format = \"html\"\nselect = \"#p\"\nextract = '.[0].text'",
            script: &[
                "head 200 | Content-Encoding: deflate",
                "send raw-deflate <p id=p>12,50&euro;",
            ],
            accept: "text/html, application/xhtml+xml, */*;q=0.5",
            data: "\"12,50€\"",
        },
        FormatTrial {
            name: "prometheus",
            keys: "format = \"prometheus\"\nheaders = { Accept = \"text/x\" }\nextract = 'map(select(.name == \"up\"))[0].value'",
            script: &[
                "head 200 | Content-Encoding: identity, utf-8",
                "send go_info 1\\nup{a=\"b\"} 5\\n",
            ],
            accept: "text/x",
            data: "5",
        },
        FormatTrial {
            name: "json",
            keys: "",
            script: &[
                "head 200 | Content-Type: application/json; charset=windows-1252",
                "send \"\\x80\"",
            ],
            accept: "application/json",
            data: "\"€\"",
        },
    ]
}

#[test]
fn service_converts_every_format() {
    let trials = trials();
    let providers: Vec<FakeProvider> = trials
        .iter()
        .map(|trial| FakeProvider::with_script(trial.script))
        .collect();
    let mut config = String::from("[store]\npath = \"\"\n");
    for (trial, provider) in trials.iter().zip(&providers) {
        let table = format!(
            "[sources.{}]\nurl = \"{}\"\n{}\n",
            trial.name,
            provider.url(),
            trial.keys
        );
        config.push_str(&table);
    }
    let app = TestApp::start(&config);
    let body = app.get_json("/resumen?fresh=1&timeout=20");
    for (trial, provider) in trials.iter().zip(&providers) {
        let entry = &body["resultados"][trial.name];
        assert_eq!(entry["data"].to_string(), trial.data, "{entry}");
        let head = provider.request_heads().remove(0);
        let accept = format!("\r\nAccept: {}\r\n", trial.accept);
        assert!(head.contains(&accept), "{head}");
    }
}

#[test]
fn defaults_and_source_give_formats_to_providers() {
    let xml = FakeProvider::with_script(&["head 200", "send <a>1</a>"]);
    let csv = FakeProvider::with_script(&["head 200", "send 5|6\\n"]);
    let config = format!(
        "[store]\npath = \"\"\n\
         [defaults]\nformat = \"csv\"\ncsv = {{ delimiter = \"|\" }}\n\
         [sources.a]\ncsv = {{ header = false }}\nextract = '.'\n\
         [[sources.a.providers]]\nurl = \"{}\"\nformat = \"xml\"\nextract = 'error(\"no\")'\n\
         [[sources.a.providers]]\nurl = \"{}\"\n",
        xml.url(),
        csv.url()
    );
    let app = TestApp::start(&config);
    let body = app.get_json("/resumen?fresh=1&timeout=20");
    assert_eq!(
        body["resultados"]["a"]["data"],
        json!([["5", "6"]]),
        "{body}"
    );
}

#[test]
fn body_of_another_format_is_invalid() {
    let provider = FakeProvider::with_script(&["head 200", "send {\"a\":1}"]);
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\nformat = \"xml\"\n",
        provider.url()
    ));
    let body = app.get_json("/resumen?fresh=1&timeout=20");
    let entry = &body["resultados"]["a"];
    assert_eq!(entry["code"], Code::InvalidBody.as_str(), "{entry}");
    let message = entry["error"].as_str().unwrap();
    assert!(
        message.starts_with("the body is JSON: set format = \"json\"; not XML: "),
        "{message}"
    );
}

#[test]
fn format_docs_list_every_format() {
    let rows = markdown_sections("formats.md").swap_remove(0).table_rows();
    let listed: Vec<&str> = rows.iter().flat_map(|row| code_spans(&row[0])).collect();
    assert_eq!(listed, BodyFormat::NAMES);
    for trial in trials().iter().filter(|trial| trial.accept != "text/x") {
        let row = rows.iter().find(|row| code_spans(&row[0]) == [trial.name]);
        assert_eq!(code_spans(&row.unwrap()[2]), [trial.accept]);
    }
}
