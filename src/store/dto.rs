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
    AttemptHistory, BootUptime, ClockTimestamps, Code, Failure, FailureRecord, FailureStreak,
    JsonData, Name, ProviderAttempt, ProviderAttemptResult, Reading, SourceIdentity, SourceRecord,
    Time,
};
use crate::render::format_rfc3339;

/// A [`Moment`].
#[derive(Serialize, Deserialize)]
pub(crate) struct ClockTimestampsDto {
    at: String,
    wall: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<BootUptimeDto>,
}

#[derive(Serialize, Deserialize)]
struct BootUptimeDto {
    id: String,
    up_ms: u64,
}

/// A [`Saved`].
#[derive(Serialize, Deserialize)]
pub(crate) struct SourceRecordDto<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    identity: String,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reading: Option<ReadingDto<'t>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureRecordDto<'t>>,
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
    providers: Vec<ProviderAttemptDto<'t>>,
}

#[derive(Serialize, Deserialize)]
struct ReadingDto<'t> {
    fetched_at: String,
    #[serde(borrow)]
    provider: Cow<'t, str>,
    #[serde(borrow)]
    data: &'t RawValue,
}

#[derive(Serialize, Deserialize)]
struct FailureRecordDto<'t> {
    at: String,
    #[serde(borrow)]
    code: Cow<'t, str>,
    #[serde(borrow)]
    error: Cow<'t, str>,
}

#[derive(Serialize, Deserialize)]
struct ProviderAttemptDto<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    last_attempt: String,
    took_us: u64,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureRecordDto<'t>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(default)]
    failures: u32,
}

impl From<&ClockTimestamps> for ClockTimestampsDto {
    fn from(moment: &ClockTimestamps) -> Self {
        let up = |boot: &BootUptime| u64::try_from(boot.uptime.as_millis()).unwrap_or(u64::MAX);
        let boot = moment.boot_uptime.as_ref().map(|boot| BootUptimeDto {
            id: boot.boot_id.clone(),
            up_ms: up(boot),
        });
        Self {
            at: format_rfc3339(moment.program_time),
            wall: format_rfc3339(moment.wall_time),
            boot,
        }
    }
}

impl ClockTimestampsDto {
    pub(crate) fn into_timestamps(self) -> Option<ClockTimestamps> {
        let boot = self.boot.map(|boot| BootUptime {
            boot_id: boot.id,
            uptime: Duration::from_millis(boot.up_ms),
        });
        Some(ClockTimestamps {
            program_time: parse_time(&self.at)?,
            wall_time: parse_time(&self.wall)?,
            boot_uptime: boot,
        })
    }
}

impl<'t> SourceRecordDto<'t> {
    pub(crate) fn new(saved: &'t SourceRecord) -> Self {
        let trail = &saved.history;
        Self {
            name: saved.name.as_str().into(),
            identity: saved.identity.to_string(),
            reading: saved.reading.as_deref().and_then(ReadingDto::new),
            failure: saved
                .failure
                .as_deref()
                .map(|lapse| FailureRecordDto::new(lapse.started_at, &lapse.failure)),
            stamps: version_pairs(&saved.reading_input_versions),
            footing: version_pairs(&saved.latest_input_versions),
            last_attempt: trail.last_attempt.map(format_rfc3339),
            took_us: trail.last_duration.map(saturating_micros),
            failing_since: trail.failing_since.map(format_rfc3339),
            failures: trail.failure_count,
            providers: trail
                .provider_attempts
                .iter()
                .filter(|one| one.result != ProviderAttemptResult::Superseded)
                .map(|one| ProviderAttemptDto::new(one, trail.failure_streak(&one.provider)))
                .collect(),
        }
    }

    /// None if it is of nobody that could exist.
    pub(crate) fn into_record(self) -> Option<SourceRecord> {
        let streaks = self
            .providers
            .iter()
            .filter_map(ProviderAttemptDto::failure_streak)
            .collect();
        let trail = AttemptHistory {
            last_attempt: self.last_attempt.as_deref().and_then(parse_time),
            last_duration: self.took_us.map(Duration::from_micros),
            failing_since: self.failing_since.as_deref().and_then(parse_time),
            failure_count: self.failures,
            next_attempt: None,
            provider_attempts: self
                .providers
                .into_iter()
                .filter_map(ProviderAttemptDto::into_attempt)
                .collect(),
            failure_streaks: streaks,
        };
        Some(SourceRecord {
            name: Name::new(&self.name).ok()?,
            identity: SourceIdentity::from_text(&self.identity)?,
            reading: self
                .reading
                .and_then(ReadingDto::into_reading)
                .map(Arc::new),
            failure: self
                .failure
                .and_then(FailureRecordDto::into_failure_record)
                .map(Arc::new),
            reading_input_versions: parse_versions(&self.stamps)?,
            latest_input_versions: parse_versions(&self.footing)?,
            history: trail,
        })
    }
}

impl<'t> ReadingDto<'t> {
    /// Data is always one JSON value; should it ever not be, nothing is kept of it.
    fn new(reading: &'t Reading) -> Option<Self> {
        let data = serde_json::from_str(reading.data.as_json()).ok()?;
        Some(Self {
            fetched_at: format_rfc3339(reading.fetched_at),
            provider: reading.provider.as_str().into(),
            data,
        })
    }

    /// Data stands in one line wherever it is shown; a file in which it does not was not written by this program.
    fn into_reading(self) -> Option<Reading> {
        let json = Some(self.data.get()).filter(|json| !json.contains(['\n', '\r']))?;
        let data = JsonData::from_checked(json);
        Some(Reading {
            fetched_at: parse_time(&self.fetched_at)?,
            provider: Name::new(&self.provider).ok()?,
            data,
        })
    }
}

impl<'t> FailureRecordDto<'t> {
    fn new(at: Time, failure: &'t Failure) -> Self {
        Self {
            at: format_rfc3339(at),
            code: failure.code.as_str().into(),
            error: (&*failure.message).into(),
        }
    }

    fn into_failure_record(self) -> Option<FailureRecord> {
        let failure = Failure::new(Code::from_text(&self.code)?, &*self.error);
        Some(FailureRecord {
            started_at: parse_time(&self.at)?,
            failure,
        })
    }
}

impl<'t> ProviderAttemptDto<'t> {
    fn new(one: &'t ProviderAttempt, streak: Option<&FailureStreak>) -> Self {
        Self {
            name: one.provider.as_str().into(),
            last_attempt: format_rfc3339(one.started_at),
            took_us: saturating_micros(one.duration),
            failure: one
                .failure()
                .map(|failure| FailureRecordDto::new(one.started_at, failure)),
            held_until: one.retry_at.map(format_rfc3339),
            failing_since: streak.map(|streak| format_rfc3339(streak.since)),
            failures: streak.map_or(0, |streak| streak.failure_count),
        }
    }

    fn failure_streak(&self) -> Option<FailureStreak> {
        let since = parse_time(self.failing_since.as_deref()?)?;
        Some(FailureStreak {
            provider: Name::new(&self.name).ok()?,
            since,
            failure_count: self.failures,
        })
    }

    fn into_attempt(self) -> Option<ProviderAttempt> {
        Some(ProviderAttempt {
            provider: Name::new(&self.name).ok()?,
            started_at: parse_time(&self.last_attempt)?,
            duration: Duration::from_micros(self.took_us),
            result: self
                .failure
                .and_then(FailureRecordDto::into_failure_record)
                .map_or(ProviderAttemptResult::Succeeded, |lapse| {
                    ProviderAttemptResult::Failed(lapse.failure)
                }),
            retry_at: self.held_until.as_deref().and_then(parse_time),
        })
    }
}

fn parse_time(text: &str) -> Option<Time> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|stamp| Time::from_millis(stamp.as_millisecond()))
}

fn saturating_micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn version_pairs(stamps: &[(Name, Time)]) -> Vec<(String, String)> {
    stamps
        .iter()
        .map(|(name, at)| (name.to_string(), format_rfc3339(*at)))
        .collect()
}

fn parse_versions(pairs: &[(String, String)]) -> Option<Arc<[(Name, Time)]>> {
    pairs
        .iter()
        .map(|(name, at)| Some((Name::new(name).ok()?, parse_time(at)?)))
        .collect()
}
