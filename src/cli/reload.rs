//! The service's configuration while it runs: read again at each SIGHUP and whenever a file of it changes.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::{error, info};

use super::configuration::{self, Origin};
use super::watch::Watch;
use crate::app::{Reloader, Service};
use crate::config::{Config, Report};
use crate::shutdown::Signals;
use crate::telemetry::Mask;

/// What it takes to reload.
struct Reloading {
    reloader: Reloader,
    origin: Origin,
    mask: Mask,
    /// What is in force.
    config: Config,
    watch: Watch,
}

/// Reloads when asked to, until the drain.
pub(super) async fn until_drained(
    signals: &Signals,
    service: &Service,
    origin: Origin,
    mask: Mask,
    config: Config,
) {
    let (supervisor, watch) = (
        &service.engine.supervisor,
        Watch::new(config.read_from.clone()),
    );
    let reloading = Reloading {
        reloader: service.reloader(),
        origin,
        mask,
        config,
        watch,
    };
    // A mutex, so that one that is started again finds the state of the one before.
    let reloading = Arc::new(Mutex::new(reloading));
    let run = || {
        let (reloading, signals) = (Arc::clone(&reloading), signals.clone());
        async move { reloading.lock().await.run(&signals).await }
    };
    supervisor.hold("reloader", &signals.drain, run).await;
}

impl Reloading {
    async fn run(&mut self, signals: &Signals) {
        loop {
            let reloaded = async {
                tokio::select! {
                    () = signals.reload.notified() => {}
                    () = self.watch.changed() => {}
                }
                self.reload().await;
            };
            tokio::select! {
                () = signals.drain.cancelled() => return,
                () = reloaded => {}
            }
        }
    }

    /// Takes over the file as it is now, all of it or none of it.
    async fn reload(&mut self) {
        match self.read().await {
            Some(Ok(new)) => {
                self.watch.follow(new.read_from.clone());
                self.adopt(new);
            }
            Some(Err(report)) => {
                configuration::log(&report);
                self.watch.follow(report.read_from);
                self.reloader.refused();
                self.tell_refusal("it has errors");
            }
            None => {
                self.reloader.refused();
                self.tell_refusal("reading it failed by a bug of ours");
            }
        }
    }

    /// Reads the file where a disk that hangs, or a bug of ours that some text brings out, costs this reload only. None
    /// after a panic; the log has it.
    async fn read(&self) -> Option<Result<Config, Report>> {
        let origin = self.origin.clone();
        tokio::task::spawn_blocking(move || origin.read())
            .await
            .ok()
    }

    fn adopt(&mut self, new: Config) {
        // Before the first request with a new secret can leave.
        self.mask.replace(new.secrets.clone());
        if let Err(error) = self.reloader.reload(&self.config, &new) {
            self.mask.replace(self.config.secrets.clone());
            self.tell_refusal(&format!("{error:#}"));
            return;
        }
        configuration::warn_of(&new);
        info!(config = %new.path.display(), sources = new.sources.len(), "the configuration was taken over");
        self.config = new;
    }

    fn tell_refusal(&self, why: &str) {
        error!(config = %self.origin.path.display(), error = why, "the configuration was refused; the old one goes on");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::app::Start;
    use crate::clock::Clock;
    use crate::http::Listener;

    fn write(path: &Path, sources: &[&str]) {
        let one = |name: &&str| format!("[sources.{name}]\nurl = \"http://127.0.0.1:9/\"\n");
        let text: String = sources.iter().map(one).collect();
        fs::write(path, format!("[store]\npath = ''\n{text}")).unwrap();
    }

    /// Waits until this many sources are served.
    async fn serves(service: &Service, sources: usize) {
        while service.engine.cache.snapshot().entries().len() != sources {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn a_reloader_that_panics_is_started_again_and_knows_what_is_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resumen.toml");
        write(&path, &["a"]);
        let origin = Origin::at(&path);
        let config = origin.read().unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        let start = Start {
            listener,
            clock: Clock::start(),
            revision: "",
        };
        let (service, signals) = (Service::start(&config, start).unwrap(), Signals::default());
        let runtime = service.runtime().unwrap().clone();
        let steps = async {
            for (round, sources) in [&["a", "b"][..], &["a", "b", "c"]].into_iter().enumerate() {
                service.engine.supervisor.trip("reloader");
                while service
                    .engine
                    .supervisor
                    .restarts()
                    .iter()
                    .all(|(_, count)| *count <= round as u64)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                write(&path, sources);
                signals.reload.notify_one();
                serves(&service, sources.len()).await;
            }
            signals.drain.cancel();
        };
        let reloading = until_drained(&signals, &service, origin, Mask::default(), config);
        runtime.block_on(async { tokio::join!(reloading, steps) });
        service.stop(&signals.end);
    }
}
