//! Every fault of a provider against the whole service, all at once, in three situations: the first round of a service
//! that has nothing, a live request, and the schedule of one that has last-good data.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resumen::config::Config;
use resumen::domain::{FreshnessPolicy, Name, Redactor, Schedule, Source, SourceKind};
use resumen::fetch::{HttpFetch, ResolveFn};
use resumen::process::Clock;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::fetch_faults::{lookup_result, scenario_provider};
use crate::support::faulty_provider;
use crate::support::faulty_provider::FaultyProvider;
use crate::support::faulty_provider::fault_scenario::FaultScenario;
use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::test_app::{TestApp, parse_test_config};

/// Between two attempts of a source; longer than any of the table's timeouts.
const INTERVAL: Duration = Duration::from_secs(2);

/// One trial at a time: each is a whole service with every fault at once.
fn lock_trials() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service whose sources meet one fault each, beside a healthy one.
struct FaultTrial {
    app: TestApp,
    faults: Vec<(String, FaultScenario, FaultyProvider)>,
    _providers: Runtime,
}

impl FaultTrial {
    /// Starts the table; with `good`, each provider that can answer at all does so until it is turned.
    fn start(good: bool) -> Self {
        let providers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let prelude = || good.then(|| FaultScript::parse(&["json {\"good\":true}"]));
        let healthy = toml::from_str::<FaultScenario>(
            "name = \"healthy\"\nanswer = ['json {\"n\":1}', 'again']\ndata = '{\"n\":1}'",
        );
        let table = std::iter::once(healthy.unwrap()).chain(faulty_provider::load_scenarios());
        let start = |(n, scenario): (usize, FaultScenario)| {
            let server = providers.block_on(scenario.start_provider_after(prelude()));
            (format!("fault-{n}"), scenario, server)
        };
        let faults: Vec<_> = table.enumerate().map(start).collect();
        let mut config: Config =
            parse_test_config("[store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:1/\"\n");
        config.sources = faults
            .iter()
            .map(|(name, scenario, server)| fault_source(name, scenario, server))
            .collect();
        config.server.max_timeout = Duration::from_secs(60);
        let fetch = HttpFetch::with_resolver(
            Clock::start(),
            Redactor::default(),
            scenario_resolver(&faults),
        );
        Self {
            app: TestApp::start_with_fetch(&config, fetch),
            faults,
            _providers: providers,
        }
    }

    /// Every source's part of an answer, once all of them please.
    fn wait_for_every_source(
        &self,
        path: &str,
        pleases: fn(&FaultScenario, &Value) -> Result<(), String>,
    ) {
        let mut wrong = Vec::new();
        for _ in 0..100 {
            let answer = self.app.get_json(path);
            wrong = self.list_mismatches(&answer, pleases);
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

    fn list_mismatches(
        &self,
        answer: &Value,
        pleases: fn(&FaultScenario, &Value) -> Result<(), String>,
    ) -> Vec<String> {
        let judge = |(name, scenario, _): &(String, FaultScenario, FaultyProvider)| {
            let source = &answer["resultados"][name];
            pleases(scenario, source)
                .err()
                .map(|why| format!("{}: {why} in {source}", scenario.name))
        };
        self.faults.iter().filter_map(judge).collect()
    }
}

#[test]
fn cold_start_reports_fault_codes() {
    let _alone = lock_trials();
    let cold = || {
        let trial = FaultTrial::start(false);
        let answer = trial.app.get_json("/resumen?timeout=30");
        trial.list_mismatches(&answer, expect_failure_without_data)
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
fn live_response_reports_fault_codes() {
    let _alone = lock_trials();
    FaultTrial::start(false)
        .wait_for_every_source("/resumen?fresh=1&timeout=30", expect_failure_without_data);
}

#[test]
fn faults_keep_last_good_data() {
    let _alone = lock_trials();
    let trial = FaultTrial::start(true);
    trial.wait_for_every_source("/resumen", |scenario, source| {
        let good = source["data"]["good"] == true || !scenario.can_answer_prelude();
        if good {
            Ok(())
        } else {
            Err("not good yet".into())
        }
    });
    trial
        .faults
        .iter()
        .for_each(|(_, _, server)| server.end_prelude());
    trial.wait_for_every_source("/resumen", expect_failure_with_data);
    trial.wait_for_every_source("/resumen?fresh=1&timeout=30", expect_failure_with_data);
}

fn expect_failure_without_data(scenario: &FaultScenario, source: &Value) -> Result<(), String> {
    check_failure(scenario, source)?;
    if source["ok"] == Value::Bool(scenario.code.is_none()) {
        check_data(scenario, source)
    } else {
        Err("wrong ok".into())
    }
}

/// The fault is told, and what was good before it is still there.
fn expect_failure_with_data(scenario: &FaultScenario, source: &Value) -> Result<(), String> {
    check_failure(scenario, source)?;
    match scenario.code {
        None => check_data(scenario, source),
        Some(_)
            if !scenario.can_answer_prelude()
                || (source["data"]["good"] == true && source["stale"] == false) =>
        {
            Ok(())
        }
        Some(_) => Err("last-good data is gone".into()),
    }
}

/// The code and the message are the scenario's.
fn check_failure(scenario: &FaultScenario, source: &Value) -> Result<(), String> {
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

fn check_data(scenario: &FaultScenario, source: &Value) -> Result<(), String> {
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

fn fault_source(name: &str, scenario: &FaultScenario, server: &FaultyProvider) -> Arc<Source> {
    let pace = Schedule {
        interval: INTERVAL,
        timeout: scenario.timeout(),
        min_interval: Duration::from_millis(1),
        hedge_after: None,
    };
    let shelf = FreshnessPolicy {
        ttl: Duration::from_secs(600),
        max_stale: Duration::from_secs(3600),
    };
    let kind = SourceKind::Fetched {
        providers: vec![scenario_provider(scenario, server)],
        schedule: pace,
    };
    Arc::new(Source {
        name: Name::new(name).unwrap(),
        kind,
        freshness_policy: shelf,
        attribution: None,
    })
}

/// Each host's lookup, as its scenario has it.
fn scenario_resolver(faults: &[(String, FaultScenario, FaultyProvider)]) -> ResolveFn {
    let by_host: HashMap<String, ResolveFn> = faults
        .iter()
        .map(|(_, scenario, _)| (scenario.host.clone(), lookup_result(&scenario.lookup)))
        .collect();
    Arc::new(move |host| by_host[&*host](Arc::clone(&host)))
}
