//! Several replicas of the service as child processes that share one Redis.

use std::fs;

use super::child_process::command_through;
use super::fake_provider::FakeProvider;
use super::redis_server::RedisServer;
use super::service_process::{ServiceFolder, ServiceProcess};
use super::wait::{wait_for, wait_until};

/// The keys of a source whose readings become stale after 4.9 s.
pub const SCHEDULE_KEYS: &str = "interval = \"2s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"";

/// The configuration of all replicas.
pub struct ReplicaCluster {
    folder: ServiceFolder,
}

impl ReplicaCluster {
    /// Replicas with these sources that share the Redis at `redis_url` under the prefix `fleet`.
    pub fn new(redis_url: &str, sources: &str) -> Self {
        Self::with_prefix(redis_url, "fleet", sources)
    }

    pub fn with_prefix(redis_url: &str, prefix: &str, sources: &str) -> Self {
        let keys = format!("redis = \"{redis_url}\"\nredis_prefix = \"{prefix}\"");
        Self::with_store_keys(&keys, sources)
    }

    /// Replicas with these keys of `[store]`.
    pub fn with_store_keys(keys: &str, sources: &str) -> Self {
        let folder = ServiceFolder::new(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n\
             [store]\npath = \"\"\n{keys}\n{sources}"
        ));
        Self { folder }
    }

    pub fn folder(&self) -> &ServiceFolder {
        &self.folder
    }

    /// Replicas that start from now on listen at all addresses.
    pub fn bind_all_addresses(&self) {
        let text = fs::read_to_string(self.folder.config_path()).unwrap();
        self.folder
            .write_config(&text.replace("127.0.0.1:0", "0.0.0.0:0"));
    }

    pub fn start_replica(&self) -> ServiceProcess {
        ServiceProcess::start(&mut self.folder.command("serve", &[]))
    }

    pub fn start_replica_with(&self, variables: &[(&str, &str)]) -> ServiceProcess {
        ServiceProcess::start(&mut self.folder.command("serve", variables))
    }

    /// Starts a replica through another program: `faketime -f +1h`.
    pub fn start_replica_through(&self, starter: &[&str]) -> ServiceProcess {
        let command = self.folder.command("serve", &[]);
        ServiceProcess::start(&mut command_through(starter, &command))
    }

    /// Starts `count` replicas and waits until they see each other.
    pub fn start_replicas(&self, count: usize) -> Vec<ServiceProcess> {
        let replicas: Vec<_> = (0..count).map(|_| self.start_replica()).collect();
        for replica in &replicas {
            replica.wait_for_metric("resumen_fleet_replicas", |seen| seen > count as f64 - 0.5);
        }
        replicas
    }
}

/// A Redis, and replicas whose source `a` answers `{"n":1}`.
pub struct ClusterFixture {
    pub redis: RedisServer,
    pub provider: FakeProvider,
    pub cluster: ReplicaCluster,
}

impl ClusterFixture {
    /// Starts Redis and the provider. `a` has these `keys`. `None` if Redis is not installed.
    pub fn start(keys: &str) -> Option<Self> {
        let redis = RedisServer::start(&[])?;
        let provider = FakeProvider::with_json(r#"{"n":1}"#);
        let cluster = ReplicaCluster::new(&redis.url(), &shared_source_config(&provider, keys));
        Some(Self {
            redis,
            provider,
            cluster,
        })
    }

    /// The Redis key of the stored state of `a`, once it exists.
    pub fn stored_state_key(&self) -> String {
        wait_for("a stored state", || {
            let keys = self.redis.execute(&["KEYS", "fleet:*:letter"]);
            let key = keys.lines().find(|line| line.ends_with(":letter"));
            key.map(str::to_owned)
        })
    }
}

/// A source `a` with this provider and these keys.
pub fn shared_source_config(provider: &FakeProvider, keys: &str) -> String {
    format!("[sources.a]\nurl = \"{}\"\n{keys}\n", provider.url())
}

pub fn is_sharing(replica: &ServiceProcess) -> bool {
    replica.metric("resumen_fleet_sharing") > 0.5
}

/// Waits until every replica has a reading of `a`.
pub fn wait_for_readings(replicas: &[ServiceProcess]) {
    wait_until("a reading of every replica", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["ok"] == true)
    });
}

/// Waits until the reading of `a` is `{"n": n}` at every replica.
pub fn wait_for_value(replicas: &[ServiceProcess], n: usize) {
    wait_until("the newest reading at every replica", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["data"]["n"] == n)
    });
}
