//! Real replicas: the program, several times, on one Redis.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use resumen::process::Clock;
use serde_json::Value;
use tempfile::TempDir;

use super::child_process::{PROCESS_TIMEOUT, TestProcess, http_get, program_command};

/// What all replicas of a fleet are configured with.
pub struct ReplicaCluster {
    folder: TempDir,
}

/// One of them.
pub struct TestReplica {
    /// The process.
    pub process: TestProcess,
    /// Where it listens.
    pub base_url: String,
}

impl ReplicaCluster {
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
    pub fn bind_all_addresses(&self) {
        let path = self.folder.path().join("resumen.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("127.0.0.1:0", "0.0.0.0:0")).unwrap();
    }

    /// One more replica.
    pub fn start_replica(&self) -> TestReplica {
        self.start_replica_through(&[], &[])
    }

    /// One more, started by another program (`faketime …`), with these variables.
    pub fn start_replica_through(
        &self,
        starter: &[&str],
        variables: &[(&str, &str)],
    ) -> TestReplica {
        let mut own = program_command(&["serve", "--config", "resumen.toml"], variables);
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
        let program = TestProcess::start(&mut own);
        let line = program.wait_for_stderr_line("listens");
        let address = line
            .split("address=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1");
        TestReplica {
            base_url: format!("http://{address}"),
            process: program,
        }
    }

    /// That many, all of which see each other.
    pub fn start_replicas(&self, count: usize) -> Vec<TestReplica> {
        let replicas: Vec<TestReplica> = (0..count).map(|_| self.start_replica()).collect();
        for replica in &replicas {
            replica.wait_for_metric("resumen_fleet_replicas", |seen| seen > count as f64 - 0.5);
        }
        replicas
    }
}

impl TestReplica {
    /// The same, asked at another address of its machine.
    pub fn with_host(self, host: &str) -> Self {
        let port = self.base_url.rsplit(':').next().unwrap();
        Self {
            base_url: format!("http://{host}:{port}"),
            process: self.process,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.base_url.trim_start_matches("http://").parse().unwrap()
    }

    /// The value of a series of `/metrics`, named with its labels.
    pub fn metric_value(&self, series: &str) -> f64 {
        let page = http_get(&self.base_url, "/metrics").body;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{page}"))
            .parse()
            .unwrap()
    }

    /// Waits until a series has a value that pleases.
    pub fn wait_for_metric(&self, series: &str, pleases: impl Fn(f64) -> bool) {
        wait_for(series, || pleases(self.metric_value(series)));
    }

    /// The JSON at `path`.
    pub fn get_json(&self, path: &str) -> Value {
        let answer = http_get(&self.base_url, path);
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// What `/resumen` says of the source `a`.
    pub fn source_a(&self) -> Value {
        self.get_json("/resumen")["resultados"]["a"].take()
    }

    /// How long ago the reading of `a` was asked for, in milliseconds.
    pub fn age_of_a(&self) -> i64 {
        self.source_a()["age_ms"].as_i64().unwrap()
    }
}

/// A client that polls a replica ten times a second and wants good and fresh data every time.
pub struct FreshnessPoller {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Result<PollSummary, String>>,
}

/// What it saw.
#[derive(Debug, Default)]
pub struct PollSummary {
    /// How many answers.
    pub responses: usize,
    /// The greatest age of `a`, in milliseconds.
    pub oldest: i64,
}

impl FreshnessPoller {
    /// Polls until it is called off.
    pub fn new(replica: &TestReplica) -> Self {
        let (stop, base) = (Arc::<AtomicBool>::default(), replica.base_url.clone());
        let until = Arc::clone(&stop);
        let client = spawn(move || {
            let mut polled = PollSummary::default();
            while !until.load(Relaxed) {
                let answer = http_get(&base, "/resumen");
                let body: Value = serde_json::from_str(&answer.body)
                    .map_err(|error| format!("{error}: {answer:?}"))?;
                let a = &body["resultados"]["a"];
                if answer.status != 200 || a["ok"] != true || a["stale"] != false {
                    return Err(format!("{answer:?}"));
                }
                polled.responses += 1;
                polled.oldest = polled.oldest.max(a["age_ms"].as_i64().unwrap_or(i64::MAX));
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(polled)
        });
        Self { stop, client }
    }

    /// Calls it off; what it saw, or the first answer that was not good.
    pub fn stop_and_summarise(self) -> PollSummary {
        self.stop.store(true, Relaxed);
        self.client.join().unwrap().unwrap()
    }
}

/// Waits until `done`.
pub fn wait_for(what: &str, done: impl Fn() -> bool) {
    let clock = Clock::start();
    let by = clock.instant() + PROCESS_TIMEOUT * 2;
    while !done() {
        assert!(clock.instant() < by, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
