//! `docs/metrics.md` lists what `/metrics` answers.

use std::collections::{BTreeMap, BTreeSet};

use super::{compare, ticked};
use crate::support::served::{Served, sources};
use crate::support::stub::Stub;

/// Each family of a page as a row of the document says it: name, type, labels.
fn families(page: &str) -> BTreeSet<String> {
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
    families
        .into_iter()
        .map(|(name, (kind, labels))| format!("{name} {kind} {labels:?}"))
        .collect()
}

#[test]
fn every_metric_is_in_the_document_and_every_one_there_exists() {
    let (good, bad) = (Stub::json(r#"{"n":1}"#), Stub::json("x"));
    let text = sources(&[("good", good.url()), ("bad", bad.url())])
        + "[derived.twice]\nfrom = [\"good\"]\nextract = '.good.n * 2'\n";
    // Nobody is there; the families of sharing are.
    let text = text.replace(
        "path = \"\"",
        "path = \"\"\nredis = \"redis://127.0.0.1:1\"",
    );
    let served = Served::start(&text);
    served.until("/resumen", |answer| {
        answer["resultados"]["twice"]["ok"] == true
    });
    let page = String::from_utf8(served.get("/metrics").body).unwrap();
    let rows = super::parts("metrics.md")
        .iter()
        .flat_map(super::Part::rows)
        .collect::<Vec<_>>();
    let row = |row: &Vec<String>| {
        format!(
            "{} {} {:?}",
            ticked(&row[0])[0],
            row[1],
            BTreeSet::from_iter(ticked(&row[2]))
        )
    };
    compare(
        "docs/metrics.md",
        &rows.iter().map(row).collect(),
        &families(&page),
    );
}
