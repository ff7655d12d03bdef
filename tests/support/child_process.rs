//! The built program as a process of its own, driven like a person would: arguments, signals, what it prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What a test waits for at most, on a machine with other things to do.
pub(crate) const PROCESS_TIMEOUT: Duration = Duration::from_secs(20);

/// A running program. Dropping it kills it.
pub(crate) struct TestProcess {
    child: Child,
    stdout_lines: Receiver<String>,
    stderr_lines: Receiver<String>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct ProcessOutput {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The program with these arguments in a folder of its own choice, none of our own variables set but `variables`.
pub(crate) fn program_command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resumen"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RESUMEN_") || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn run_program(arguments: &[&str], variables: &[(&str, &str)]) -> ProcessOutput {
    TestProcess::start(&mut program_command(arguments, variables)).wait_for_exit()
}

impl TestProcess {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = spawn_line_reader(child.stdout.take().unwrap());
        let err = spawn_line_reader(child.stderr.take().unwrap());
        Self {
            child,
            stdout_lines: out,
            stderr_lines: err,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its output, from here on, that holds `needle`.
    pub(crate) fn wait_for_stdout_line(&self, needle: &str) -> String {
        wait_for_line(&self.stdout_lines, needle)
    }

    /// The first line of its log, from here on, that holds `needle`.
    pub(crate) fn wait_for_stderr_line(&self, needle: &str) -> String {
        wait_for_line(&self.stderr_lines, needle)
    }

    pub(crate) fn send_signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the signal again and again until its log has a line that holds `needle`.
    pub(crate) fn signal_until_line(&self, signal: Signal, needle: &str) {
        for _ in 0..PROCESS_TIMEOUT.as_millis() / 100 {
            self.send_signal(signal);
            match self.stderr_lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.contains(needle) => return,
                _ => {}
            }
        }
        panic!("no line with {needle:?}");
    }

    /// What it printed from here to its end, and its exit code.
    pub(crate) fn wait_for_exit(mut self) -> ProcessOutput {
        let (out, err) = (
            remaining_output(&self.stdout_lines),
            remaining_output(&self.stderr_lines),
        );
        let code = self.child.wait().unwrap().code();
        ProcessOutput {
            exit_code: code,
            stdout: out,
            stderr: err,
        }
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `http://127.0.0.1:1234` in a line that the program printed.
pub(crate) fn base_url(line: &str) -> String {
    let url = &line[line.find("http://").expect("a URL")..];
    url.split(|c: char| c.is_whitespace() || c == '\'')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned()
}

/// One GET on a connection of its own.
pub(crate) fn http_get(base: &str, target: &str) -> HttpReply {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PROCESS_TIMEOUT)).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut bytes = Vec::new();
    // A connection that breaks is an answer too: what came before is what there is.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    HttpReply {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

fn spawn_line_reader(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for_line(lines: &Receiver<String>, needle: &str) -> String {
    let mut seen = String::new();
    loop {
        match lines.recv_timeout(PROCESS_TIMEOUT) {
            Ok(line) if line.contains(needle) => return line,
            Ok(line) => seen.push_str(&line),
            Err(error) => panic!("no line with {needle:?} ({error}); there were:\n{seen}"),
        }
    }
}

fn remaining_output(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(PROCESS_TIMEOUT) {
            Ok(line) => text.push_str(&line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return text,
            Err(error) => panic!("the program does not end ({error}); it printed:\n{text}"),
        }
    }
}
