//! `resumen serve` as a child process: its folder, its configuration and its address.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::child_process::{ProcessOutput, TestProcess, base_url, program_command};
use super::fake_provider::FakeProvider;
use super::http_reply::{HttpReply, http_get};
use super::process_usage::metric_value;
use super::wait::wait_until;

/// A temporary folder with the configuration `resumen.toml`, in which the program runs.
pub struct ServiceFolder {
    folder: TempDir,
}

/// A running `resumen serve`.
pub struct ServiceProcess {
    pub process: TestProcess,
    /// `http://127.0.0.1:PORT`
    pub base_url: String,
}

impl ServiceFolder {
    pub fn new(config: &str) -> Self {
        let new = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        new.write_config(config);
        new
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.path().join("resumen.toml")
    }

    /// Replaces the configuration in one step, as editors do.
    pub fn write_config(&self, text: &str) {
        let draft = self.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.config_path()).unwrap();
    }

    /// The program in this folder: `COMMAND --config resumen.toml`.
    pub fn command(&self, command: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = program_command(&[command, "--config", "resumen.toml"], variables);
        command.current_dir(self.path());
        command
    }

    /// `resumen serve` on a free port of 127.0.0.1.
    pub fn serve_command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = self.command("serve", variables);
        command.args(["--listen", "127.0.0.1:0"]);
        command
    }

    pub fn serve(&self) -> ServiceProcess {
        ServiceProcess::start(&mut self.serve_command(&[]))
    }

    /// Runs a command of the program to its end.
    pub fn run(&self, command: &str, arguments: &[&str]) -> ProcessOutput {
        TestProcess::start(self.command(command, &[]).args(arguments)).wait_for_exit()
    }
}

impl ServiceProcess {
    /// Starts the program and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        let process = TestProcess::start(command);
        let base_url = listening_url(&process);
        Self { process, base_url }
    }

    pub fn address(&self) -> SocketAddr {
        self.base_url.trim_start_matches("http://").parse().unwrap()
    }

    pub fn get(&self, target: &str) -> HttpReply {
        http_get(&self.base_url, target)
    }

    /// The JSON of a response with status 200.
    #[track_caller]
    pub fn get_json(&self, target: &str) -> Value {
        let reply = self.get(target);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// The results by source of `/resumen` or another `target`.
    #[track_caller]
    pub fn results(&self, target: &str) -> Value {
        self.get_json(target)["resultados"].take()
    }

    /// The result of the source `a` in `/resumen`.
    #[track_caller]
    pub fn source_a(&self) -> Value {
        self.results("/resumen")["a"].take()
    }

    /// The value of a series, named with its labels.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.get("/metrics").body;
        metric_value(&page, series).unwrap_or_else(|| panic!("no {series} in\n{page}"))
    }

    pub fn wait_for_metric(&self, series: &str, is_wanted: impl Fn(f64) -> bool) {
        wait_until(series, || is_wanted(self.metric(series)));
    }

    /// The next log line that contains `needle`.
    pub fn wait_for_log(&self, needle: &str) -> String {
        self.process.wait_for_stderr_line(needle)
    }

    pub fn send_signal(&self, signal: Signal) {
        self.process.send_signal(signal);
    }

    /// Kills the program and waits until it has ended.
    pub fn kill(self) {
        self.send_signal(Signal::KILL);
        self.process.wait_for_exit();
    }

    /// Stops the program by SIGTERM. Panics unless it exits with code 0.
    #[track_caller]
    pub fn stop(self) -> ProcessOutput {
        self.send_signal(Signal::TERM);
        let output = self.process.wait_for_exit();
        assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
        output
    }
}

/// Waits until the program listens and returns its URL.
pub fn listening_url(process: &TestProcess) -> String {
    let line = process.wait_for_stderr_line("listening");
    let address = line.split("address=").nth(1).expect("an address");
    let address = address.split_whitespace().next().unwrap();
    format!("http://{}", address.replace("0.0.0.0", "127.0.0.1"))
}

/// Starts `resumen simulate` and returns it with its URL.
pub fn start_simulator() -> (TestProcess, String) {
    let arguments = ["simulate", "--listen", "127.0.0.1:0"];
    let process = TestProcess::start(&mut program_command(&arguments, &[]));
    let url = base_url(&process.wait_for_stdout_line("simulated providers on"));
    (process, url)
}

/// A service with a state file whose source `a` has a fake provider.
pub struct ServiceFixture {
    pub folder: ServiceFolder,
    pub provider: FakeProvider,
}

impl ServiceFixture {
    pub fn new() -> Self {
        let new = Self {
            folder: ServiceFolder::new(""),
            provider: FakeProvider::with_json(r#"{"n":0.10}"#),
        };
        new.write_config("");
        new
    }

    /// Writes the configuration with the lines `more` after those of `a`.
    pub fn write_config(&self, more: &str) {
        let url = self.provider.url();
        self.folder.write_config(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n\
             [store]\npath = \"state/resumen.json\"\n\
             [sources.a]\nurl = \"{url}\"\ninterval = \"1h\"\ntimeout = \"3s\"\nmin_interval = \"1ms\"\n{more}"
        ));
    }

    /// `resumen serve`, which listens where the configuration says.
    pub fn command(&self) -> Command {
        self.folder.command("serve", &[])
    }

    pub fn start(&self) -> ServiceProcess {
        ServiceProcess::start(&mut self.command())
    }

    pub fn state_path(&self) -> PathBuf {
        self.folder.path().join("state/resumen.json")
    }

    pub fn saved_state(&self) -> String {
        fs::read_to_string(self.state_path()).unwrap_or_default()
    }

    /// Waits until the state file contains `text`.
    pub fn wait_until_saved(&self, text: &str) {
        wait_until(text, || self.saved_state().contains(text));
    }

    /// The provider answers 503 from now on.
    pub fn fail_provider(&self) {
        self.provider.set_status("503 Service Unavailable");
    }
}

/// A configuration whose sources have simulated providers.
pub struct SimulatorFixture {
    pub folder: ServiceFolder,
    pub simulator_url: String,
    _simulator: TestProcess,
}

impl SimulatorFixture {
    pub fn new() -> Self {
        let (simulator, simulator_url) = start_simulator();
        Self {
            folder: ServiceFolder::new(""),
            simulator_url,
            _simulator: simulator,
        }
    }

    /// Writes a configuration with these sources: name, and path with query at the simulator.
    pub fn write_sources(&self, sources: &[(&str, &str)]) {
        self.write_sources_with("timeout = \"5s\"\n", sources);
    }

    /// The same with `defaults` in `[defaults]`.
    pub fn write_sources_with(&self, defaults: &str, sources: &[(&str, &str)]) {
        let table = |(name, target): &(_, _)| {
            format!(
                "[sources.{name}]\nurl = \"{}{target}\"\n",
                self.simulator_url
            )
        };
        let sources: String = sources.iter().map(table).collect();
        self.folder.write_config(&format!(
            "[store]\npath = \"\"\n[defaults]\ninterval = \"1h\"\n{defaults}{sources}"
        ));
    }

    pub fn serve(&self) -> ServiceProcess {
        self.folder.serve()
    }

    pub fn run_once(&self, arguments: &[&str]) -> ProcessOutput {
        self.folder.run("once", arguments)
    }
}
