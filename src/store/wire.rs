//! What is kept, as JSON. Data stays the text it came as, digit for digit.
//!
//! Members that are not known are passed over and whatever is no longer understood of one source is left out, so that
//! within one version of the format an older and a newer release read each other's.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{
    Code, Data, End, Failure, Identity, Lapse, Moment, Name, Reading, Saved, SinceBoot, Streak,
    Time, Trail, Try,
};
use crate::render::rfc3339;

/// A [`Moment`].
#[derive(Serialize, Deserialize)]
pub(super) struct MomentWire {
    at: String,
    wall: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<BootWire>,
}

#[derive(Serialize, Deserialize)]
struct BootWire {
    id: String,
    up_ms: u64,
}

/// A [`Saved`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedWire<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    identity: String,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reading: Option<ReadingWire<'t>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    failure: Option<LapseWire<'t>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stamps: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    footing: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_attempt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    took_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(default)]
    failures: u32,
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    providers: Vec<TryWire<'t>>,
}

#[derive(Serialize, Deserialize)]
struct ReadingWire<'t> {
    fetched_at: String,
    #[serde(borrow)]
    provider: Cow<'t, str>,
    #[serde(borrow)]
    data: &'t RawValue,
}

#[derive(Serialize, Deserialize)]
struct LapseWire<'t> {
    at: String,
    #[serde(borrow)]
    code: Cow<'t, str>,
    #[serde(borrow)]
    error: Cow<'t, str>,
}

#[derive(Serialize, Deserialize)]
struct TryWire<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    last_attempt: String,
    took_us: u64,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    failure: Option<LapseWire<'t>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(default)]
    failures: u32,
}

impl From<&Moment> for MomentWire {
    fn from(moment: &Moment) -> Self {
        let up = |boot: &SinceBoot| u64::try_from(boot.up.as_millis()).unwrap_or(u64::MAX);
        let boot = moment.boot.as_ref().map(|boot| BootWire {
            id: boot.id.clone(),
            up_ms: up(boot),
        });
        Self {
            at: rfc3339(moment.at),
            wall: rfc3339(moment.wall),
            boot,
        }
    }
}

impl MomentWire {
    pub(super) fn moment(self) -> Option<Moment> {
        let boot = self.boot.map(|boot| SinceBoot {
            id: boot.id,
            up: Duration::from_millis(boot.up_ms),
        });
        Some(Moment {
            at: time(&self.at)?,
            wall: time(&self.wall)?,
            boot,
        })
    }
}

impl<'t> SavedWire<'t> {
    pub(super) fn new(saved: &'t Saved) -> Self {
        let trail = &saved.trail;
        Self {
            name: saved.name.as_str().into(),
            identity: saved.identity.to_string(),
            reading: saved.reading.as_deref().and_then(ReadingWire::new),
            failure: saved
                .failure
                .as_deref()
                .map(|lapse| LapseWire::new(lapse.at, &lapse.failure)),
            stamps: pairs(&saved.stamps),
            footing: pairs(&saved.footing),
            last_attempt: trail.last.map(rfc3339),
            took_us: trail.took.map(micros),
            failing_since: trail.failing_since.map(rfc3339),
            failures: trail.failures,
            providers: trail
                .tries
                .iter()
                .filter(|one| one.end != End::Outrun)
                .map(|one| TryWire::new(one, trail.streak(&one.provider)))
                .collect(),
        }
    }

    /// None if it is of nobody that could exist.
    pub(super) fn saved(self) -> Option<Saved> {
        let streaks = self.providers.iter().filter_map(TryWire::streak).collect();
        let trail = Trail {
            last: self.last_attempt.as_deref().and_then(time),
            took: self.took_us.map(Duration::from_micros),
            failing_since: self.failing_since.as_deref().and_then(time),
            failures: self.failures,
            next: None,
            tries: self
                .providers
                .into_iter()
                .filter_map(TryWire::attempt)
                .collect(),
            streaks,
        };
        Some(Saved {
            name: Name::new(&self.name).ok()?,
            identity: Identity::from_text(&self.identity)?,
            reading: self.reading.and_then(ReadingWire::reading).map(Arc::new),
            failure: self.failure.and_then(LapseWire::lapse).map(Arc::new),
            stamps: stamps(&self.stamps)?,
            footing: stamps(&self.footing)?,
            trail,
        })
    }
}

impl<'t> ReadingWire<'t> {
    /// Data is always one JSON value; should it ever not be, nothing is kept of it.
    fn new(reading: &'t Reading) -> Option<Self> {
        let data = serde_json::from_str(reading.data.as_json()).ok()?;
        Some(Self {
            fetched_at: rfc3339(reading.fetched_at),
            provider: reading.provider.as_str().into(),
            data,
        })
    }

    /// Data stands in one line wherever it is shown; a file in which it does not was not written by this program.
    fn reading(self) -> Option<Reading> {
        let json = Some(self.data.get()).filter(|json| !json.contains(['\n', '\r']))?;
        let data = Data::from_checked(json);
        Some(Reading {
            fetched_at: time(&self.fetched_at)?,
            provider: Name::new(&self.provider).ok()?,
            data,
        })
    }
}

impl<'t> LapseWire<'t> {
    fn new(at: Time, failure: &'t Failure) -> Self {
        Self {
            at: rfc3339(at),
            code: failure.code.as_str().into(),
            error: (&*failure.message).into(),
        }
    }

    fn lapse(self) -> Option<Lapse> {
        let failure = Failure::new(Code::from_text(&self.code)?, &*self.error);
        Some(Lapse {
            at: time(&self.at)?,
            failure,
        })
    }
}

impl<'t> TryWire<'t> {
    fn new(one: &'t Try, streak: Option<&Streak>) -> Self {
        Self {
            name: one.provider.as_str().into(),
            last_attempt: rfc3339(one.at),
            took_us: micros(one.took),
            failure: one.failure().map(|failure| LapseWire::new(one.at, failure)),
            held_until: one.held_until.map(rfc3339),
            failing_since: streak.map(|streak| rfc3339(streak.since)),
            failures: streak.map_or(0, |streak| streak.failures),
        }
    }

    fn streak(&self) -> Option<Streak> {
        let since = time(self.failing_since.as_deref()?)?;
        Some(Streak {
            provider: Name::new(&self.name).ok()?,
            since,
            failures: self.failures,
        })
    }

    fn attempt(self) -> Option<Try> {
        Some(Try {
            provider: Name::new(&self.name).ok()?,
            at: time(&self.last_attempt)?,
            took: Duration::from_micros(self.took_us),
            end: self
                .failure
                .and_then(LapseWire::lapse)
                .map_or(End::Won, |lapse| End::Failed(lapse.failure)),
            held_until: self.held_until.as_deref().and_then(time),
        })
    }
}

fn time(text: &str) -> Option<Time> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|stamp| Time::from_millis(stamp.as_millisecond()))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn pairs(stamps: &[(Name, Time)]) -> Vec<(String, String)> {
    stamps
        .iter()
        .map(|(name, at)| (name.to_string(), rfc3339(*at)))
        .collect()
}

fn stamps(pairs: &[(String, String)]) -> Option<Arc<[(Name, Time)]>> {
    pairs
        .iter()
        .map(|(name, at)| Some((Name::new(name).ok()?, time(at)?)))
        .collect()
}
