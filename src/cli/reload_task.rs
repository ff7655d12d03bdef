//! The service's configuration while it runs: read again at each SIGHUP and whenever a file of it changes.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::{error, info};

use super::config_watch::ConfigWatcher;
use super::load_config;
use super::load_config::ConfigLocation;
use crate::app::{AppService, ConfigReloader};
use crate::config::{Config, ConfigError};
use crate::process::ProcessSignals;
use crate::telemetry::LogRedactor;

/// What it takes to reload.
struct ReloadTask {
    reloader: ConfigReloader,
    location: ConfigLocation,
    log_redactor: LogRedactor,
    /// What is in force.
    config: Config,
    watcher: ConfigWatcher,
}

/// Reloads when asked to, until the drain.
pub(crate) async fn reload_until_drain(
    signals: &ProcessSignals,
    service: &AppService,
    origin: ConfigLocation,
    mask: LogRedactor,
    config: Config,
) {
    let (supervisor, watch) = (
        &service.core.supervisor,
        ConfigWatcher::new(config.fingerprints.clone()),
    );
    let reloading = ReloadTask {
        reloader: service.reloader(),
        location: origin,
        log_redactor: mask,
        config,
        watcher: watch,
    };
    // A mutex, so that one that is started again finds the state of the one before.
    let reloading = Arc::new(Mutex::new(reloading));
    let run = || {
        let (reloading, signals) = (Arc::clone(&reloading), signals.clone());
        async move { reloading.lock().await.run(&signals).await }
    };
    supervisor
        .supervise_until("reloader", &signals.drain, run)
        .await;
}

impl ReloadTask {
    async fn run(&mut self, signals: &ProcessSignals) {
        loop {
            let reloaded = async {
                tokio::select! {
                    () = signals.reload.notified() => {}
                    () = self.watcher.wait_for_change() => {}
                }
                self.reload_config().await;
            };
            tokio::select! {
                () = signals.drain.cancelled() => return,
                () = reloaded => {}
            }
        }
    }

    /// Takes over the file as it is now, all of it or none of it.
    async fn reload_config(&mut self) {
        match self.read_config().await {
            Some(Ok(new)) => {
                self.watcher.replace_files(new.fingerprints.clone());
                self.apply_config(new);
            }
            Some(Err(report)) => {
                load_config::log_problems(&report);
                self.watcher.replace_files(report.fingerprints);
                self.reloader.record_refusal();
                self.log_refusal("it has errors");
            }
            None => {
                self.reloader.record_refusal();
                self.log_refusal("reading it failed by a bug of ours");
            }
        }
    }

    /// Reads the file where a disk that hangs, or a bug of ours that some text brings out, costs this reload only. None
    /// after a panic; the log has it.
    async fn read_config(&self) -> Option<Result<Config, ConfigError>> {
        let origin = self.location.clone();
        tokio::task::spawn_blocking(move || origin.read_config())
            .await
            .ok()
    }

    fn apply_config(&mut self, new: Config) {
        // Before the first request with a new secret can leave.
        self.log_redactor.replace_secrets(new.secrets.clone());
        if let Err(error) = self.reloader.reload(&self.config, &new) {
            self.log_redactor
                .replace_secrets(self.config.secrets.clone());
            self.log_refusal(&format!("{error:#}"));
            return;
        }
        load_config::log_warnings(&new);
        info!(config = %new.path.display(), sources = new.sources.len(), "the configuration was taken over");
        self.config = new;
    }

    fn log_refusal(&self, why: &str) {
        error!(config = %self.location.path.display(), error = why, "the configuration was refused; the old one goes on");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::app::ServiceOptions;
    use crate::process::Clock;
    use crate::server::HttpListener;

    fn write_config(path: &Path, sources: &[&str]) {
        let one = |name: &&str| format!("[sources.{name}]\nurl = \"http://127.0.0.1:9/\"\n");
        let text: String = sources.iter().map(one).collect();
        fs::write(path, format!("[store]\npath = ''\n{text}")).unwrap();
    }

    /// Waits until this many sources are served.
    async fn wait_for_sources(service: &AppService, sources: usize) {
        while service.core.cache.snapshot().source_states().len() != sources {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn reloader_survives_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resumen.toml");
        write_config(&path, &["a"]);
        let origin = ConfigLocation::from_path(&path);
        let config = origin.read_config().unwrap();
        let listener = HttpListener::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let start = ServiceOptions {
            listener,
            clock: Clock::start(),
            revision: "",
            filter_program: crate::extract::own_program(),
        };
        let (service, signals) = (
            AppService::start(&config, start).unwrap(),
            ProcessSignals::default(),
        );
        let runtime = service.runtime().unwrap().clone();
        let steps = async {
            for (round, sources) in [&["a", "b"][..], &["a", "b", "c"]].into_iter().enumerate() {
                service.core.supervisor.trigger_panic("reloader");
                while service
                    .core
                    .supervisor
                    .restarts()
                    .iter()
                    .all(|(_, count)| *count <= round as u64)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                write_config(&path, sources);
                signals.reload.notify_one();
                wait_for_sources(&service, sources.len()).await;
            }
            signals.drain.cancel();
        };
        let reloading =
            reload_until_drain(&signals, &service, origin, LogRedactor::default(), config);
        runtime.block_on(async { tokio::join!(reloading, steps) });
        service.stop(&signals.force_stop);
    }
}
