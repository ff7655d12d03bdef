//! `/salud/fuentes`: how each source is, for whoever is on call (`application/health+json`).

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::domain::{
    Failure, FailureStreak, Freshness, Name, ProviderAttemptResult, Snapshot, SourceState,
    SourceView as Known, Time,
};
use crate::replicas::{ReplicaMode, ReplicaStatus};
use crate::text::format_rfc3339;

use super::query;
use super::state::AppState;
use crate::server::no_store_response;

/// What the store that replicas share is called. No source can have this name.
const SHARED_STORE_CHECK: &str = "store:redis";

/// Always 200: the verdict is in the body.
pub(crate) async fn get_source_health(
    State(site): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = query::require_no_parameters(query.as_deref().unwrap_or_default()) {
        return problem.into_response();
    }
    let fleet = site.replica.as_ref().map(|fleet| fleet.status());
    let body = build_report(&site.cache.snapshot(), fleet.as_ref(), site.clock.now()).to_string();
    no_store_response("application/health+json", body)
}

/// How a source is. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HealthStatus {
    /// Fresh, and the latest attempt succeeded.
    Pass,
    /// Usable, but stale or failing.
    Warn,
    /// Missing.
    Fail,
}

impl HealthStatus {
    fn from_state(state: &Known<'_>) -> Self {
        match (state.freshness, &state.failure) {
            (Freshness::Missing, _) => Self::Fail,
            (Freshness::Fresh, None) => Self::Pass,
            _ => Self::Warn,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

fn build_report(snapshot: &Snapshot, fleet: Option<&ReplicaStatus>, now: Time) -> Value {
    let mut worst = HealthStatus::Pass;
    let mut notes: Vec<(HealthStatus, String)> = Vec::new();
    let mut checks = Map::new();
    for (at, entry) in snapshot.source_states().iter().enumerate() {
        let state = snapshot.source_view(at, now);
        let verdict = HealthStatus::from_state(&state);
        worst = worst.max(verdict);
        if verdict > HealthStatus::Pass {
            notes.push((verdict, format_source_note(entry, &state, verdict)));
        } else {
            notes.extend(
                entry.failing_providers().map(|(streak, failure)| {
                    (verdict, format_provider_note(entry, streak, failure))
                }),
            );
        }
        checks.insert(
            entry.source.name.to_string(),
            json!([build_source_check(snapshot, at, &state, verdict, now)]),
        );
    }
    if let Some(view) = fleet {
        let verdict = if view.mode == ReplicaMode::Disconnected {
            HealthStatus::Warn
        } else {
            HealthStatus::Pass
        };
        worst = worst.max(verdict);
        if let Some(trouble) = view
            .last_error
            .as_ref()
            .filter(|_| verdict > HealthStatus::Pass)
        {
            notes.push((
                verdict,
                format!(
                    "{SHARED_STORE_CHECK}: {}: failed to {trouble}",
                    verdict.as_str()
                ),
            ));
        }
        checks.insert(
            SHARED_STORE_CHECK.into(),
            json!([build_store_check(view, verdict)]),
        );
    }
    let mut report = json!({"status": worst.as_str(), "version": env!("CARGO_PKG_VERSION"), "time": format_rfc3339(now)});
    if !notes.is_empty() {
        // What is missing before what is only ill, else in the order of the configuration.
        notes.sort_by_key(|(verdict, _)| Reverse(*verdict));
        report["notes"] = notes.into_iter().map(|(_, note)| note).collect();
    }
    report["checks"] = Value::Object(checks);
    report
}

/// `usd: fail (missing): http_status since 2026-11-22T06:55:02.000Z: HTTP 503 Service Unavailable`
fn format_source_note(entry: &SourceState, state: &Known<'_>, verdict: HealthStatus) -> String {
    let mut note = format!(
        "{}: {} ({})",
        entry.source.name,
        verdict.as_str(),
        state.freshness.as_str()
    );
    if let Some(trouble) = &state.failure {
        note.push_str(": ");
        note.push_str(trouble.code.as_str());
        if let Some(since) = trouble.failing_since {
            note.push_str(" since ");
            note.push_str(&format_rfc3339(since));
        }
        note.push_str(": ");
        note.push_str(&trouble.message);
    }
    note
}

/// `usd: pass (fresh): provider frankfurter: timeout since 2026-11-22T06:55:02.000Z: no answer within 1 s`: another one
/// has answered in its place.
fn format_provider_note(entry: &SourceState, streak: &FailureStreak, failure: &Failure) -> String {
    let FailureStreak {
        provider, since, ..
    } = streak;
    let (source, since) = (&entry.source.name, format_rfc3339(*since));
    format!(
        "{source}: pass (fresh): provider {provider}: {} since {since}: {}",
        failure.code, failure.message
    )
}

fn build_source_check(
    snapshot: &Snapshot,
    at: usize,
    state: &Known<'_>,
    verdict: HealthStatus,
    now: Time,
) -> Value {
    let (entry, next) = (&snapshot.source_states()[at], snapshot.next_attempt(at));
    let derived = entry.source.schedule().is_none();
    let mut check = Map::new();
    let mut put = |key: &str, value: Value| {
        check.insert(key.into(), value);
    };
    put(
        "componentType",
        json!(if derived { "derived" } else { "source" }),
    );
    put("status", json!(verdict.as_str()));
    put("freshness", json!(state.freshness.as_str()));
    if let Some(reading) = &entry.reading {
        put("time", json!(format_rfc3339(reading.fetched_at)));
        put(
            "observedValue",
            duration_to_json_ms(now.since(reading.fetched_at)),
        );
        put("observedUnit", json!("ms"));
        put("provider", json!(reading.provider.as_str()));
    }
    put(
        "ttl_ms",
        duration_to_json_ms(entry.source.freshness_policy.ttl),
    );
    put(
        "max_stale_ms",
        duration_to_json_ms(entry.source.freshness_policy.max_stale),
    );
    if let Some(trouble) = &state.failure {
        put("output", json!(trouble.message));
        put("code", json!(trouble.code.as_str()));
        if let Some(since) = trouble.failing_since {
            put("failing_since", json!(format_rfc3339(since)));
        }
    }
    put("consecutive_failures", json!(snapshot.failure_count(at)));
    let instants = [
        ("last_attempt", entry.history.last_attempt),
        ("next_attempt", next),
    ];
    for (key, time) in instants
        .into_iter()
        .filter_map(|(key, time)| Some((key, time?)))
    {
        put(key, json!(format_rfc3339(time)));
    }
    if derived {
        put(
            "from",
            entry.source.inputs().iter().map(Name::as_str).collect(),
        );
    }
    put(
        "providers",
        entry
            .source
            .providers()
            .iter()
            .map(|one| build_provider_check(entry, &one.name, next, now))
            .collect(),
    );
    Value::Object(check)
}

/// How this replica stands to the others.
fn build_store_check(view: &ReplicaStatus, verdict: HealthStatus) -> Value {
    let mut check = json!({
        "componentType": "datastore",
        "status": verdict.as_str(),
        "role": view.mode.as_str(),
        "replicas": view.replica_count,
        "leases_taken": view.leases_acquired,
        "leases_lost": view.leases_lost,
        "outcomes_heard": view.remote_attempts,
        "clock_ahead_ms": view.clock_offset_ms,
    });
    if let Some(trouble) = &view.last_error {
        check["output"] = json!(format!("failed to {trouble}"));
    }
    check
}

/// How a provider is, by its latest request.
fn build_provider_check(entry: &SourceState, name: &Name, next: Option<Time>, now: Time) -> Value {
    let latest = entry
        .history
        .provider_attempts
        .iter()
        .find(|one| one.provider == *name);
    let streak = entry.history.failure_streak(name);
    let status = match latest.map(|one| &one.result) {
        None => "unknown",
        Some(ProviderAttemptResult::Succeeded) => "pass",
        Some(ProviderAttemptResult::Failed(_)) => "fail",
        Some(ProviderAttemptResult::Superseded) => "warn",
    };
    let mut told = json!({"provider": name.as_str(), "status": status});
    if let Some(one) = latest {
        told["time"] = json!(format_rfc3339(one.started_at));
        told["ms"] = duration_to_json_ms(one.duration);
    }
    match latest.map(|one| &one.result) {
        Some(ProviderAttemptResult::Failed(failure)) => {
            told["output"] = json!(&*failure.message);
            told["code"] = json!(failure.code.as_str());
        }
        Some(ProviderAttemptResult::Superseded) => {
            told["output"] = json!("given up without an answer: another provider was faster")
        }
        Some(ProviderAttemptResult::Succeeded) | None => {}
    }
    if let Some(streak) = streak {
        told["failing_since"] = json!(format_rfc3339(streak.since));
    }
    told["consecutive_failures"] = json!(streak.map_or(0, |streak| streak.failure_count));
    let held = latest
        .and_then(|one| one.retry_at)
        .filter(|until| *until > now);
    if let Some(until) = held {
        told["held_until"] = json!(format_rfc3339(until));
    }
    if let Some(next) = next {
        told["next_attempt"] = json!(format_rfc3339(held.map_or(next, |until| until.max(next))));
    }
    told
}

fn duration_to_json_ms(span: Duration) -> Value {
    json!(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
