//! All checks of Schemathesis, a fuzzer that reads `/openapi.json`, against the whole service.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::fake_provider::FakeProvider;
use crate::support::requirements::{find_program, require};
use crate::support::test_app::{TestApp, source_tables};

/// Random requests per method and path. Boundary values of every parameter are tested as well.
const MAX_EXAMPLES: &str = "10";

/// The program in `target/schemathesis`, where `.ci/run` installs it, or on the `PATH`.
fn find_schemathesis() -> Option<PathBuf> {
    let installed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    let found = Some(installed).filter(|path| path.exists());
    let found = found.or_else(|| find_program("schemathesis"));
    let hint = "schemathesis (`pip install schemathesis`, into target/schemathesis or on the PATH)";
    require(hint, found.is_some());
    found
}

#[test]
fn schemathesis_finds_no_bug() {
    let Some(program) = find_schemathesis() else {
        return;
    };
    let btc = FakeProvider::with_json(r#"{"usd":97123.45}"#);
    let usd = FakeProvider::with_status("503 Service Unavailable");
    let text = source_tables(&[("btc", btc.url()), ("usd", usd.url())])
        + "[derived.double]\nfrom = [\"btc\"]\nextract = '{usd: (.btc.usd * 2)}'\n";
    let app = TestApp::start(&text);
    app.get_json("/resumen");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args([
            "run",
            &format!("http://{}/openapi.json", app.address),
            "--checks",
            "all",
        ])
        // The stream is endless; `openapi_conformance` and `event_stream` test it.
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
        .args(["--no-color", "--generation-database", "none"]);
    let output = command.output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}");
    assert!(report.contains("Open API 3.1"), "{report}");
}
