//! Schemathesis, a fuzzer that reads `/openapi.json`, finds nothing: all its checks against the whole service.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};

/// Requests per method and path, beside those for every edge of every parameter.
const MAX_EXAMPLES: &str = "10";

/// Where `.ci/run` puts it, or wherever the system has it. None, and a word of it, where it is missing, unless the
/// environment says `RESUMEN_REQUIRE_ALL=1`.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn find_schemathesis() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    let own = own.exists().then_some(own);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = || {
        std::env::split_paths(&path)
            .map(|folder| folder.join("schemathesis"))
            .find(|file| file.exists())
    };
    let found = own.or_else(elsewhere);
    if found.is_none() {
        let missing = "schemathesis is missing (`pip install schemathesis`, into target/schemathesis or anywhere on PATH)";
        let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "{missing}");
        eprintln!("skipped: {missing}");
    }
    found
}

#[test]
fn schemathesis_finds_no_bug() {
    let Some(program) = find_schemathesis() else {
        return;
    };
    let (btc, usd) = (
        FakeProvider::with_json(r#"{"usd":97123.45}"#),
        FakeProvider::with_json("{}"),
    );
    usd.update_response(|answer| answer.status = "503 Service Unavailable");
    let text = source_tables(&[("btc", btc.url()), ("usd", usd.url())])
        + "[derived.double]\nfrom = [\"btc\"]\nextract = '{usd: (.btc.usd * 2)}'\n";
    let served = TestApp::start(&text);
    served.get_json("/resumen");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .current_dir(folder.path())
        .args([
            "run",
            &format!("http://{}/openapi.json", served.address),
            "--checks",
            "all",
        ])
        // It would wait for the end of the stream, which has none; `http::openapi` and `http::stream` look at it.
        .args([
            "--exclude-path",
            "/resumen/stream",
            "--max-examples",
            MAX_EXAMPLES,
            "--seed",
            "1",
            "--workers",
            "1",
        ])
        .args(["--no-color", "--generation-database", "none"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("Open API 3.1"), "{told}");
}
