//! The serialised form of a source's state: JSON, in the state file and in the store that replicas
//! share. Data keeps its exact text, digit for digit.
//!
//! Unknown members are ignored, and a failure with an unknown code is left out of its record, so that
//! an older and a newer release read each other's files within one version of the format. The names
//! of the members are part of the format.
//!
//! What a store says is checked like what a provider says: a record with any other flaw is refused.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{
    AttemptHistory, BootUptime, ClockTimestamps, Code, Failure, FailureRecord, FailureStreak,
    MAX_CACHE_LIFETIME, Name, ProviderAttempt, ProviderAttemptResult, Reading, SourceIdentity,
    SourceRecord, Time,
};
use crate::domain::{format_rfc3339, parse_rfc3339};
use crate::text::escape_bounded;

use super::stored_data::check_stored_data;

/// Maximum number of characters of a failure's message that is read from a store.
const MAX_MESSAGE_CHARS: usize = 2000;

/// Maximum number of characters of a parser's message in a [`RecordError`].
const MAX_ERROR_CHARS: usize = 120;

/// Why the serialised state of a source is refused; fits after a colon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(String);

impl RecordError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

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
    #[serde(default, skip_serializing_if = "is_zero")]
    extra_ttl_ms: u64,
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
    /// Returns `None` if one of the times cannot be parsed or is before 1970.
    pub(crate) fn into_timestamps(self) -> Option<ClockTimestamps> {
        let boot_uptime = self.boot.map(|boot| BootUptime {
            boot_id: boot.id,
            uptime: Duration::from_millis(boot.up_ms),
        });
        Some(ClockTimestamps {
            program_time: parse_time(&self.at)?,
            wall_time: parse_time(&self.wall)?,
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

    /// Parses and checks one serialised record.
    pub(crate) fn parse_record(json: &'t str) -> Result<SourceRecord, RecordError> {
        serde_json::from_str::<Self>(json)
            .map_err(|error| {
                RecordError(escape_bounded(
                    &format!("its members are not those of a record: {error}"),
                    MAX_ERROR_CHARS,
                ))
            })?
            .into_record()
    }

    /// Returns the record if every part of it is one that this program could have written.
    fn into_record(self) -> Result<SourceRecord, RecordError> {
        // Borrows `providers` before the attempts consume it.
        let failure_streaks = self
            .providers
            .iter()
            .filter(|provider| provider.failing_since.is_some())
            .map(ProviderAttemptDto::failure_streak)
            .collect::<Option<_>>()
            .ok_or_else(|| RecordError::new("the failures of a provider are not valid"))?;
        let provider_attempts: Arc<[ProviderAttempt]> = self
            .providers
            .into_iter()
            .filter_map(|provider| provider.into_attempt().transpose())
            .collect::<Result<_, _>>()?;
        let mut seen = HashSet::new();
        if !provider_attempts
            .iter()
            .all(|attempt| seen.insert(&attempt.provider))
        {
            return Err(RecordError::new("it has a provider twice"));
        }
        Ok(SourceRecord {
            name: Name::new(&self.name)
                .map_err(|error| RecordError(format!("its name is not valid: {error}")))?,
            identity: SourceIdentity::from_text(&self.identity)
                .ok_or_else(|| RecordError::new("its identity is not valid"))?,
            reading: self.reading.map(ReadingDto::into_reading).transpose()?,
            failure: self
                .failure
                .map(FailureRecordDto::into_failure_record)
                .transpose()?
                .flatten()
                .map(Arc::new),
            reading_input_versions: parse_versions(&self.reading_input_versions)?,
            latest_input_versions: parse_versions(&self.latest_input_versions)?,
            history: AttemptHistory {
                last_attempt: parse_optional_time(self.last_attempt.as_deref())?,
                last_duration: self.took_us.map(Duration::from_micros),
                failing_since: parse_optional_time(self.failing_since.as_deref())?,
                failure_count: self.failures,
                next_attempt: None,
                provider_attempts,
                failure_streaks,
            },
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
            extra_ttl_ms: u64::try_from(reading.extra_ttl.as_millis()).unwrap_or_default(),
        })
    }

    fn into_reading(self) -> Result<Arc<Reading>, RecordError> {
        let data = check_stored_data(self.data.get())
            .map_err(|reason| RecordError(format!("its data {reason}")))?;
        Ok(Arc::new(Reading {
            fetched_at: require_time(&self.fetched_at)?,
            provider: Name::new(&self.provider)
                .map_err(|_| RecordError::new("the provider of its reading has no valid name"))?,
            data,
            extra_ttl: Duration::from_millis(self.extra_ttl_ms).min(MAX_CACHE_LIFETIME),
        }))
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(millis: &u64) -> bool {
    *millis == 0
}

impl<'t> FailureRecordDto<'t> {
    fn new(started_at: Time, failure: &'t Failure) -> Self {
        Self {
            at: format_rfc3339(started_at),
            code: failure.code.as_str().into(),
            error: (&*failure.message).into(),
        }
    }

    /// Returns `None` for a code that this release does not know, or that is no attempt's.
    fn into_failure_record(self) -> Result<Option<FailureRecord>, RecordError> {
        let started_at = require_time(&self.at)?;
        let code = Code::from_text(&self.code)
            .filter(|code| !matches!(code, Code::Pending | Code::Expired));
        Ok(code.map(|code| FailureRecord {
            started_at,
            failure: Failure::new(code, bounded_message(&self.error)),
        }))
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
            held_until: attempt.held_until.map(format_rfc3339),
            failing_since: streak.map(|streak| format_rfc3339(streak.since)),
            failures: streak.map_or(0, |streak| streak.failure_count),
        }
    }

    fn failure_streak(&self) -> Option<FailureStreak> {
        Some(FailureStreak {
            since: parse_time(self.failing_since.as_deref()?)?,
            provider: Name::new(&self.name).ok()?,
            failure_count: self.failures,
        })
    }

    /// Returns `None` for a failure whose code this release does not know.
    fn into_attempt(self) -> Result<Option<ProviderAttempt>, RecordError> {
        let result = match self.failure.map(FailureRecordDto::into_failure_record) {
            None => ProviderAttemptResult::Succeeded,
            Some(record) => match record? {
                Some(record) => ProviderAttemptResult::Failed(record.failure),
                None => return Ok(None),
            },
        };
        Ok(Some(ProviderAttempt {
            provider: Name::new(&self.name)
                .map_err(|_| RecordError::new("a provider in it has no valid name"))?,
            started_at: require_time(&self.last_attempt)?,
            duration: Duration::from_micros(self.took_us),
            result,
            held_until: parse_optional_time(self.held_until.as_deref())?,
        }))
    }
}

/// Returns a message as this program writes them: escaped and bounded. One that is so already, as
/// each of its own is, stays as it is.
fn bounded_message(text: &str) -> Arc<str> {
    let is_printable = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    // The bytes first: a message of megabytes is not counted character by character.
    if text.len() <= MAX_MESSAGE_CHARS && text.chars().all(is_printable) {
        text.into()
    } else {
        escape_bounded(text, MAX_MESSAGE_CHARS).into()
    }
}

/// Parses a time. `None` if it is not valid or before 1970.
fn parse_time(text: &str) -> Option<Time> {
    parse_rfc3339(text).filter(|time| *time >= Time::default())
}

fn require_time(text: &str) -> Result<Time, RecordError> {
    parse_time(text).ok_or_else(|| RecordError::new("a time in it is not valid or before 1970"))
}

fn parse_optional_time(text: Option<&str>) -> Result<Option<Time>, RecordError> {
    text.map(require_time).transpose()
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

fn parse_versions(pairs: &[(String, String)]) -> Result<Arc<[(Name, Time)]>, RecordError> {
    pairs
        .iter()
        .map(|(name, fetched_at)| {
            let name = Name::new(name)
                .map_err(|_| RecordError::new("an input of it has no valid name"))?;
            Ok((name, require_time(fetched_at)?))
        })
        .collect()
}
