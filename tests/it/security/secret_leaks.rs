//! Secrets stay where they are: canaries in every place of a configuration that may hold one, providers that tell
//! everything they are sent, and nothing of it in whatever the program says, at its most talkative.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resumen::domain::{Redactor, SecretSet};
use resumen::process::Clock;
use resumen::telemetry::{LogSettings, install};
use rustix::process::Signal;

use crate::persistence::restart_survival::wait_until;
use crate::support::child_process::{TestProcess, http_get, program_command};
use crate::support::echo_provider;
use crate::support::echo_provider::ECHO_PLACES;
use crate::support::faulty_provider::FaultyProvider;

/// In every secret below, so that one word finds them all, whole or in part, in any encoding that keeps letters.
const CANARY_WORD: &str = "canary";

/// Secrets that look different wherever they are escaped or encoded, one for each place and generation.
struct SecretFixture {
    folder: tempfile::TempDir,
    provider: std::net::SocketAddr,
    closed: FaultyProvider,
}

impl SecretFixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            provider: echo_provider::start_echo_provider(),
            closed: FaultyProvider::with_closed_port(),
        }
    }

    /// Writes the configuration and the secret file of this generation.
    fn write(&self, generation: &str, more: &str) {
        fs::write(
            self.folder.path().join("secret"),
            format!("g{generation}/canary \"file\" &\\<1>\n"),
        )
        .unwrap();
        let draft = self.folder.path().join("draft");
        fs::write(&draft, self.config_text(generation) + more).unwrap();
        fs::rename(draft, self.folder.path().join("resumen.toml")).unwrap();
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
            self.provider
        )
    }

    fn source_table(&self, place: &str, userinfo: &str, generation: &str) -> String {
        let extract = if place == "filter" {
            "error(.why)"
        } else {
            "."
        };
        let provider = self.provider;
        format!(
            "[sources.{place}]\nmethod = \"POST\"\nextract = '{extract}'\n\
             url = \"http://{userinfo}@{provider}/{place}?key=qu-{generation}%2Fcanary+%C3%A9'&env=${{KEY}}\"\n\
             headers = {{ X-Key = \"he {generation} canary/'=; &\", X-File = \"${{file:secret}}\" }}\n\
             body = '{{\"a\":\"${{BODY}}\",\"b\":\"${{file:secret}}\"}}'\n"
        )
    }

    fn build_command(&self, arguments: &[&str], format: &str) -> Command {
        let variables = [
            ("KEY", "en+vir/canary?'é{}"),
            ("BODY", "bo/dy canary 'é&"),
            ("RESUMEN_LOG", "trace"),
            ("RESUMEN_LOG_FORMAT", format),
        ];
        let mut command = program_command(arguments, &variables);
        command.current_dir(self.folder.path());
        command
    }

    /// Runs a command to its end: everything that it prints.
    fn run_and_collect(&self, arguments: &[&str], code: i32) -> String {
        let ended = TestProcess::start(&mut self.build_command(arguments, "text")).wait_for_exit();
        assert_eq!(ended.exit_code, Some(code), "{ended:?}");
        ended.stdout + &ended.stderr
    }
}

/// Nothing of a secret is in `text`, and that text is not empty.
fn assert_clean(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} is empty");
    let line = text
        .lines()
        .find(|line| line.to_lowercase().contains(CANARY_WORD));
    assert!(line.is_none(), "{what} tells a secret: {line:?}");
    for generation in ["one", "two"] {
        let plain = format!("us{generation}-canary/name:pa {generation}-canary\"word");
        assert!(
            !text.contains(&STANDARD.encode(plain)),
            "{what} tells Basic credentials"
        );
    }
}

/// The first event of the stream.
fn read_first_event(base: &str) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "GET /resumen/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("data:")).unwrap()
}

fn scan_every_output(base: &str, folder: &Path, sources: usize) {
    let live = http_get(base, "/resumen?fresh=1&timeout=9").body;
    assert_eq!(live.matches("\"ms\":").count(), sources, "{live}");
    assert!(
        live.matches("***").count() >= 4,
        "the providers did tell: {live}"
    );
    assert_clean("a live answer", &live);
    for path in [
        "/resumen",
        "/salud/fuentes",
        "/metrics",
        "/",
        "/salud",
        "/openapi.json",
        "/resumen?sources=nobody",
    ] {
        let answer = http_get(base, path);
        assert_clean(path, &(answer.head + &answer.body));
    }
    assert_clean("the stream", &read_first_event(base));
    wait_until(|| folder.join("state.json").exists());
    assert_clean(
        "the state file",
        &fs::read_to_string(folder.join("state.json")).unwrap(),
    );
}

fn assert_service_is_clean(format: &str) {
    let nest = SecretFixture::new();
    let sources = ECHO_PLACES.len() + 3;
    nest.write("one", "");
    let program =
        TestProcess::start(&mut nest.build_command(&["serve", "--config", "resumen.toml"], format));
    let line = program.wait_for_stderr_line("listens");
    let address = line.split("127.0.0.1:").nth(1).unwrap();
    let port: String = address.chars().take_while(char::is_ascii_digit).collect();
    let base = format!("http://127.0.0.1:{port}");
    scan_every_output(&base, nest.folder.path(), sources);

    nest.write("two", "");
    let mut log = line;
    program.send_signal(Signal::HUP);
    log += &program.wait_for_stderr_line("was taken over");
    scan_every_output(&base, nest.folder.path(), sources);

    nest.write(
        "one",
        "[sources.bad]\nurl = \"htp://us:bad-canary@x/?k=bad-canary\"\nheaders = { X = \"bad-canary\\n\" }\n",
    );
    program.send_signal(Signal::HUP);
    log += &program.wait_for_stderr_line("was refused");
    scan_every_output(&base, nest.folder.path(), sources);

    program.send_signal(Signal::TERM);
    let ended = program.wait_for_exit();
    assert_eq!(ended.exit_code, Some(0));
    assert_clean("the log", &(log + &ended.stderr));
    assert!(ended.stdout.is_empty());
    assert_clean(
        "the last state",
        &fs::read_to_string(nest.folder.path().join("state.json")).unwrap(),
    );
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
    let nest = SecretFixture::new();
    nest.write("one", "");
    for (arguments, code) in [
        (&["check"][..], 0),
        (&["check", "--format", "json"], 0),
        (&["check", "--live"], 1),
        (&["check", "--live", "--format", "json"], 1),
        (&["once", "--format", "json"], 1),
        (&["once", "--format", "table"], 1),
    ] {
        let (verb, options) = arguments.split_first().unwrap();
        let arguments = [&[*verb, "--config", "resumen.toml"], options].concat();
        assert_clean(
            &format!("{arguments:?}"),
            &nest.run_and_collect(&arguments, code),
        );
    }
    nest.write(
        "one",
        "[sources.bad]\nurl = \"htp://us:bad-canary@x/?k=bad-canary\"\nheaders = { X = \"bad-canary\\n\" }\n",
    );
    for format in ["text", "json"] {
        let arguments = ["check", "--config", "resumen.toml", "--format", format];
        assert_clean("a refusal", &nest.run_and_collect(&arguments, 2));
    }
}

#[test]
fn panic_message_contains_no_secret() {
    let tests = std::env::current_exe().unwrap();
    let inner = [
        "--ignored",
        "--exact",
        "--nocapture",
        "security::secret_leaks::child_panics_with_secret",
    ];
    let output = Command::new(tests)
        .args(inner)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("panic: the key is *** and goes no further"),
        "{said}"
    );
    assert_clean("a panic", &said);
}

#[test]
#[ignore = "panics; only in the process that the other test makes"]
fn child_panics_with_secret() {
    let redactor = Redactor::new(SecretSet::new(["pa\"nic-canary".to_owned()]));
    let settings = LogSettings::parse(None, None).unwrap();
    install(&settings, Clock::start(), redactor);
    let caught =
        std::panic::catch_unwind(|| panic!("the key is pa\"nic-canary and goes no further"));
    assert!(caught.is_err());
}
