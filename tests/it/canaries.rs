//! Secrets stay where they are: canaries in every place of a configuration that may hold one, providers that tell
//! everything they are sent, and nothing of it in whatever the program says, at its most talkative.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resumen::clock::Clock;
use resumen::domain::Secrets;
use resumen::telemetry::{Settings, install};
use rustix::process::Signal;

use crate::program::{Program, command, get};
use crate::support::echo::{self, PLACES};
use crate::support::fault::FaultServer;
use crate::survival::until;

/// In every secret below, so that one word finds them all, whole or in part, in any encoding that keeps letters.
const CANARY: &str = "canary";

/// Secrets that look different wherever they are escaped or encoded, one for each place and generation.
struct Nest {
    folder: tempfile::TempDir,
    provider: std::net::SocketAddr,
    closed: FaultServer,
}

impl Nest {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            provider: echo::start(),
            closed: FaultServer::closed(),
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
        fs::write(&draft, self.text(generation) + more).unwrap();
        fs::rename(draft, self.folder.path().join("resumen.toml")).unwrap();
    }

    fn text(&self, generation: &str) -> String {
        let userinfo = format!("us{generation}-canary%2Fname:pa%20{generation}-canary%22word");
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n\
             [store]\npath = \"state.json\"\nredis = \"redis://redis-canary:word-canary-9@{closed}/0\"\n\
             [defaults]\ninterval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"\n",
            closed = self.closed.address,
        );
        text.extend(
            PLACES
                .iter()
                .map(|place| self.source(place, &userinfo, generation)),
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

    fn source(&self, place: &str, userinfo: &str, generation: &str) -> String {
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

    fn command(&self, arguments: &[&str], format: &str) -> Command {
        let variables = [
            ("KEY", "en+vir/canary?'é{}"),
            ("BODY", "bo/dy canary 'é&"),
            ("RESUMEN_LOG", "trace"),
            ("RESUMEN_LOG_FORMAT", format),
        ];
        let mut command = command(arguments, &variables);
        command.current_dir(self.folder.path());
        command
    }

    /// Runs a command to its end: everything that it prints.
    fn prints(&self, arguments: &[&str], code: i32) -> String {
        let ended = Program::start(&mut self.command(arguments, "text")).end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended.out + &ended.err
    }
}

/// Nothing of a secret is in `text`, and that text is not empty.
fn assert_clean(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} is empty");
    let line = text
        .lines()
        .find(|line| line.to_lowercase().contains(CANARY));
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
fn first_event(base: &str) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "GET /resumen/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("data:")).unwrap()
}

fn look_at_everything(base: &str, folder: &Path, sources: usize) {
    let live = get(base, "/resumen?fresh=1&timeout=9").body;
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
        let answer = get(base, path);
        assert_clean(path, &(answer.head + &answer.body));
    }
    assert_clean("the stream", &first_event(base));
    until(|| folder.join("state.json").exists());
    assert_clean(
        "the state file",
        &fs::read_to_string(folder.join("state.json")).unwrap(),
    );
}

fn a_service_tells_nothing(format: &str) {
    let nest = Nest::new();
    let sources = PLACES.len() + 3;
    nest.write("one", "");
    let program = Program::start(&mut nest.command(&["serve", "--config", "resumen.toml"], format));
    let line = program.err_line("listens");
    let address = line.split("127.0.0.1:").nth(1).unwrap();
    let port: String = address.chars().take_while(char::is_ascii_digit).collect();
    let base = format!("http://127.0.0.1:{port}");
    look_at_everything(&base, nest.folder.path(), sources);

    nest.write("two", "");
    let mut log = line;
    program.signal(Signal::HUP);
    log += &program.err_line("was taken over");
    look_at_everything(&base, nest.folder.path(), sources);

    nest.write(
        "one",
        "[sources.bad]\nurl = \"htp://us:bad-canary@x/?k=bad-canary\"\nheaders = { X = \"bad-canary\\n\" }\n",
    );
    program.signal(Signal::HUP);
    log += &program.err_line("was refused");
    look_at_everything(&base, nest.folder.path(), sources);

    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!(ended.code, Some(0));
    assert_clean("the log", &(log + &ended.err));
    assert!(ended.out.is_empty());
    assert_clean(
        "the last state",
        &fs::read_to_string(nest.folder.path().join("state.json")).unwrap(),
    );
}

#[test]
fn a_service_tells_no_secret_in_logs_for_people() {
    a_service_tells_nothing("text");
}

#[test]
fn a_service_tells_no_secret_in_logs_for_programs() {
    a_service_tells_nothing("json");
}

#[test]
fn commands_tell_no_secret() {
    let nest = Nest::new();
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
        assert_clean(&format!("{arguments:?}"), &nest.prints(&arguments, code));
    }
    nest.write(
        "one",
        "[sources.bad]\nurl = \"htp://us:bad-canary@x/?k=bad-canary\"\nheaders = { X = \"bad-canary\\n\" }\n",
    );
    for format in ["text", "json"] {
        let arguments = ["check", "--config", "resumen.toml", "--format", format];
        assert_clean("a refusal", &nest.prints(&arguments, 2));
    }
}

#[test]
fn a_panic_tells_no_secret() {
    let tests = std::env::current_exe().unwrap();
    let inner = [
        "--ignored",
        "--exact",
        "--nocapture",
        "canaries::inside_a_process_of_its_own",
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
fn inside_a_process_of_its_own() {
    let mask = install(&Settings::parse(None, None).unwrap(), Clock::start());
    mask.replace(Secrets::new(["pa\"nic-canary".to_owned()]));
    let caught =
        std::panic::catch_unwind(|| panic!("the key is pa\"nic-canary and goes no further"));
    assert!(caught.is_err());
}
