//! Core types and rules: sources, providers, readings, failures, freshness, snapshots and how they
//! merge, schedules, and redaction of secrets.
//!
//! The functions are pure: the current time is a parameter, and nothing here waits, performs I/O or
//! serialises. The exception is [`Redactor`], a shared handle.

mod address;
mod appearance;
mod attempt_history;
mod auth;
mod body_format;
mod clock_shift;
mod code;
mod failure;
mod freshness;
mod health_change;
mod identity;
mod instant_text;
mod name;
mod outcome;
mod provider;
mod reading;
mod redact;
mod request_text;
mod schedule;
mod snapshot;
mod snapshot_view;
mod source;
mod source_metric;
mod source_record;
mod source_set;
mod source_state;
mod source_view;
mod timestamp;
mod timestamps;
mod tls_settings;

pub use address::{embedded_ipv4_addresses, is_metadata_address, is_metadata_host};
pub use appearance::{
    PathAppearance, SourceAppearance, ThresholdLevel, Thresholds, ValueAppearance,
};
pub use attempt_history::{AttemptHistory, FailureStreak};
pub use auth::{AuthDefinition, AuthFieldError, AuthRequest, AuthValues};
pub use body_format::{BodyFormat, CsvDialect};
pub use clock_shift::ClockShift;
pub use code::Code;
pub use failure::{Failure, FailureRecord};
pub use freshness::{Freshness, FreshnessPolicy};
pub use health_change::{HealthChange, HealthChanges};
pub use identity::SourceIdentity;
pub use instant_text::{format_rfc3339, parse_rfc3339};
pub use name::{Name, NameError};
pub use outcome::{DerivedComputation, Outcome, ProviderAttempt, ProviderAttemptResult};
pub use provider::{
    Credentials, DEFAULT_MAX_PER_HOST, EgressProxy, Provider, ProviderRequest, RequestBody,
    RequestField,
};
pub use reading::{JsonData, Reading};
pub use redact::{Redactor, SecretSet};
pub use request_text::{
    DateError, DateReference, RequestText, RequestTime, encode_url_part, is_time_zone,
};
pub use schedule::{MAX_CACHE_LIFETIME, MAX_RETRY_AFTER, Schedule};
pub use snapshot::{MergeResult, Snapshot};
pub use source::{Source, SourceKind};
pub use source_metric::{MetricFailure, MetricKind, MetricResults, MetricSeries, SourceMetric};
pub use source_record::SourceRecord;
pub use source_set::SourceSet;
pub use source_state::SourceState;
pub use source_view::{CurrentReading, ShownFailure, SourceView};
pub use timestamp::Time;
pub use timestamps::{BootUptime, ClockTimestamps};
pub use tls_settings::{ClientCertificate, TlsSettings};
