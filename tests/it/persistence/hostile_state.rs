//! State files with a right checksum and content that this program never writes.

use std::fs::{self, File};
use std::path::Path;

use resumen::store::{LoadedState, encode_state_file};
use tempfile::TempDir;

use super::state_file::{SAMPLE_DATA, state_taken_at, time_at};
use crate::support::child_process::TestProcess;
use crate::support::http_reply::http_get;
use crate::support::open_claimed_state_file;
use crate::support::service_process::{ServiceFixture, ServiceProcess, listening_url};

/// `text` with `part` replaced in its content, under a right checksum.
fn forge_state(text: &str, part: &str, replacement: &str) -> String {
    let body = text.split_once('\n').unwrap().1;
    assert!(body.contains(part), "{part} in {body}");
    let body = body.replacen(part, replacement, 1);
    let checksum = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(body.as_bytes()));
    format!(
        "{{\"format\":\"resumen-state\",\"version\":1,\"checksum\":\"{checksum}\",\"state\":\n{body}"
    )
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

/// The result of loading the sample with this replacement, its folder and its text.
fn load_forged(part: &str, replacement: &str) -> (LoadedState, TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let sample = String::from_utf8(encode_state_file(&state_taken_at(time_at(30)))).unwrap();
    let text = forge_state(&sample, part, replacement);
    fs::write(&path, &text).unwrap();
    (open_claimed_state_file(&path).load(), folder, text)
}

fn copies(folder: &Path, kind: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(kind)).collect()
}

#[test]
fn refused_record_costs_no_other() {
    let deep = nested(6_000);
    let future = "\"fetched_at\":\"2027-11-22T06:55:10.010Z\"";
    let fetched_at = "\"fetched_at\":\"2026-11-22T06:55:10.010Z\"";
    for (part, replacement, reason) in [
        (SAMPLE_DATA, deep.as_str(), "nests deeper than 64 levels"),
        (SAMPLE_DATA, "{\"a\":1,\"a\":2}", "a name twice"),
        (SAMPLE_DATA, "null", "nothing but null"),
        (fetched_at, future, "later than the save"),
        (
            "\"2026-11-22T06:55:10.015Z\"",
            "\"1926-11-22T06:55:10.015Z\"",
            "not valid",
        ),
        ("\"name\":\"p\"", "\"name\":\"P\"", "a provider"),
        ("\"failures\":2", "\"failures\":-2", "its members"),
        ("\"provider\":\"p\"", "\"provider\":[]", "its members"),
    ] {
        let (loaded, folder, text) = load_forged(part, replacement);
        let records = loaded.content.unwrap().source_records;
        assert_eq!(records.len(), 1, "{replacement}");
        assert_eq!(records[0].name.as_str(), "usd");
        assert_eq!((loaded.warnings.len(), loaded.error_count), (1, 1));
        let warning = &loaded.warnings[0];
        let is_clear = warning.contains("`btc`") && warning.contains(reason);
        assert!(is_clear && warning.len() < 600, "{warning}");
        let kept = copies(folder.path(), ".refused-");
        assert_eq!(kept.len(), 1, "{warning}");
        assert_eq!(
            fs::read_to_string(folder.path().join(&kept[0])).unwrap(),
            text
        );
    }
}

#[test]
fn nesting_outside_of_data_is_harmless() {
    let deep = nested(1_000_000);
    let unknown = format!("\"failures\":2,\"x\":{deep}");
    let (loaded, ..) = load_forged("\"failures\":2", &unknown);
    assert_eq!(loaded.content.unwrap().source_records.len(), 2);
    let (loaded, ..) = load_forged("{\"name\":\"btc\"", &format!("{deep},{{\"name\":\"btc\""));
    assert_eq!(loaded.content.unwrap().source_records.len(), 2);
    assert!(loaded.warnings[0].contains("a source without a name"));
    let (loaded, ..) = load_forged("{\"taken\":", &format!("{{\"taken\":{deep},\"x\":"));
    assert!(loaded.content.is_none() && loaded.warnings[0].contains("damaged"));
}

#[test]
fn oversize_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    File::create(&path).unwrap().set_len(10 << 30).unwrap();
    let loaded = open_claimed_state_file(&path).load();
    assert!(loaded.content.is_none());
    assert!(
        loaded.warnings[0].contains("larger than 64 MiB"),
        "{:?}",
        loaded.warnings
    );
    assert_eq!(copies(folder.path(), ".damaged-").len(), 1);
}

#[test]
fn service_survives_deep_state() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    fixture.wait_until_saved("0.10");
    service.stop();
    let forged = forge_state(&fixture.saved_state(), "{\"n\":0.10}", &nested(6_000));
    fs::write(fixture.state_path(), &forged).unwrap();
    fixture.fail_provider();
    let process = TestProcess::start(&mut fixture.command());
    let warning = process.wait_for_stderr_line("is used without 1 of its sources");
    assert!(warning.contains("`a`: its data nests deeper"), "{warning}");
    let base_url = listening_url(&process);
    let service = ServiceProcess { process, base_url };
    for target in ["/", "/metrics", "/resumen", "/salud/fuentes"] {
        assert_eq!(http_get(&service.base_url, target).status, 200, "{target}");
    }
    assert_eq!(service.source_a()["data"], serde_json::Value::Null);
    let errors = service.metric("resumen_store_errors_total{store=\"file\"}");
    assert!(errors > 0.5, "{errors}");
    assert_eq!(
        copies(fixture.state_path().parent().unwrap(), ".refused-").len(),
        1
    );
}
