//! Real replicas: the program, several times, on one Redis.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use resumen::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{LIMIT, Program, command, get};

/// What all replicas of a fleet are configured with.
pub struct Fleet {
    folder: TempDir,
}

/// One of them.
pub struct Replica {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub base: String,
}

impl Fleet {
    /// Replicas that share by the Redis at `url` under `prefix`, with these sources.
    pub fn new(url: &str, prefix: &str, sources: &str) -> Self {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n\
             [store]\npath = \"\"\nredis = \"{url}\"\nredis_prefix = \"{prefix}\"\n{sources}"
        );
        let fleet = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(fleet.folder.path().join("resumen.toml"), text).unwrap();
        fleet
    }

    /// Replicas launched from now on listen at all addresses of their machine.
    pub fn listen_everywhere(&self) {
        let path = self.folder.path().join("resumen.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("127.0.0.1:0", "0.0.0.0:0")).unwrap();
    }

    /// One more replica.
    pub fn launch(&self) -> Replica {
        self.launch_by(&[], &[])
    }

    /// One more, started by another program (`faketime …`), with these variables.
    pub fn launch_by(&self, starter: &[&str], variables: &[(&str, &str)]) -> Replica {
        let mut own = command(&["serve", "--config", "resumen.toml"], variables);
        if let [first, rest @ ..] = starter {
            let program = own.get_program().to_owned();
            let mut other = std::process::Command::new(first);
            other
                .args(rest)
                .arg(program)
                .args(["serve", "--config", "resumen.toml"]);
            other.envs(variables.iter().copied());
            other.stdin(std::process::Stdio::null());
            other
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            own = other;
        }
        own.current_dir(&self.folder);
        let program = Program::start(&mut own);
        let line = program.err_line("listens");
        let address = line
            .split("address=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1");
        Replica {
            base: format!("http://{address}"),
            program,
        }
    }

    /// That many, all of which see each other.
    pub fn launch_all(&self, count: usize) -> Vec<Replica> {
        let replicas: Vec<Replica> = (0..count).map(|_| self.launch()).collect();
        for replica in &replicas {
            replica.until("resumen_fleet_replicas", |seen| seen > count as f64 - 0.5);
        }
        replicas
    }
}

impl Replica {
    /// The same, asked at another address of its machine.
    pub fn seen_at(self, host: &str) -> Self {
        let port = self.base.rsplit(':').next().unwrap();
        Self {
            base: format!("http://{host}:{port}"),
            program: self.program,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.base.trim_start_matches("http://").parse().unwrap()
    }

    /// The value of a series of `/metrics`, named with its labels.
    pub fn metric(&self, series: &str) -> f64 {
        let page = get(&self.base, "/metrics").body;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{page}"))
            .parse()
            .unwrap()
    }

    /// Waits until a series has a value that pleases.
    pub fn until(&self, series: &str, pleases: impl Fn(f64) -> bool) {
        until(series, || pleases(self.metric(series)));
    }

    /// The JSON at `path`.
    pub fn json(&self, path: &str) -> Value {
        let answer = get(&self.base, path);
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// What `/resumen` says of the source `a`.
    pub fn a(&self) -> Value {
        self.json("/resumen")["resultados"]["a"].take()
    }

    /// How long ago the reading of `a` was asked for, in milliseconds.
    pub fn age(&self) -> i64 {
        self.a()["age_ms"].as_i64().unwrap()
    }
}

/// A client that polls a replica ten times a second and wants good and fresh data every time.
pub struct Poller {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Result<Polled, String>>,
}

/// What it saw.
#[derive(Debug, Default)]
pub struct Polled {
    /// How many answers.
    pub answers: usize,
    /// The greatest age of `a`, in milliseconds.
    pub oldest: i64,
}

impl Poller {
    /// Polls until it is called off.
    pub fn new(replica: &Replica) -> Self {
        let (stop, base) = (Arc::<AtomicBool>::default(), replica.base.clone());
        let until = Arc::clone(&stop);
        let client = spawn(move || {
            let mut polled = Polled::default();
            while !until.load(Relaxed) {
                let answer = get(&base, "/resumen");
                let body: Value = serde_json::from_str(&answer.body)
                    .map_err(|error| format!("{error}: {answer:?}"))?;
                let a = &body["resultados"]["a"];
                if answer.status != 200 || a["ok"] != true || a["stale"] != false {
                    return Err(format!("{answer:?}"));
                }
                polled.answers += 1;
                polled.oldest = polled.oldest.max(a["age_ms"].as_i64().unwrap_or(i64::MAX));
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(polled)
        });
        Self { stop, client }
    }

    /// Calls it off; what it saw, or the first answer that was not good.
    pub fn done(self) -> Polled {
        self.stop.store(true, Relaxed);
        self.client.join().unwrap().unwrap()
    }
}

/// Waits until `done`.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let clock = Clock::start();
    let by = clock.instant() + LIMIT * 2;
    while !done() {
        assert!(clock.instant() < by, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
