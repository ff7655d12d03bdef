//! A real Redis on a free port, which a test can stop and start again.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::child_process::ProcessGroup;
use super::fake_provider::test_certificates::{CertificateKind, issue_certificate};
use super::requirements::require_program;
use super::wait::{WAIT_LIMIT, wait_until};

/// A Redis without persistence.
pub struct RedisServer {
    pub address: SocketAddr,
    folder: TempDir,
    options: Vec<String>,
    process: Option<ProcessGroup>,
}

impl RedisServer {
    /// Starts Redis with these options. `None` if it is not installed.
    pub fn start(options: &[&str]) -> Option<Self> {
        require_program("redis-server").then(|| Self::start_at(unused_address(), options))
    }

    pub fn start_at(address: SocketAddr, options: &[&str]) -> Self {
        let options = options.iter().map(ToString::to_string).collect();
        let mut redis = Self {
            address,
            folder: tempfile::tempdir().unwrap(),
            options,
            process: None,
        };
        redis.restart();
        redis
    }

    /// Starts Redis with these options and a TLS port, which has a certificate of this kind. `None`
    /// if it is not installed. Returns the port, too.
    pub fn start_with_tls(kind: CertificateKind, options: &[&str]) -> Option<(Self, u16)> {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = issue_certificate(kind);
        let write = |name: &str, pem: String| {
            let path = folder.path().join(name);
            fs::write(&path, pem).unwrap();
            path.display().to_string()
        };
        let certificate = write("certificate.pem", certificate.pem());
        let key = write("key.pem", key.serialize_pem());
        let port = unused_address().port();
        let port_text = port.to_string();
        let tls_options = [
            ["--tls-port", &port_text],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-auth-clients", "no"],
            ["--tls-ca-cert-file", &certificate],
        ];
        let options = [tls_options.as_flattened(), options].concat();
        Some((Self::start(&options)?, port))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts an empty Redis at the same address.
    pub fn restart(&mut self) {
        let port = self.address.port().to_string();
        let host = self.address.ip().to_string();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port, "--bind", &host])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--unixsocket", "redis.sock", "--protected-mode", "no"])
            .args(&self.options)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(ProcessGroup::spawn(&mut command));
        wait_until("redis-server answers", || {
            self.try_execute(&["PING"]).is_some()
        });
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn send_signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().send_signal(signal);
    }

    pub fn socket_path(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// The raw reply to a command.
    pub fn execute(&self, words: &[&str]) -> String {
        self.try_execute(words).unwrap()
    }

    fn try_execute(&self, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(WAIT_LIMIT)).ok()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        request.push_str("*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).ok()?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        reply.strip_suffix("+OK\r\n").map(ToString::to_string)
    }
}

/// An address of 127.0.0.1 that no program listens at.
pub fn unused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
