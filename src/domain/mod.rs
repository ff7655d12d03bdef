//! Floor 0: the words and the rules. Sources, providers, readings, failures, outcomes, freshness and snapshots, and
//! how they merge.
//!
//! Imports nothing of the crate. Never waits, never reads a clock (`now` is passed in), never serialises.

mod address;
mod adopt;
mod code;
mod disguise;
mod entry;
mod failure;
mod freshness;
mod identity;
mod moment;
mod name;
mod outcome;
mod provider;
mod reading;
mod roster;
mod saved;
mod schedule;
mod secret;
mod snapshot;
mod source;
mod spell;
mod time;

pub use address::{embedded_ipv4_addresses, is_metadata_address};
pub use code::Code;
pub use entry::{
    AttemptHistory, DerivedComputation, FailureStreak, HealthChange, HealthChanges, SourceState,
};
pub use failure::{Failure, FailureRecord};
pub use freshness::{Freshness, FreshnessPolicy};
pub use identity::SourceIdentity;
pub use moment::{BootUptime, ClockTimestamps};
pub use name::{Name, NameError};
pub use outcome::{Outcome, ProviderAttempt, ProviderAttemptResult};
pub use provider::{EgressProxy, Provider, ProviderRequest};
pub use reading::{JsonData, Reading};
pub use roster::SourceSet;
pub use saved::SourceRecord;
pub use secret::{Redactor, SecretSet};
pub use snapshot::{CurrentReading, MergeResult, ShownFailure, Snapshot, SourceView};
pub use source::{Schedule, Source, SourceKind};
pub use spell::format_duration;
pub use time::Time;
