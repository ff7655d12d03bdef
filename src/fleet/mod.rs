//! Floor 3: this replica as one of several that share calls and readings through a store.
//!
//! Imports `domain`, `clock` and `store`. It knows whether the store can be used now, asks it before a flight, tells it
//! after one, and lets whoever waits for another replica's outcome know that it came. It never connects by itself (that
//! is `share`'s), never merges, and never keeps anybody waiting for a store that is known to be gone.

mod board;
mod member;
mod post;
mod skew;
mod view;

pub use board::{LeaseContext, LeaseDecision, LeaseHandle};
pub use member::{LocalReplica, ReplicaErrorHook, ShareParams};
pub use view::{ReplicaMode, ReplicaStatus};
