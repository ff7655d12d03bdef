//! All checks of Schemathesis, a fuzzer that reads `/openapi.json`, against the whole service.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::fake_provider::FakeProvider;
use crate::support::requirements::{find_program, require};
use crate::support::test_app::{TestApp, source_tables};
use crate::support::tls_client::TestAuthority;
use crate::support::wait::wait_until;

/// Random requests per method and path. Boundary values of every parameter are tested as well.
const MAX_EXAMPLES: &str = "10";

const TOKEN: &str = "every-0123456789abcdef";

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

/// A service whose sources are one that answers, one that fails, and a derived one.
struct FuzzedService {
    app: TestApp,
    _providers: [FakeProvider; 2],
}

impl FuzzedService {
    /// `server` are lines of `[server]` and tables below it.
    fn start(server: &str) -> Self {
        let btc = FakeProvider::with_json(r#"{"usd":97123.45}"#);
        let usd = FakeProvider::with_status("503 Service Unavailable");
        let text = format!("[server]\n{server}\n")
            + &source_tables(&[("btc", btc.url()), ("usd", usd.url())])
            + "[derived.double]\nfrom = [\"btc\"]\nextract = '{usd: (.btc.usd * 2)}'\n";
        let app = TestApp::start(&text);
        let cache = &app.service.core.cache;
        wait_until("all sources", || {
            (0..3).all(|source| cache.snapshot().is_ready_to_answer(source))
        });
        Self {
            app,
            _providers: [btc, usd],
        }
    }

    /// Runs all checks with these options. Panics if one fails.
    fn assert_sound(&self, program: &Path, scheme: &str, options: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .args([
                "run",
                &format!("{scheme}://{}/openapi.json", self.app.address),
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
            .args(["--no-color", "--generation-database", "none"])
            .args(options);
        let output = command.output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{report}\n{errors}");
        assert!(report.contains("Open API 3.1"), "{report}");
    }
}

#[test]
fn schemathesis_finds_no_bug() {
    let Some(program) = find_schemathesis() else {
        return;
    };
    FuzzedService::start("").assert_sound(&program, "http", &[]);
}

/// With a token. The check `ignored_auth` repeats requests without it and with wrong ones.
#[test]
fn schemathesis_finds_no_bug_over_tls() {
    let Some(program) = find_schemathesis() else {
        return;
    };
    let authority = TestAuthority::new("server authority");
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = authority.issue().write(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let service = FuzzedService::start(&format!(
        "[server.tokens.every]\ntoken = \"{TOKEN}\"\n\
         routes = [\"data\", \"live\", \"stream\", \"panel\", \"admin\"]\n\
         [server.tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
        certificate.display(),
        key.display()
    ));
    let header = format!("Authorization: Bearer {TOKEN}");
    let options = ["--tls-verify", ca.to_str().unwrap(), "--header", &header];
    service.assert_sound(&program, "https", &options);
}
