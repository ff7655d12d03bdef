//! `/salud/fuentes`: how each source is, for whoever is on call (`application/health+json`).

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::domain::{End, Entry, Failure, Freshness, Name, Snapshot, State as Known, Streak, Time};
use crate::fetch::Fetch;
use crate::fleet::{Role, View};
use crate::render::rfc3339;

use super::Site;
use super::query;
use super::whole::whole;

/// What the store that replicas share is called. No source can have this name.
const SHARING: &str = "store:redis";

/// Always 200: the verdict is in the body.
pub(super) async fn answer<F: Fetch>(
    State(site): State<Arc<Site<F>>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = query::nothing_but_busters(query.as_deref().unwrap_or_default()) {
        return problem.into_response();
    }
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
    let mut notes: Vec<(Verdict, String)> = Vec::new();
    let mut checks = Map::new();
    for (at, entry) in snapshot.entries().iter().enumerate() {
        let state = snapshot.state(at, now);
        let verdict = Verdict::of(&state);
        worst = worst.max(verdict);
        if verdict > Verdict::Pass {
            notes.push((verdict, note(entry, &state, verdict)));
        } else {
            notes.extend(
                entry
                    .broken()
                    .map(|(streak, failure)| (verdict, passed_over(entry, streak, failure))),
            );
        }
        checks.insert(
            entry.source.name.to_string(),
            json!([check(snapshot, at, &state, verdict, now)]),
        );
    }
    if let Some(view) = fleet {
        let verdict = if view.role == Role::Alone {
            Verdict::Warn
        } else {
            Verdict::Pass
        };
        worst = worst.max(verdict);
        if let Some(trouble) = view.trouble.as_ref().filter(|_| verdict > Verdict::Pass) {
            notes.push((
                verdict,
                format!("{SHARING}: {}: failed to {trouble}", verdict.as_str()),
            ));
        }
        checks.insert(SHARING.into(), json!([sharing(view, verdict)]));
    }
    let mut report = json!({"status": worst.as_str(), "version": env!("CARGO_PKG_VERSION"), "time": rfc3339(now)});
    if !notes.is_empty() {
        // What is missing before what is only ill, else in the order of the configuration.
        notes.sort_by_key(|(verdict, _)| Reverse(*verdict));
        report["notes"] = notes.into_iter().map(|(_, note)| note).collect();
    }
    report["checks"] = Value::Object(checks);
    report
}

/// `usd: fail (missing): http_status since 2026-11-22T06:55:02.000Z: HTTP 503 Service Unavailable`
fn note(entry: &Entry, state: &Known<'_>, verdict: Verdict) -> String {
    let mut note = format!(
        "{}: {} ({})",
        entry.source.name,
        verdict.as_str(),
        state.freshness.as_str()
    );
    if let Some(trouble) = &state.error {
        note.push_str(": ");
        note.push_str(trouble.code.as_str());
        if let Some(since) = trouble.since {
            note.push_str(" since ");
            note.push_str(&rfc3339(since));
        }
        note.push_str(": ");
        note.push_str(&trouble.message);
    }
    note
}

/// `usd: pass (fresh): provider frankfurter: timeout since 2026-11-22T06:55:02.000Z: no answer within 1 s`: another one
/// has answered in its place.
fn passed_over(entry: &Entry, streak: &Streak, failure: &Failure) -> String {
    let Streak {
        provider, since, ..
    } = streak;
    let (source, since) = (&entry.source.name, rfc3339(*since));
    format!(
        "{source}: pass (fresh): provider {provider}: {} since {since}: {}",
        failure.code, failure.message
    )
}

fn check(snapshot: &Snapshot, at: usize, state: &Known<'_>, verdict: Verdict, now: Time) -> Value {
    let (entry, next) = (&snapshot.entries()[at], snapshot.next_attempt(at));
    let derived = entry.source.pace().is_none();
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
        put("time", json!(rfc3339(reading.fetched_at)));
        put("observedValue", millis(now.since(reading.fetched_at)));
        put("observedUnit", json!("ms"));
        put("provider", json!(reading.provider.as_str()));
    }
    put("ttl_ms", millis(entry.source.shelf.ttl));
    put("max_stale_ms", millis(entry.source.shelf.max_stale));
    if let Some(trouble) = &state.error {
        put("output", json!(trouble.message));
        put("code", json!(trouble.code.as_str()));
        if let Some(since) = trouble.since {
            put("failing_since", json!(rfc3339(since)));
        }
    }
    put("consecutive_failures", json!(snapshot.failures(at)));
    let instants = [("last_attempt", entry.trail.last), ("next_attempt", next)];
    for (key, time) in instants
        .into_iter()
        .filter_map(|(key, time)| Some((key, time?)))
    {
        put(key, json!(rfc3339(time)));
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
            .map(|one| provider(entry, &one.name, next, now))
            .collect(),
    );
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

/// How a provider is, by its latest request.
fn provider(entry: &Entry, name: &Name, next: Option<Time>, now: Time) -> Value {
    let latest = entry.trail.tries.iter().find(|one| one.provider == *name);
    let streak = entry.trail.streak(name);
    let status = match latest.map(|one| &one.end) {
        None => "unknown",
        Some(End::Won) => "pass",
        Some(End::Failed(_)) => "fail",
        Some(End::Outrun) => "warn",
    };
    let mut told = json!({"provider": name.as_str(), "status": status});
    if let Some(one) = latest {
        told["time"] = json!(rfc3339(one.at));
        told["ms"] = millis(one.took);
    }
    match latest.map(|one| &one.end) {
        Some(End::Failed(failure)) => {
            told["output"] = json!(&*failure.message);
            told["code"] = json!(failure.code.as_str());
        }
        Some(End::Outrun) => {
            told["output"] = json!("given up without an answer: another provider was faster")
        }
        Some(End::Won) | None => {}
    }
    if let Some(streak) = streak {
        told["failing_since"] = json!(rfc3339(streak.since));
    }
    told["consecutive_failures"] = json!(streak.map_or(0, |streak| streak.failures));
    let held = latest
        .and_then(|one| one.held_until)
        .filter(|until| *until > now);
    if let Some(until) = held {
        told["held_until"] = json!(rfc3339(until));
    }
    if let Some(next) = next {
        told["next_attempt"] = json!(rfc3339(held.map_or(next, |until| until.max(next))));
    }
    told
}

fn millis(span: Duration) -> Value {
    json!(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
