//! `/salud/fuentes`: the health of each source and provider (`application/health+json`).

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::domain::{
    ClockShift, Failure, FailureStreak, Freshness, Name, ProviderAttemptResult, Snapshot,
    SourceState, SourceView, Time,
};
use crate::replicas::{ReplicaMode, ReplicaStatus};
use crate::server::{ProblemDetails, no_store_response};

use super::query::require_no_parameters;
use super::shared_pages::PageKind;
use super::state::AppState;

/// Key of the shared store's check. A source's name cannot contain a colon.
const SHARED_STORE_CHECK: &str = "store:redis";

/// The health report. The status code is always 200; the status is in the body.
pub(super) async fn get_source_health(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ProblemDetails> {
    require_no_parameters(query.as_deref().unwrap_or_default())?;
    let (server, replica) = (Arc::clone(&state.server), state.replica.clone());
    let build = move || {
        let replica = replica.map(|replica| replica.status());
        let report = build_report(
            &server.cache.snapshot(),
            replica.as_ref(),
            server.clock.now(),
        );
        Some(report.to_string())
    };
    let page = state.get_or_make_page(PageKind::SourceHealth, build);
    let page = page.await?.unwrap_or_default();
    Ok(no_store_response("application/health+json", page))
}

/// The status of a source, a store or the whole report. Ordered from best to worst.
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
    fn from_view(view: &SourceView<'_>) -> Self {
        match (view.freshness, &view.failure) {
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

fn build_report(snapshot: &Snapshot, replica: Option<&ReplicaStatus>, now: Time) -> Value {
    let shift = snapshot.clock_shift();
    let mut worst = HealthStatus::Pass;
    let mut notes: Vec<(HealthStatus, String)> = Vec::new();
    let mut checks = Map::new();
    for (position, state) in snapshot.source_states().iter().enumerate() {
        let view = snapshot.source_view(position, now);
        let status = HealthStatus::from_view(&view);
        worst = worst.max(status);
        // A note on a source names its failure; only a healthy source needs notes on its providers.
        if status > HealthStatus::Pass {
            notes.push((status, format_source_note(state, &view, status, shift)));
        } else {
            let failing = state.failing_providers();
            notes.extend(failing.map(|(streak, failure)| {
                (status, format_provider_note(state, streak, failure, shift))
            }));
        }
        let check = build_source_check(snapshot, position, &view, status, now);
        checks.insert(state.source.name.to_string(), json!([check]));
    }
    if let Some(replica) = replica {
        // A replica without its store still serves every source, so the status is never `fail`.
        let status = if replica.mode == ReplicaMode::Disconnected {
            HealthStatus::Warn
        } else {
            HealthStatus::Pass
        };
        worst = worst.max(status);
        if let Some(error) = &replica.last_error
            && status > HealthStatus::Pass
        {
            let status_text = status.as_str();
            let note = format!("{SHARED_STORE_CHECK}: {status_text}: failed to {error}");
            notes.push((status, note));
        }
        checks.insert(
            SHARED_STORE_CHECK.into(),
            json!([build_store_check(replica, status)]),
        );
    }
    let mut report = json!({"status": worst.as_str(), "version": env!("CARGO_PKG_VERSION"), "time": shift.format(now)});
    if !notes.is_empty() {
        // Worst first; the sort is stable, so that the rest stays in the order of the
        // configuration.
        notes.sort_by_key(|(status, _)| Reverse(*status));
        report["notes"] = notes.into_iter().map(|(_, note)| note).collect();
    }
    report["checks"] = Value::Object(checks);
    report
}

/// `usd: fail (missing): http_status since 2026-11-22T06:55:02.000Z: HTTP 503 Service Unavailable`
fn format_source_note(
    state: &SourceState,
    view: &SourceView<'_>,
    status: HealthStatus,
    shift: ClockShift,
) -> String {
    let (name, status) = (&state.source.name, status.as_str());
    let mut note = format!("{name}: {status} ({})", view.freshness.as_str());
    if let Some(failure) = &view.failure {
        note.push_str(": ");
        note.push_str(failure.code.as_str());
        if let Some(since) = failure.failing_since {
            note.push_str(" since ");
            note.push_str(&shift.format(since));
        }
        note.push_str(": ");
        note.push_str(&failure.message);
    }
    note
}

/// `usd: pass (fresh): provider frankfurter: timeout since 2026-11-22T06:55:02.000Z: no answer
/// within 1 s`, for a provider that fails while another provider supplies the source.
fn format_provider_note(
    state: &SourceState,
    streak: &FailureStreak,
    failure: &Failure,
    shift: ClockShift,
) -> String {
    let (source, provider) = (&state.source.name, &streak.provider);
    let (code, since) = (failure.code, shift.format(streak.since));
    let message = &failure.message;
    format!("{source}: pass (fresh): provider {provider}: {code} since {since}: {message}")
}

fn build_source_check(
    snapshot: &Snapshot,
    position: usize,
    view: &SourceView<'_>,
    status: HealthStatus,
    now: Time,
) -> Value {
    let state = &snapshot.source_states()[position];
    let shift = snapshot.clock_shift();
    let next_attempt = snapshot.next_attempt(position);
    let is_derived = state.source.schedule().is_none();
    let mut check = Map::new();
    let mut put = |key: &str, value: Value| {
        check.insert(key.into(), value);
    };
    put(
        "componentType",
        json!(if is_derived { "derived" } else { "source" }),
    );
    put("status", json!(status.as_str()));
    put("freshness", json!(view.freshness.as_str()));
    if let Some(reading) = &state.reading {
        put("time", json!(shift.format(reading.fetched_at)));
        put("observedValue", millis_json(now.since(reading.fetched_at)));
        put("observedUnit", json!("ms"));
        put("provider", json!(reading.provider.as_str()));
    }
    let policy = state.freshness_policy();
    put("ttl_ms", millis_json(policy.ttl));
    put("max_stale_ms", millis_json(policy.max_stale));
    if let Some(failure) = &view.failure {
        put("output", json!(failure.message));
        put("code", json!(failure.code.as_str()));
        if let Some(since) = failure.failing_since {
            put("failing_since", json!(shift.format(since)));
        }
    }
    put(
        "consecutive_failures",
        json!(snapshot.failure_count(position)),
    );
    if let Some(time) = state.history.last_attempt {
        put("last_attempt", json!(shift.format(time)));
    }
    if let Some(time) = next_attempt {
        put("next_attempt", json!(shift.format(time)));
    }
    if is_derived {
        put(
            "from",
            state.source.inputs().iter().map(Name::as_str).collect(),
        );
    }
    let providers = state.source.providers().iter();
    put(
        "providers",
        providers
            .map(|provider| build_provider_check(state, &provider.name, next_attempt, now, shift))
            .collect(),
    );
    Value::Object(check)
}

/// The check of the store that replicas share.
fn build_store_check(replica: &ReplicaStatus, status: HealthStatus) -> Value {
    let mut check = json!({
        "componentType": "datastore",
        "status": status.as_str(),
        "role": replica.mode.as_str(),
        "replicas": replica.replica_count,
        "leases_taken": replica.leases_acquired,
        "leases_lost": replica.leases_lost,
        "outcomes_heard": replica.remote_attempts,
        "clock_ahead_ms": replica.clock_offset_ms,
    });
    if let Some(error) = &replica.last_error {
        check["output"] = json!(format!("failed to {error}"));
    }
    check
}

/// The check of a provider, by its latest request.
fn build_provider_check(
    state: &SourceState,
    provider: &Name,
    next_attempt: Option<Time>,
    now: Time,
    shift: ClockShift,
) -> Value {
    let attempts = &state.history.provider_attempts;
    let latest = attempts
        .iter()
        .find(|attempt| attempt.provider == *provider);
    let mut check = json!({"provider": provider.as_str(), "status": "unknown"});
    if let Some(attempt) = latest {
        check["time"] = json!(shift.format(attempt.started_at));
        check["ms"] = millis_json(attempt.duration);
        match &attempt.result {
            ProviderAttemptResult::Succeeded => check["status"] = json!("pass"),
            ProviderAttemptResult::Failed(failure) => {
                check["status"] = json!("fail");
                check["output"] = json!(&*failure.message);
                check["code"] = json!(failure.code.as_str());
            }
            ProviderAttemptResult::Superseded => {
                check["status"] = json!("warn");
                check["output"] = json!("cancelled without an answer: another provider was faster");
            }
        }
    }
    let streak = state.history.failure_streak(provider);
    if let Some(streak) = streak {
        check["failing_since"] = json!(shift.format(streak.since));
    }
    check["consecutive_failures"] = json!(streak.map_or(0, |streak| streak.failure_count));
    // A pause that has ended is not reported.
    let held_until = latest
        .and_then(|attempt| attempt.held_until)
        .filter(|held_until| *held_until > now);
    if let Some(time) = held_until {
        check["held_until"] = json!(shift.format(time));
    }
    if let Some(next) = next_attempt {
        // The schedule of the source does not know that this provider alone is held back.
        let next = held_until.map_or(next, |held_until| held_until.max(next));
        check["next_attempt"] = json!(shift.format(next));
    }
    check
}

fn millis_json(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
