//! Every fault of a provider against the whole service, all at once, in three situations: the first round of a service
//! that has nothing, a live request, and the schedule of one that has last-good data.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resumen::clock::Clock;
use resumen::config::Config;
use resumen::domain::{Kind, Name, Pace, Secrets, Shelf, Source};
use resumen::fetch::{Ask, HttpFetch};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::fetch::{ask, provider};
use crate::support::fault::{self, FaultServer, Scenario, Script};
use crate::support::served::{Served, config};

/// Between two attempts of a source; longer than any of the table's timeouts.
const INTERVAL: Duration = Duration::from_secs(2);

/// One trial at a time: each is a whole service with every fault at once.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service whose sources meet one fault each, beside a healthy one.
struct Trial {
    served: Served,
    faults: Vec<(String, Scenario, FaultServer)>,
    _providers: Runtime,
}

impl Trial {
    /// Starts the table; with `good`, each provider that can answer at all does so until it is turned.
    fn start(good: bool) -> Self {
        let providers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let prelude = || good.then(|| Script::parse(&["json {\"good\":true}"]));
        let healthy = toml::from_str::<Scenario>(
            "name = \"healthy\"\nanswer = ['json {\"n\":1}', 'again']\ndata = '{\"n\":1}'",
        );
        let table = std::iter::once(healthy.unwrap()).chain(fault::all());
        let start = |(n, scenario): (usize, Scenario)| {
            let server = providers.block_on(scenario.serve_after(prelude()));
            (format!("fault-{n}"), scenario, server)
        };
        let faults: Vec<_> = table.enumerate().map(start).collect();
        let mut config: Config =
            config("[store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:1/\"\n");
        config.sources = faults
            .iter()
            .map(|(name, scenario, server)| source(name, scenario, server))
            .collect();
        config.server.max_timeout = Duration::from_secs(60);
        let fetch = HttpFetch::with_lookup(Clock::start(), Secrets::default(), lookups(&faults));
        Self {
            served: Served::with_fetch(&config, fetch),
            faults,
            _providers: providers,
        }
    }

    /// Every source's part of an answer, once all of them please.
    fn until(&self, path: &str, pleases: fn(&Scenario, &Value) -> Result<(), String>) {
        let mut wrong = Vec::new();
        for _ in 0..100 {
            let answer = self.served.json(path);
            wrong = self.wrong(&answer, pleases);
            if wrong.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "{} faults went wrong in {path}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }

    fn wrong(
        &self,
        answer: &Value,
        pleases: fn(&Scenario, &Value) -> Result<(), String>,
    ) -> Vec<String> {
        let judge = |(name, scenario, _): &(String, Scenario, FaultServer)| {
            let source = &answer["resultados"][name];
            pleases(scenario, source)
                .err()
                .map(|why| format!("{}: {why} in {source}", scenario.name))
        };
        self.faults.iter().filter_map(judge).collect()
    }
}

#[test]
fn every_fault_has_its_code_at_a_cold_start() {
    let _alone = alone();
    let cold = || {
        let trial = Trial::start(false);
        let answer = trial.served.json("/resumen?timeout=30");
        trial.wrong(&answer, fault_without_data)
    };
    // A first round happens once; on a machine busy with other tests, providers that play hundreds of scripts at once may
    // themselves be late. So each fault must come right in one of a few first rounds.
    let fault = |line: &String| line.split(':').next().map(str::to_owned);
    let mut wrong = cold();
    for _ in 0..5 {
        if wrong.is_empty() {
            return;
        }
        let again: Vec<_> = cold().iter().map(fault).collect();
        wrong.retain(|line| again.contains(&fault(line)));
    }
    assert!(
        wrong.is_empty(),
        "{} faults went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_fault_has_its_code_in_a_live_answer() {
    let _alone = alone();
    Trial::start(false).until("/resumen?fresh=1&timeout=30", fault_without_data);
}

#[test]
fn every_fault_leaves_last_good_data_in_place() {
    let _alone = alone();
    let trial = Trial::start(true);
    trial.until("/resumen", |scenario, source| {
        let good = source["data"]["good"] == true || !scenario.can_be_good();
        if good {
            Ok(())
        } else {
            Err("not good yet".into())
        }
    });
    trial.faults.iter().for_each(|(_, _, server)| server.turn());
    trial.until("/resumen", fault_over_data);
    trial.until("/resumen?fresh=1&timeout=30", fault_over_data);
}

fn fault_without_data(scenario: &Scenario, source: &Value) -> Result<(), String> {
    told(scenario, source)?;
    if source["ok"] == Value::Bool(scenario.code.is_none()) {
        shown(scenario, source)
    } else {
        Err("wrong ok".into())
    }
}

/// The fault is told, and what was good before it is still there.
fn fault_over_data(scenario: &Scenario, source: &Value) -> Result<(), String> {
    told(scenario, source)?;
    match scenario.code {
        None => shown(scenario, source),
        Some(_)
            if !scenario.can_be_good()
                || (source["data"]["good"] == true && source["stale"] == false) =>
        {
            Ok(())
        }
        Some(_) => Err("last-good data is gone".into()),
    }
}

/// The code and the message are the scenario's.
fn told(scenario: &Scenario, source: &Value) -> Result<(), String> {
    let message = source["error"].as_str().unwrap_or_default();
    if source["code"].as_str() != scenario.code.as_deref() {
        return Err("wrong code".into());
    }
    match scenario.says.iter().find(|part| !message.contains(*part)) {
        Some(part) => Err(format!("the message does not say {part}")),
        None if scenario.hides.iter().any(|part| message.contains(part)) => {
            Err("the message says too much".into())
        }
        None => Ok(()),
    }
}

fn shown(scenario: &Scenario, source: &Value) -> Result<(), String> {
    let Some(wanted) = scenario
        .shown
        .as_ref()
        .or(scenario.data.as_ref())
        .filter(|_| scenario.code.is_none())
    else {
        return Ok(());
    };
    let wanted: Value = serde_json::from_str(wanted).unwrap();
    if source["data"] == wanted {
        Ok(())
    } else {
        Err("wrong data".into())
    }
}

fn source(name: &str, scenario: &Scenario, server: &FaultServer) -> Arc<Source> {
    let pace = Pace {
        interval: INTERVAL,
        timeout: scenario.timeout(),
        min_interval: Duration::from_millis(1),
        hedge_after: None,
    };
    let shelf = Shelf {
        ttl: Duration::from_secs(600),
        max_stale: Duration::from_secs(3600),
    };
    let kind = Kind::Fetched {
        providers: vec![provider(scenario, server)],
        pace,
    };
    Arc::new(Source {
        name: Name::new(name).unwrap(),
        kind,
        shelf,
        attribution: None,
    })
}

/// Each host's lookup, as its scenario has it.
fn lookups(faults: &[(String, Scenario, FaultServer)]) -> Ask {
    let by_host: HashMap<String, Ask> = faults
        .iter()
        .map(|(_, scenario, _)| (scenario.host.clone(), ask(&scenario.lookup)))
        .collect();
    Arc::new(move |host| by_host[&*host](Arc::clone(&host)))
}
