//! Every fault of a provider, against the fetch itself.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Provider, SecretSet};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload, ResolveFn};
use resumen::process::Clock;
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::faulty_provider;
use crate::support::faulty_provider::FaultyProvider;
use crate::support::faulty_provider::fault_scenario::{FaultScenario, ScenarioLookup};

/// What a busy machine may add to a deadline in a test; the figures themselves are measured elsewhere.
const SLACK: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_reports_fault_codes() {
    let mut waiting = faulty_provider::load_scenarios().into_iter();
    let mut running = JoinSet::new();
    let mut wrong = Vec::new();
    loop {
        while running.len() < 8
            && let Some(scenario) = waiting.next()
        {
            running.spawn(async move {
                check_scenario(&scenario)
                    .await
                    .map_err(|why| format!("{}: {why}", scenario.name))
            });
        }
        match running.join_next().await {
            Some(judged) => wrong.extend(judged.unwrap().err()),
            None => break,
        }
    }
    assert!(
        wrong.is_empty(),
        "{} scenarios went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Plays one scenario and says what did not come as it should.
async fn check_scenario(scenario: &FaultScenario) -> Result<(), String> {
    let server = scenario.start_provider().await;
    let clock = Clock::start();
    let fetch =
        HttpFetch::with_resolver(clock, SecretSet::default(), lookup_result(&scenario.lookup));
    let provider = scenario_provider(scenario, &server);
    let began = clock.instant();
    let ended = fetch
        .fetch(&provider, clock.deadline(scenario.timeout()).into())
        .await;
    let took = began.elapsed();
    if took > scenario.timeout() + SLACK {
        return Err(format!("took {took:?}"));
    }
    check_outcome(scenario, &ended)?;
    let counted = |what: &str, expected: Option<u64>, seen: u64| match expected {
        Some(expected) if expected != seen => Err(format!("{seen} {what}, not {expected}")),
        _ => Ok(()),
    };
    counted(
        "connections",
        scenario.connections,
        server.counters.connection_count(),
    )?;
    counted(
        "requests",
        scenario.requests,
        server.counters.request_heads().len() as u64,
    )?;
    match scenario.sent {
        Some(most) if server.counters.sent_byte_count() > most => Err(format!(
            "it could send {} bytes",
            server.counters.sent_byte_count()
        )),
        _ => Ok(()),
    }
}

fn check_outcome(
    scenario: &FaultScenario,
    ended: &Result<Payload, FetchError>,
) -> Result<(), String> {
    match ended {
        Ok(Payload(body)) if scenario.is_fetch_successful() => {
            let body = String::from_utf8_lossy(body);
            let wanted = scenario.data.as_deref().unwrap_or(&body);
            if body == wanted {
                Ok(())
            } else {
                Err(format!("gave {body:?}"))
            }
        }
        Ok(Payload(body)) => Err(format!("succeeded with {} bytes", body.len())),
        Err(error) => {
            let message = &error.failure.message;
            let fits = !scenario.is_fetch_successful()
                && Some(error.failure.code.as_str()) == scenario.code.as_deref()
                && scenario.says.iter().all(|part| message.contains(part))
                && !scenario.hides.iter().any(|part| message.contains(part))
                && error.retry_after == scenario.hold.map(Duration::from_secs);
            if fits {
                Ok(())
            } else {
                Err(format!("{error:?}"))
            }
        }
    }
}

pub fn scenario_provider(scenario: &FaultScenario, server: &FaultyProvider) -> Provider {
    let mut provider = default_provider_at(&scenario.url(server));
    let request = &mut provider.request;
    request.method = scenario.method.as_deref().unwrap_or("GET").into();
    request.allow_private = scenario.allow_private;
    request.ca_pem = scenario
        .trusts_test_ca()
        .then(|| faulty_provider::test_ca_pem().into());
    request.max_body = scenario.max_body.unwrap_or(request.max_body);
    provider
}

pub fn lookup_result(lookup: &ScenarioLookup) -> ResolveFn {
    let lookup = lookup.clone();
    Arc::new(move |_| {
        let lookup = lookup.clone();
        Box::pin(async move {
            match lookup {
                ScenarioLookup::Finds(addresses) => Ok(addresses),
                ScenarioLookup::Word(word) if word == "silent" => std::future::pending().await,
                ScenarioLookup::Word(word) => Err(std::io::Error::other(word)),
            }
        })
    })
}
