//! The built program as a process of its own, driven like a person would: arguments, signals, what it prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What a test waits for at most, on a machine with other things to do.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The program with these arguments in a folder of its own choice, none of our own variables set but `variables`.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
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
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    Program::start(&mut command(arguments, variables)).end()
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its output, from here on, that holds `needle`.
    pub(crate) fn out_line(&self, needle: &str) -> String {
        wait_for(&self.out, needle)
    }

    /// The first line of its log, from here on, that holds `needle`.
    pub(crate) fn err_line(&self, needle: &str) -> String {
        wait_for(&self.err, needle)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the signal again and again until its log has a line that holds `needle`.
    pub(crate) fn signal_until_line(&self, signal: Signal, needle: &str) {
        for _ in 0..LIMIT.as_millis() / 100 {
            self.signal(signal);
            match self.err.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.contains(needle) => return,
                _ => {}
            }
        }
        panic!("no line with {needle:?}");
    }

    /// What it printed from here to its end, and its exit code.
    pub(crate) fn end(mut self) -> Ended {
        let (out, err) = (rest(&self.out), rest(&self.err));
        let code = self.child.wait().unwrap().code();
        Ended { code, out, err }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `http://127.0.0.1:1234` in a line that the program printed.
pub(crate) fn base(line: &str) -> String {
    let url = &line[line.find("http://").expect("a URL")..];
    url.split(|c: char| c.is_whitespace() || c == '\'')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned()
}

/// One GET on a connection of its own.
pub(crate) fn get(base: &str, target: &str) -> Answer {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
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
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
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

fn wait_for(lines: &Receiver<String>, needle: &str) -> String {
    let mut seen = String::new();
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) if line.contains(needle) => return line,
            Ok(line) => seen.push_str(&line),
            Err(error) => panic!("no line with {needle:?} ({error}); there were:\n{seen}"),
        }
    }
}

fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) => text.push_str(&line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return text,
            Err(error) => panic!("the program does not end ({error}); it printed:\n{text}"),
        }
    }
}
