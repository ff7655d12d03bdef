//! `docs/metrics.md` lists every metric family of `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::fake_provider::FakeProvider;
use crate::support::markdown::{assert_lists_exactly, code_spans};
use crate::support::test_app::{TestApp, source_tables};

/// Formats each metric family like a row of the document: name, type, labels.
fn metric_families(page: &str) -> BTreeSet<String> {
    let mut families: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            families.insert(name, (kind, BTreeSet::new()));
        } else if let Some((name, rest)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            let known = if families.contains_key(name) {
                name
            } else {
                base.unwrap()
            };
            let labels = rest
                .rsplit_once('}')
                .unwrap()
                .0
                .split("\",")
                .filter_map(|label| Some(label.split_once("=\"")?.0));
            families
                .get_mut(known)
                .unwrap()
                .1
                .extend(labels.filter(|label| *label != "le"));
        }
    }
    // The operator's own metrics have no row.
    families.remove("own");
    families
        .into_iter()
        .map(|(name, (kind, labels))| format!("{name} {kind} {labels:?}"))
        .collect()
}

#[test]
fn documented_metrics_match() {
    let (good, bad) = (
        FakeProvider::with_json(r#"{"n":1}"#),
        FakeProvider::with_json("x"),
    );
    let text = source_tables(&[("good", good.url()), ("bad", bad.url())])
        + "[derived.twice]\nfrom = [\"good\"]\nextract = '.good.n * 2'\n"
        + "metrics = [{ name = \"own\", value = \".\" }]\n";
    // The metrics of replicas exist even if Redis cannot be reached.
    let text = text.replace(
        "path = \"\"",
        "path = \"\"\nredis = \"redis://127.0.0.1:1\"",
    );
    let app = TestApp::start(&text);
    app.wait_for_json("/resumen", |response| {
        response["resultados"]["twice"]["ok"] == true
    });
    let page = app.get("/metrics").body;
    let rows = crate::support::markdown::markdown_sections("metrics.md")
        .iter()
        .flat_map(crate::support::markdown::MarkdownSection::table_rows)
        .collect::<Vec<_>>();
    let row = |row: &Vec<String>| {
        format!(
            "{} {} {:?}",
            code_spans(&row[0])[0],
            row[1],
            BTreeSet::from_iter(code_spans(&row[2]))
        )
    };
    assert_lists_exactly(
        "docs/metrics.md",
        &rows.iter().map(row).collect(),
        &metric_families(&page),
    );
}
