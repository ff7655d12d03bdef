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

pub use address::{carried_v4, is_metadata};
pub use code::Code;
pub use entry::{Derivation, Entry, Streak, Trail, Turn, Turns};
pub use failure::{Failure, Lapse};
pub use freshness::{Freshness, Shelf};
pub use identity::Identity;
pub use moment::{Moment, SinceBoot};
pub use name::{Name, NameError};
pub use outcome::{End, Outcome, Try};
pub use provider::{Provider, Proxy, Request};
pub use reading::{Data, Reading};
pub use roster::Roster;
pub use saved::Saved;
pub use secret::{Secrets, Veil};
pub use snapshot::{Merged, Shown, Snapshot, State, Trouble};
pub use source::{Kind, Pace, Source};
pub use spell::spell;
pub use time::Time;
