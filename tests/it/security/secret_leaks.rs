//! Secrets do not leak: a configuration has a canary in every place that can hold a secret, providers echo
//! every request, and no output of the program contains a canary, with the log level `trace`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resumen::domain::{Redactor, SecretSet};
use resumen::process::Clock;
use resumen::telemetry::{LogSettings, install};
use rustix::process::Signal;

use crate::support::child_process::{TestProcess, ignored_test_command, run_ignored_test};
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::echo::ECHO_PLACES;
use crate::support::service_process::{ServiceFolder, ServiceProcess};
use crate::support::test_app::{TestApp, parse_test_config, source_tables};
use crate::support::wait::wait_until;

/// A part of every secret, which encodings that keep letters do not change.
const CANARY_WORD: &str = "canary";

/// A configuration with a different secret for each place and generation. The secrets have characters
/// that formats escape or encode.
struct SecretFixture {
    folder: ServiceFolder,
    provider: FakeProvider,
    closed: FakeProvider,
}

impl SecretFixture {
    fn new() -> Self {
        Self {
            folder: ServiceFolder::new(""),
            provider: FakeProvider::echoing(),
            closed: FakeProvider::with_closed_port(),
        }
    }

    /// Writes the configuration and the secret file of this generation.
    fn write(&self, generation: &str, more: &str) {
        fs::write(
            self.folder.path().join("secret"),
            format!("g{generation}/canary \"file\" &\\<1>\n"),
        )
        .unwrap();
        self.folder
            .write_config(&(self.config_text(generation) + more));
    }

    fn config_text(&self, generation: &str) -> String {
        let userinfo = format!("us{generation}-canary%2Fname:pa%20{generation}-canary%22word");
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n\
             [store]\npath = \"state.json\"\nredis = \"redis://redis-canary:word-canary-9@{closed}/0\"\n\
             [defaults]\ninterval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"\n",
            closed = self.closed.address,
        );
        text.extend(
            ECHO_PLACES
                .iter()
                .map(|place| self.source_table(place, &userinfo, generation)),
        );
        let closed = self.closed.address;
        text + &format!(
            "[sources.proxied]\nurl = \"https://far.test/?key=far-{generation}-canary\"\n\
             proxy = \"http://proxy-canary:proxy-{generation}-canary-word@{closed}\"\n\
             [sources.refused]\nurl = \"http://{userinfo}@{closed}/${{KEY}}?key=refused-canary\"\n\
             [sources.panics]\nurl = \"http://{}/data\"\nextract = '[2020, 127, 1, 0, 0, 0] | mktime'\n",
            self.provider.address
        )
    }

    fn source_table(&self, place: &str, userinfo: &str, generation: &str) -> String {
        let extract = if place == "filter" {
            "error(.why)"
        } else {
            "."
        };
        let provider = self.provider.address;
        format!(
            "[sources.{place}]\nmethod = \"POST\"\nextract = '{extract}'\n\
             url = \"http://{userinfo}@{provider}/{place}?key=qu-{generation}%2Fcanary+%C3%A9'&env=${{KEY}}\"\n\
             headers = {{ X-Key = \"he {generation} canary/'=; &\", X-File = \"${{file:secret}}\" }}\n\
             body = '{{\"a\":\"${{BODY}}\",\"b\":\"${{file:secret}}\"}}'\n"
        )
    }

    /// A command of the program with the secret variables.
    fn command(&self, command: &str, log_format: &str) -> Command {
        let variables = [
            ("KEY", "en+vir/canary?'é{}"),
            ("BODY", "bo/dy canary 'é&"),
            ("RESUMEN_LOG", "trace"),
            ("RESUMEN_LOG_FORMAT", log_format),
        ];
        self.folder.command(command, &variables)
    }

    /// Runs a command to its end and returns its output.
    fn run(&self, command: &str, options: &[&str], exit_code: i32) -> String {
        let mut command = self.command(command, "text");
        let output = TestProcess::start(command.args(options)).wait_for_exit();
        assert_eq!(output.exit_code, Some(exit_code), "{output:?}");
        output.stdout + &output.stderr
    }
}

/// Asserts that `text` is not empty and contains no secret.
fn assert_clean(name: &str, text: &str) {
    assert!(!text.is_empty(), "{name} is empty");
    let mut lines = text.lines();
    let leak = lines.find(|line| line.to_lowercase().contains(CANARY_WORD));
    assert!(leak.is_none(), "{name} contains a secret: {leak:?}");
    for generation in ["one", "two"] {
        let plain = format!("us{generation}-canary/name:pa {generation}-canary\"word");
        let has_credentials = text.contains(&STANDARD.encode(plain));
        assert!(!has_credentials, "{name} contains Basic credentials");
    }
}

/// The first event of the stream.
fn read_first_event(service: &ServiceProcess) -> String {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    let request = "GET /resumen/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("data:")).unwrap()
}

fn scan_every_output(service: &ServiceProcess, folder: &Path) {
    let live = service.get("/resumen?fresh=1&timeout=9").body;
    let source_count = ECHO_PLACES.len() + 3;
    assert_eq!(live.matches("\"ms\":").count(), source_count, "{live}");
    let redacted = live.matches("***").count();
    assert!(redacted >= 4, "the providers sent the secrets: {live}");
    assert_clean("a live response", &live);
    for path in [
        "/resumen",
        "/salud/fuentes",
        "/metrics",
        "/",
        "/salud",
        "/openapi.json",
        "/resumen?sources=unknown",
    ] {
        let reply = service.get(path);
        assert_clean(path, &(reply.head + &reply.body));
    }
    assert_clean("the stream", &read_first_event(service));
    wait_until("the state file", || folder.join("state.json").exists());
    let state = fs::read_to_string(folder.join("state.json")).unwrap();
    assert_clean("the state file", &state);
}

/// An invalid source with a secret in each part.
const INVALID_SOURCE: &str = "[sources.bad]\nurl = \"htp://us:bad-canary@x/?k=bad-canary\"\n\
                              headers = { X = \"bad-canary\\n\" }\n";

fn assert_service_is_clean(log_format: &str) {
    let fixture = SecretFixture::new();
    let folder = fixture.folder.path();
    fixture.write("one", "");
    let process = TestProcess::start(&mut fixture.command("serve", log_format));
    let mut log = process.wait_for_stderr_line("listening");
    let port = log.split("127.0.0.1:").nth(1).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let base_url = format!("http://127.0.0.1:{port}");
    let service = ServiceProcess { process, base_url };
    scan_every_output(&service, folder);

    fixture.write("two", "");
    service.send_signal(Signal::HUP);
    log += &service.wait_for_log("configuration reloaded");
    scan_every_output(&service, folder);

    fixture.write("one", INVALID_SOURCE);
    service.send_signal(Signal::HUP);
    log += &service.wait_for_log("configuration reload failed");
    scan_every_output(&service, folder);

    let output = service.stop();
    assert_clean("the log", &(log + &output.stderr));
    assert!(output.stdout.is_empty());
    let state = fs::read_to_string(folder.join("state.json")).unwrap();
    assert_clean("the last state", &state);
}

#[test]
fn text_logs_contain_no_secret() {
    assert_service_is_clean("text");
}

#[test]
fn json_logs_contain_no_secret() {
    assert_service_is_clean("json");
}

#[test]
fn commands_print_no_secret() {
    let fixture = SecretFixture::new();
    fixture.write("one", "");
    let commands: [(&str, &[&str], i32); 6] = [
        ("check", &[], 0),
        ("check", &["--format", "json"], 0),
        ("check", &["--live"], 1),
        ("check", &["--live", "--format", "json"], 1),
        ("once", &["--format", "json"], 1),
        ("once", &["--format", "table"], 1),
    ];
    for (command, options, exit_code) in commands {
        let output = fixture.run(command, options, exit_code);
        assert_clean(&format!("{command} {options:?}"), &output);
    }
    fixture.write("one", INVALID_SOURCE);
    for format in ["text", "json"] {
        let output = fixture.run("check", &["--format", format], 2);
        assert_clean("a failed check", &output);
    }
}

/// Data is data for clients. The output of a command is for logs and reports, and shows no secret there either.
#[test]
fn commands_redact_echoed_data() {
    let provider = FakeProvider::with_json(
        r#"{"plain":"is sec/ret-canary","percent":"sec%2Fret%2Dcanary","json":"\u0073ec\/ret-canary","number":1234512345,"city":"San Francisco","kept":7.50}"#,
    );
    let folder = ServiceFolder::new(&format!(
        "[store]\npath = \"\"\n[sources.echo]\nurl = \"{}?pin=1234512345&city=San%20Francisco\"\n\
         headers = {{ Authorization = \"Bearer sec/ret-canary\" }}\n",
        provider.url()
    ));
    let commands: [(&str, &[&str]); 4] = [
        ("check", &["--live"]),
        ("check", &["--live", "--format", "json"]),
        ("once", &["--format", "json"]),
        ("once", &["--format", "table"]),
    ];
    for (command, options) in commands {
        let mut process = folder.command(command, &[]);
        let output = TestProcess::start(process.args(options)).wait_for_exit();
        assert_eq!(output.exit_code, Some(0), "{output:?}");
        let text = &output.stdout;
        assert_clean(&format!("{command} {options:?}"), text);
        assert!(
            !text.contains("1234512345") && text.contains("***"),
            "{text}"
        );
        assert!(text.contains("7.5"), "{text}");
        if options.contains(&"json") {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            let data = json
                .pointer("/resultados/echo/data")
                .or(json.pointer("/live/0/data"));
            let expected = serde_json::json!(
                {"plain": "is ***", "percent": "***", "json": "***", "number": "***", "city": "San Francisco", "kept": 7.5}
            );
            assert_eq!(
                data.unwrap().to_string().replace("7.50", "7.5"),
                expected.to_string()
            );
        }
    }
}

#[test]
fn reload_redacts_old_and_new_secrets() {
    let html = FakeProvider::with_json("<p>token-0123456789 token-9876543210</p>");
    let json = FakeProvider::with_json(r#"{"e":"token-0123456789"}"#);
    let config = |token: &str| {
        let html = source_tables(&[("html", html.url())]);
        let header = format!("headers = {{ Authorization = \"Bearer {token}\" }}");
        let url = json.url();
        parse_test_config(&format!(
            "{html}{header}\nmin_interval = \"1ms\"\n\
             [sources.failing]\nurl = \"{url}\"\nextract = 'error(.e)'\n\
             [sources.good]\nurl = \"{url}\"\n\
             [derived.computed]\nfrom = [\"good\"]\nextract = 'error(.good.e)'\n"
        ))
    };
    let (old, new) = (config("token-0123456789"), config("token-9876543210"));
    let app = TestApp::start_with_config(&old);
    let response = app.wait_for_json("/resumen", |response| {
        response["resultados"]["computed"]["code"] == "extract_failed"
    });
    for name in ["html", "failing", "computed"] {
        let error = response["resultados"][name]["error"].as_str().unwrap();
        let is_redacted = error.contains("***") && !error.contains("token-0123456789");
        assert!(is_redacted, "{name}: {error}");
    }
    app.service.reloader().reload(&old, &new).unwrap();
    let is_redacted = |error: &str| error.contains("*** ***") && !error.contains("token");
    app.wait_for_json("/resumen?fresh=1", |response| {
        let error = response["resultados"]["html"]["error"].as_str();
        error.is_some_and(is_redacted)
    });
}

#[test]
fn panic_message_contains_no_secret() {
    let test = "security::secret_leaks::child_panics_with_secret";
    let output = run_ignored_test(&mut ignored_test_command(test));
    let message = "panic: the key is *** and goes no further";
    assert!(output.contains(message), "{output}");
    assert_clean("a panic", &output);
}

#[test]
#[ignore = "installs a logger; runs in a child process of panic_message_contains_no_secret"]
fn child_panics_with_secret() {
    let redactor = Redactor::new(SecretSet::new(["pa\"nic-canary".to_owned()]));
    let settings = LogSettings::parse(None, None).unwrap();
    install(&settings, Clock::start(), redactor);
    let caught =
        std::panic::catch_unwind(|| panic!("the key is pa\"nic-canary and goes no further"));
    assert!(caught.is_err());
}
