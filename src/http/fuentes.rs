//! `/salud/fuentes`: how each source is, for whoever is on call (`application/health+json`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::domain::{End, Entry, Freshness, Snapshot, State as Known, Time, Try};
use crate::fetch::Fetch;
use crate::fleet::{Role, View};
use crate::render::rfc3339;

use super::Site;
use super::whole::whole;

/// Always 200: the verdict is in the body.
pub(super) async fn answer<F: Fetch>(State(site): State<Arc<Site<F>>>) -> Response {
    let fleet = site.fleet.as_ref().map(|fleet| fleet.view());
    let body = report(&site.cache.snapshot(), fleet.as_ref(), site.clock.now()).to_string();
    whole("application/health+json", body)
}

/// How a source is. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Fresh, and the latest attempt succeeded.
    Pass,
    /// Usable, but stale or failing.
    Warn,
    /// Missing.
    Fail,
}

impl Verdict {
    fn of(state: &Known<'_>) -> Self {
        match (state.freshness, &state.error) {
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

fn report(snapshot: &Snapshot, fleet: Option<&View>, now: Time) -> Value {
    let mut worst = Verdict::Pass;
    let mut checks = Map::new();
    for (at, entry) in snapshot.entries().iter().enumerate() {
        let state = snapshot.state(at, now);
        let verdict = Verdict::of(&state);
        worst = worst.max(verdict);
        checks.insert(entry.source.name.to_string(), json!([check(entry, &state, verdict, now)]));
    }
    if let Some(view) = fleet {
        let verdict = if view.role == Role::Alone { Verdict::Warn } else { Verdict::Pass };
        worst = worst.max(verdict);
        // No source can have this name.
        checks.insert("store:redis".into(), json!([sharing(view, verdict)]));
    }
    json!({"status": worst.as_str(), "version": env!("CARGO_PKG_VERSION"), "time": rfc3339(now), "checks": checks})
}

fn check(entry: &Entry, state: &Known<'_>, verdict: Verdict, now: Time) -> Value {
    let mut check = Map::new();
    let mut put = |key: &str, value: Value| {
        check.insert(key.into(), value);
    };
    put("componentType", json!(if entry.source.pace().is_some() { "source" } else { "derived" }));
    put("status", json!(verdict.as_str()));
    put("freshness", json!(state.freshness.as_str()));
    if let Some(reading) = &entry.reading {
        put("time", json!(rfc3339(reading.fetched_at)));
        put("observedValue", millis(now.since(reading.fetched_at)));
        put("observedUnit", json!("ms"));
        put("provider", json!(reading.provider.as_str()));
    }
    put("ttl_ms", millis(entry.source.shelf.ttl));
    put("max_stale_ms", millis(entry.source.shelf.max_stale));
    put("consecutive_failures", json!(entry.trail.failures));
    let instants = [("last_attempt", entry.trail.last), ("next_attempt", entry.trail.next)];
    for (key, time) in instants.into_iter().filter_map(|(key, time)| Some((key, time?))) {
        put(key, json!(rfc3339(time)));
    }
    if let Some(trouble) = &state.error {
        put("output", json!(trouble.message));
        put("code", json!(trouble.code.as_str()));
        if let Some(since) = trouble.since {
            put("failing_since", json!(rfc3339(since)));
        }
    }
    let providers: Vec<Value> = entry.trail.tries.iter().map(|one| attempt(one, now)).collect();
    put("providers", json!(providers));
    Value::Object(check)
}

/// How this replica stands to the others.
fn sharing(view: &View, verdict: Verdict) -> Value {
    let mut check = json!({
        "componentType": "datastore",
        "status": verdict.as_str(),
        "role": view.role.as_str(),
        "replicas": view.replicas,
        "leases_taken": view.taken,
        "leases_lost": view.lost,
        "outcomes_heard": view.heard,
        "clock_ahead_ms": view.skew_ms,
    });
    if let Some(trouble) = &view.trouble {
        check["output"] = json!(format!("failed to {trouble}"));
    }
    check
}

/// What a provider did last.
fn attempt(one: &Try, now: Time) -> Value {
    let mut attempt = json!({
        "provider": one.provider.as_str(),
        "status": match one.end {
            End::Won => "pass",
            End::Failed(_) => "fail",
            End::Outrun => "warn",
        },
        "time": rfc3339(one.at),
        "ms": millis(one.took),
    });
    match &one.end {
        End::Won => {}
        End::Failed(failure) => {
            attempt["output"] = json!(&*failure.message);
            attempt["code"] = json!(failure.code.as_str());
        }
        End::Outrun => attempt["output"] = json!("given up without an answer: another provider was faster"),
    }
    if let Some(until) = one.held_until.filter(|until| *until > now) {
        attempt["held_until"] = json!(rfc3339(until));
    }
    attempt
}

fn millis(span: Duration) -> Value {
    json!(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
