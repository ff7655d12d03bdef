//! Floor 0: the words and the rules. Sources, providers, readings, failures, outcomes, freshness and snapshots, and
//! how they merge.
//!
//! Imports nothing of the crate. Never waits, never reads a clock (`now` is passed in), never serialises.

mod address;
mod code;
mod failure;
mod freshness;
mod identity;
mod name;
mod outcome;
mod provider;
mod reading;
mod redact;
mod saved_state;
mod schedule;
mod snapshot;
mod snapshot_reload;
mod source;
mod source_set;
mod source_state;
mod timestamp;
mod timestamps;

pub use address::{embedded_ipv4_addresses, is_metadata_address};
pub use code::Code;
pub use failure::{Failure, FailureRecord};
pub use freshness::{Freshness, FreshnessPolicy};
pub use identity::SourceIdentity;
pub use name::{Name, NameError};
pub use outcome::{Outcome, ProviderAttempt, ProviderAttemptResult};
pub use provider::{EgressProxy, Provider, ProviderRequest};
pub use reading::{JsonData, Reading};
pub use redact::{Redactor, SecretSet};
pub use saved_state::SourceRecord;
pub use snapshot::{MergeResult, ShownFailure, Snapshot, SourceView};
pub use source::{Schedule, Source, SourceKind};
pub use source_set::SourceSet;
pub use source_state::{
    AttemptHistory, DerivedComputation, FailureStreak, HealthChange, HealthChanges, SourceState,
};
pub use timestamp::Time;
pub use timestamps::{BootUptime, ClockTimestamps};
