//! Every fault scenario against the whole service, all at once: at the first attempt, in a live request,
//! and on schedule with last-good data.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resumen::config::Config;
use resumen::domain::{FreshnessPolicy, Name, Redactor, Schedule, Source, SourceKind};
use resumen::fetch::{HttpFetch, ResolveFn};
use resumen::process::Clock;
use serde_json::Value;

use super::fetch_faults::{lookup_result, scenario_provider};
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::fault_scenario::{FaultScenario, load_scenarios};
use crate::support::fake_provider::script::ProviderScript;
use crate::support::test_app::{TestApp, parse_test_config};

/// The interval of all sources, longer than the timeout of any scenario.
const INTERVAL: Duration = Duration::from_secs(3);

/// Time in which every scenario passes.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Only one trial runs at a time: each is a service with every fault at once.
fn lock_trials() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service with one source for each scenario and a healthy one.
struct FaultTrial {
    app: TestApp,
    faults: Vec<(String, FaultScenario, FakeProvider)>,
}

impl FaultTrial {
    /// Starts every scenario. With `has_prelude`, providers answer soundly until the prelude ends.
    fn start(has_prelude: bool) -> Self {
        let prelude = || has_prelude.then(|| ProviderScript::parse(&["json {\"good\":true}"]));
        let healthy = toml::from_str::<FaultScenario>(
            "name = \"healthy\"\nanswer = ['json {\"n\":1}', 'again']\ndata = '{\"n\":1}'",
        );
        let table = std::iter::once(healthy.unwrap()).chain(load_scenarios());
        let start = |(n, scenario): (usize, FaultScenario)| {
            let server = scenario.start_provider_after(prelude());
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
        }
    }

    /// Requests `path` until the result of every source has passed the check once. Hundreds of scripts
    /// at once may be late on a busy machine, so they need not pass together.
    fn wait_for_every_source(
        &self,
        path: &str,
        check: fn(&FaultScenario, &Value) -> Result<(), String>,
    ) {
        let deadline = Clock::start().deadline(MAX_WAIT);
        let mut mismatches = self.list_mismatches(&self.app.get_json(path), check);
        while !mismatches.is_empty() {
            assert!(
                !deadline.has_passed(),
                "{} scenarios differ in {path}:\n{mismatches:#?}",
                mismatches.len(),
            );
            std::thread::sleep(Duration::from_millis(100));
            let mut latest = self.list_mismatches(&self.app.get_json(path), check);
            latest.retain(|scenario, _| mismatches.contains_key(scenario));
            mismatches = latest;
        }
    }

    /// The scenarios whose result does not pass the check, with the reason.
    fn list_mismatches(
        &self,
        response: &Value,
        check: fn(&FaultScenario, &Value) -> Result<(), String>,
    ) -> BTreeMap<String, String> {
        let mismatch = |(name, scenario, _): &(String, FaultScenario, FakeProvider)| {
            let source = &response["resultados"][name];
            let error = check(scenario, source).err()?;
            Some((scenario.name.clone(), format!("{error} in {source}")))
        };
        self.faults.iter().filter_map(mismatch).collect()
    }
}

#[test]
fn cold_start_reports_fault_codes() {
    let _lock = lock_trials();
    let start_cold = || {
        let trial = FaultTrial::start(false);
        let response = trial.app.get_json("/resumen?timeout=30");
        trial.list_mismatches(&response, expect_failure_without_data)
    };
    // A service has one first attempt. Hundreds of scripts at once may be late on a busy machine, so
    // each scenario must pass in one of several starts.
    let mut mismatches = start_cold();
    for _ in 0..5 {
        if mismatches.is_empty() {
            return;
        }
        let latest = start_cold();
        mismatches.retain(|scenario, _| latest.contains_key(scenario));
    }
    assert!(
        mismatches.is_empty(),
        "{} scenarios differ:\n{mismatches:#?}",
        mismatches.len(),
    );
}

#[test]
fn live_response_reports_fault_codes() {
    let _lock = lock_trials();
    FaultTrial::start(false)
        .wait_for_every_source("/resumen?fresh=1&timeout=30", expect_failure_without_data);
}

#[test]
fn faults_keep_last_good_data() {
    let _lock = lock_trials();
    let trial = FaultTrial::start(true);
    trial.wait_for_every_source("/resumen", |scenario, source| {
        let is_good = source["data"]["good"] == true || !scenario.can_answer_prelude();
        if is_good {
            Ok(())
        } else {
            Err("no sound response yet".into())
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

/// The failure is the scenario's, and the last-good data is still there.
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

/// Compares the code and the message.
fn check_failure(scenario: &FaultScenario, source: &Value) -> Result<(), String> {
    let message = source["error"].as_str().unwrap_or_default();
    if source["code"].as_str() != scenario.code.as_deref() {
        return Err("wrong code".into());
    }
    match scenario.says.iter().find(|part| !message.contains(*part)) {
        Some(part) => Err(format!("the message lacks {part}")),
        None if scenario.hides.iter().any(|part| message.contains(part)) => {
            Err("the message has a hidden text".into())
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

fn fault_source(name: &str, scenario: &FaultScenario, server: &FakeProvider) -> Arc<Source> {
    let schedule = Schedule {
        interval: INTERVAL,
        timeout: scenario.timeout(),
        min_interval: Duration::from_millis(1),
        hedge_after: None,
    };
    let freshness_policy = FreshnessPolicy {
        ttl: Duration::from_secs(600),
        max_stale: Duration::from_secs(3600),
    };
    let kind = SourceKind::Fetched {
        providers: vec![scenario_provider(scenario, server)],
        schedule,
    };
    Arc::new(Source {
        name: Name::new(name).unwrap(),
        kind,
        freshness_policy,
        attribution: None,
        appearance: Arc::default(),
        metrics: Arc::default(),
    })
}

/// Resolves each host as its scenario says.
fn scenario_resolver(faults: &[(String, FaultScenario, FakeProvider)]) -> ResolveFn {
    let by_host: HashMap<String, ResolveFn> = faults
        .iter()
        .map(|(_, scenario, _)| (scenario.host.clone(), lookup_result(&scenario.lookup)))
        .collect();
    Arc::new(move |host| by_host[&*host](Arc::clone(&host)))
}
