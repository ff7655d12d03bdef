//! The serialised form of a source's state: JSON, in the state file and in the store that replicas
//! share. Data keeps its exact text, digit for digit.
//!
//! Unknown members are ignored, and a part that cannot be read is left out of its record, so that an
//! older and a newer release read each other's files within one version of the format. The names of
//! the members are part of the format.

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
use crate::domain::{format_rfc3339, parse_rfc3339};

/// A [`ClockTimestamps`].
#[derive(Serialize, Deserialize)]
pub(crate) struct ClockTimestampsDto {
    at: String,
    wall: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<BootUptimeDto>,
}

/// A [`BootUptime`].
#[derive(Serialize, Deserialize)]
struct BootUptimeDto {
    id: String,
    up_ms: u64,
}

/// A [`SourceRecord`].
#[derive(Serialize, Deserialize)]
pub(crate) struct SourceRecordDto<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    identity: String,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reading: Option<ReadingDto<'t>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureRecordDto<'t>>,
    #[serde(rename = "stamps", default, skip_serializing_if = "Vec::is_empty")]
    reading_input_versions: Vec<(String, String)>,
    #[serde(rename = "footing", default, skip_serializing_if = "Vec::is_empty")]
    latest_input_versions: Vec<(String, String)>,
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

/// A [`Reading`].
#[derive(Serialize, Deserialize)]
struct ReadingDto<'t> {
    fetched_at: String,
    #[serde(borrow)]
    provider: Cow<'t, str>,
    #[serde(borrow)]
    data: &'t RawValue,
}

/// A [`FailureRecord`].
#[derive(Serialize, Deserialize)]
struct FailureRecordDto<'t> {
    at: String,
    #[serde(borrow)]
    code: Cow<'t, str>,
    #[serde(borrow)]
    error: Cow<'t, str>,
}

/// A [`ProviderAttempt`] and the [`FailureStreak`] of its provider.
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
    fn from(timestamps: &ClockTimestamps) -> Self {
        let boot = timestamps.boot_uptime.as_ref().map(|boot| BootUptimeDto {
            id: boot.boot_id.clone(),
            up_ms: u64::try_from(boot.uptime.as_millis()).unwrap_or(u64::MAX),
        });
        Self {
            at: format_rfc3339(timestamps.program_time),
            wall: format_rfc3339(timestamps.wall_time),
            boot,
        }
    }
}

impl ClockTimestampsDto {
    /// Returns `None` if one of the times cannot be parsed.
    pub(crate) fn into_timestamps(self) -> Option<ClockTimestamps> {
        let boot_uptime = self.boot.map(|boot| BootUptime {
            boot_id: boot.id,
            uptime: Duration::from_millis(boot.up_ms),
        });
        Some(ClockTimestamps {
            program_time: parse_rfc3339(&self.at)?,
            wall_time: parse_rfc3339(&self.wall)?,
            boot_uptime,
        })
    }
}

impl<'t> SourceRecordDto<'t> {
    pub(crate) fn new(record: &'t SourceRecord) -> Self {
        let history = &record.history;
        Self {
            name: record.name.as_str().into(),
            identity: record.identity.to_string(),
            reading: record.reading.as_deref().and_then(ReadingDto::new),
            failure: record
                .failure
                .as_deref()
                .map(|record| FailureRecordDto::new(record.started_at, &record.failure)),
            reading_input_versions: format_versions(&record.reading_input_versions),
            latest_input_versions: format_versions(&record.latest_input_versions),
            last_attempt: history.last_attempt.map(format_rfc3339),
            took_us: history.last_duration.map(saturating_micros),
            failing_since: history.failing_since.map(format_rfc3339),
            failures: history.failure_count,
            providers: history
                .provider_attempts
                .iter()
                // The format has no member for a cancelled request, which says nothing of its provider.
                .filter(|attempt| attempt.result != ProviderAttemptResult::Superseded)
                .map(|attempt| {
                    ProviderAttemptDto::new(attempt, history.failure_streak(&attempt.provider))
                })
                .collect(),
        }
    }

    /// Returns `None` if the name, the identity or an input version is invalid: without them the
    /// record belongs to no source.
    pub(crate) fn into_record(self) -> Option<SourceRecord> {
        // Borrows `providers` before the attempts consume it.
        let failure_streaks = self
            .providers
            .iter()
            .filter_map(ProviderAttemptDto::failure_streak)
            .collect();
        let history = AttemptHistory {
            last_attempt: self.last_attempt.as_deref().and_then(parse_rfc3339),
            last_duration: self.took_us.map(Duration::from_micros),
            failing_since: self.failing_since.as_deref().and_then(parse_rfc3339),
            failure_count: self.failures,
            next_attempt: None,
            provider_attempts: self
                .providers
                .into_iter()
                .filter_map(ProviderAttemptDto::into_attempt)
                .collect(),
            failure_streaks,
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
            reading_input_versions: parse_versions(&self.reading_input_versions)?,
            latest_input_versions: parse_versions(&self.latest_input_versions)?,
            history,
        })
    }
}

impl<'t> ReadingDto<'t> {
    /// Returns `None` if the data is not JSON, which the extractor rules out.
    fn new(reading: &'t Reading) -> Option<Self> {
        let data = serde_json::from_str(reading.data.as_json()).ok()?;
        Some(Self {
            fetched_at: format_rfc3339(reading.fetched_at),
            provider: reading.provider.as_str().into(),
            data,
        })
    }

    /// Returns `None` for data that spans lines: an event of the stream must have one line, and this
    /// program never writes such data.
    fn into_reading(self) -> Option<Reading> {
        let json = Some(self.data.get()).filter(|json| !json.contains(['\n', '\r']))?;
        Some(Reading {
            fetched_at: parse_rfc3339(&self.fetched_at)?,
            provider: Name::new(&self.provider).ok()?,
            data: JsonData::from_checked(json),
        })
    }
}

impl<'t> FailureRecordDto<'t> {
    fn new(started_at: Time, failure: &'t Failure) -> Self {
        Self {
            at: format_rfc3339(started_at),
            code: failure.code.as_str().into(),
            error: (&*failure.message).into(),
        }
    }

    fn into_failure_record(self) -> Option<FailureRecord> {
        Some(FailureRecord {
            started_at: parse_rfc3339(&self.at)?,
            failure: Failure::new(Code::from_text(&self.code)?, &*self.error),
        })
    }
}

impl<'t> ProviderAttemptDto<'t> {
    fn new(attempt: &'t ProviderAttempt, streak: Option<&FailureStreak>) -> Self {
        Self {
            name: attempt.provider.as_str().into(),
            last_attempt: format_rfc3339(attempt.started_at),
            took_us: saturating_micros(attempt.duration),
            failure: attempt
                .failure()
                .map(|failure| FailureRecordDto::new(attempt.started_at, failure)),
            held_until: attempt.retry_at.map(format_rfc3339),
            failing_since: streak.map(|streak| format_rfc3339(streak.since)),
            failures: streak.map_or(0, |streak| streak.failure_count),
        }
    }

    fn failure_streak(&self) -> Option<FailureStreak> {
        Some(FailureStreak {
            since: parse_rfc3339(self.failing_since.as_deref()?)?,
            provider: Name::new(&self.name).ok()?,
            failure_count: self.failures,
        })
    }

    fn into_attempt(self) -> Option<ProviderAttempt> {
        Some(ProviderAttempt {
            provider: Name::new(&self.name).ok()?,
            started_at: parse_rfc3339(&self.last_attempt)?,
            duration: Duration::from_micros(self.took_us),
            result: self
                .failure
                .and_then(FailureRecordDto::into_failure_record)
                .map_or(ProviderAttemptResult::Succeeded, |record| {
                    ProviderAttemptResult::Failed(record.failure)
                }),
            retry_at: self.held_until.as_deref().and_then(parse_rfc3339),
        })
    }
}

fn saturating_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn format_versions(versions: &[(Name, Time)]) -> Vec<(String, String)> {
    versions
        .iter()
        .map(|(name, fetched_at)| (name.to_string(), format_rfc3339(*fetched_at)))
        .collect()
}

fn parse_versions(pairs: &[(String, String)]) -> Option<Arc<[(Name, Time)]>> {
    pairs
        .iter()
        .map(|(name, fetched_at)| Some((Name::new(name).ok()?, parse_rfc3339(fetched_at)?)))
        .collect()
}
