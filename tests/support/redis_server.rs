//! A real Redis on a free port, to be stopped, started again and asked.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long it may take to start.
const REDIS_TIMEOUT: Duration = Duration::from_secs(20);

/// A Redis that keeps nothing on the disk.
pub struct RedisServer {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    #[allow(
        clippy::print_stderr,
        reason = "whoever reads the output of the tests is to know"
    )]
    /// Starts one. None if there is none on this machine, which fails under `RESUMEN_REQUIRE_ALL=1`.
    pub fn start(options: &[&str]) -> Option<Self> {
        if Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            #[allow(
                clippy::disallowed_methods,
                reason = "a switch of the tests, not of the program"
            )]
            let required = std::env::var("RESUMEN_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "redis-server is not installed");
            eprintln!("left out: redis-server is not installed");
            return None;
        }
        Some(Self::start_at(free_address(), options))
    }

    /// Starts one at this address.
    pub fn start_at(address: SocketAddr, options: &[&str]) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        let mut redis = Self {
            address,
            folder: tempfile::tempdir().unwrap(),
            options,
            child: None,
        };
        redis.restart();
        redis
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        let (port, host) = (
            self.address.port().to_string(),
            self.address.ip().to_string(),
        );
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port,
            "--bind",
            &host,
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command
            .args(["--unixsocket", "redis.sock", "--protected-mode", "no"])
            .args(&self.options);
        command
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let clock = Clock::start();
        let by = clock.instant() + REDIS_TIMEOUT;
        while self.try_execute(&["PING"]).is_none() {
            assert!(clock.instant() < by, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal.
    pub fn send_signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Its socket file.
    pub fn socket_path(&self) -> std::path::PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// The raw answer to a command.
    pub fn execute(&self, words: &[&str]) -> String {
        self.try_execute(words).unwrap()
    }

    fn try_execute(&self, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(REDIS_TIMEOUT)).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        request.push_str("*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.strip_suffix("+OK\r\n").map(ToString::to_string)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that nobody listens at.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
