//! Reloads the configuration of a running service, at SIGHUP and when a file of it changes.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::{error, info};

use super::config_watch::ConfigWatcher;
use super::load_config::{ConfigLocation, log_problems};
use crate::app::{AppService, ConfigReloader};
use crate::config::Config;
use crate::process::ProcessSignals;

struct ReloadTask {
    reloader: ConfigReloader,
    location: ConfigLocation,
    /// The configuration in effect.
    config: Config,
    watcher: ConfigWatcher,
}

/// Runs the supervised reload task until the drain. `config` is the configuration that the service was started with.
pub(super) async fn reload_until_drain(
    signals: &ProcessSignals,
    service: &AppService,
    location: ConfigLocation,
    config: Config,
) {
    let watcher = ConfigWatcher::new(config.fingerprints.clone());
    // In a mutex, because a task that is restarted after a panic continues with this state.
    let task = Arc::new(Mutex::new(ReloadTask {
        reloader: service.reloader(),
        location,
        config,
        watcher,
    }));
    let run = || {
        let (task, signals) = (Arc::clone(&task), signals.clone());
        async move { task.lock().await.run(&signals).await }
    };
    let supervisor = &service.core.supervisor;
    supervisor
        .supervise_until("reloader", &signals.drain, run)
        .await;
}

impl ReloadTask {
    async fn run(&mut self, signals: &ProcessSignals) {
        loop {
            // Two steps: a SIGHUP or a change during a reload starts the next one instead of cancelling it.
            tokio::select! {
                () = signals.drain.cancelled() => return,
                () = signals.reload.notified() => {}
                () = self.watcher.wait_for_change() => {}
            }
            tokio::select! {
                () = signals.drain.cancelled() => return,
                () = self.reload_config() => {}
            }
        }
    }

    /// Reads the file and applies all of it, or none of it if it has errors.
    async fn reload_config(&mut self) {
        let location = self.location.clone();
        // On a blocking thread: a disk may hang, and a panic of the parser costs only this reload.
        let read = tokio::task::spawn_blocking(move || location.read_config()).await;
        match read {
            Ok(Ok(config)) => {
                // Before it is applied: a configuration that needs a restart must not be refused at
                // every poll.
                self.watcher = ConfigWatcher::new(config.fingerprints.clone());
                self.apply_config(config);
            }
            Ok(Err(error)) => {
                log_problems(&error.problems);
                // The invalid content counts as seen: the same problems are not logged at every poll.
                self.watcher = ConfigWatcher::new(error.fingerprints);
                self.reloader.record_refusal();
                self.log_refusal("the file has errors");
            }
            Err(_) => {
                self.reloader.record_refusal();
                self.log_refusal("the reader panicked, which is a bug");
            }
        }
    }

    fn apply_config(&mut self, new: Config) {
        if let Err(error) = self.reloader.reload(&self.config, &new) {
            self.log_refusal(&format!("{error:#}"));
            return;
        }
        log_problems(&new.warnings);
        info!(config = %new.path.display(), sources = new.sources.len(), "configuration reloaded");
        self.config = new;
    }

    fn log_refusal(&self, error: &str) {
        error!(config = %self.location.path.display(), error, "configuration reload failed; the previous configuration stays in effect");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::app::ServiceOptions;
    use crate::config::parse_listen;
    use crate::domain::Redactor;
    use crate::process::Clock;
    use crate::server::{HttpListener, HttpListeners};

    fn write_config(path: &Path, sources: &[&str]) {
        let section = |name: &&str| format!("[sources.{name}]\nurl = \"http://127.0.0.1:9/\"\n");
        let text: String = sources.iter().map(section).collect();
        fs::write(path, format!("[store]\npath = ''\n{text}")).unwrap();
    }

    /// Waits until the snapshot has this many sources.
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
        let location = ConfigLocation {
            path: path.clone(),
            listen: None,
        };
        let config = location.read_config().unwrap();
        let listeners = HttpListeners {
            main: HttpListener::bind(&parse_listen("127.0.0.1:0").unwrap(), false).unwrap(),
            admin: None,
        };
        let options = ServiceOptions {
            listeners,
            clock: Clock::start(),
            revision: "",
            redactor: Redactor::new(config.secrets.clone()),
            filter_program: crate::extract::own_program(),
        };
        let (service, signals) = (
            AppService::start(&config, options).unwrap(),
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
        let reloading = reload_until_drain(&signals, &service, location, config);
        runtime.block_on(async { tokio::join!(reloading, steps) });
        service.stop(&signals.force_stop);
    }
}
