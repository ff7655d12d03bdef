//! Every fault scenario against `HttpFetch`.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Provider, Redactor};
use resumen::fetch::{Fetch, FetchError, HttpFetch, Payload, ResolveFn};
use resumen::process::Clock;
use tokio::task::JoinSet;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::fault_scenario::{
    FaultScenario, ScenarioLookup, load_scenarios,
};

/// Overrun of a deadline that a busy machine may cause. `fetch_bounds` measures the real figures.
const SLACK: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_reports_fault_codes() {
    let mut remaining = load_scenarios().into_iter();
    let mut running = JoinSet::new();
    let mut differences = Vec::new();
    loop {
        while running.len() < 8
            && let Some(scenario) = remaining.next()
        {
            running.spawn(async move {
                check_scenario(&scenario)
                    .await
                    .map_err(|difference| format!("{}: {difference}", scenario.name))
            });
        }
        match running.join_next().await {
            Some(checked) => differences.extend(checked.unwrap().err()),
            None => break,
        }
    }
    assert!(
        differences.is_empty(),
        "{} scenarios differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Plays one scenario; returns the first difference from the expected result.
async fn check_scenario(scenario: &FaultScenario) -> Result<(), String> {
    let server = scenario.start_provider();
    let clock = Clock::start();
    let fetch =
        HttpFetch::with_resolver(clock, Redactor::default(), lookup_result(&scenario.lookup));
    let provider = scenario_provider(scenario, &server);
    let start = clock.instant();
    let result = fetch
        .fetch(&provider, clock.deadline(scenario.timeout()).into())
        .await;
    let duration = start.elapsed();
    if duration > scenario.timeout() + SLACK {
        return Err(format!("took {duration:?}"));
    }
    check_outcome(scenario, &result)?;
    let compare = |what: &str, expected: Option<usize>, seen: usize| match expected {
        Some(expected) if expected != seen => Err(format!("{seen} {what}, not {expected}")),
        _ => Ok(()),
    };
    compare(
        "connections",
        scenario.connections,
        server.connection_count(),
    )?;
    compare("requests", scenario.requests, server.call_count())?;
    match scenario.sent {
        Some(max) if server.sent_byte_count() > max => {
            Err(format!("sent {} bytes", server.sent_byte_count()))
        }
        _ => Ok(()),
    }
}

fn check_outcome(
    scenario: &FaultScenario,
    result: &Result<Payload, FetchError>,
) -> Result<(), String> {
    match result {
        Ok(Payload { body, .. }) if scenario.is_fetch_successful() => {
            let body = String::from_utf8_lossy(body);
            let wanted = scenario.data.as_deref().unwrap_or(&body);
            if body == wanted {
                Ok(())
            } else {
                Err(format!("gave {body:?}"))
            }
        }
        Ok(Payload { body, .. }) => Err(format!("succeeded with {} bytes", body.len())),
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

pub fn scenario_provider(scenario: &FaultScenario, server: &FakeProvider) -> Provider {
    let mut provider = default_provider_at(&scenario.url(server));
    let request = &mut provider.request;
    request.method = scenario.method.as_deref().unwrap_or("GET").into();
    request.allow_private = scenario.allow_private;
    request.tls.ca_pem = scenario.ca_pem().map(Into::into);
    let server_name = scenario.server_name.as_deref();
    request.tls.server_name = server_name.map(|name| url::Host::parse(name).unwrap());
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
