//! The aggregator: one cache of the newest readings, the flights that fill it, and the background
//! tasks that request flights.
//!
//! A *flight* is one attempt at one source, shared by all its waiters. [`Flights`] starts it, races
//! the providers of its source, and hands the outcome to the [`CompletionHandler`], which publishes
//! it into the [`Cache`] and plans the next attempt. The [`Refresher`] requests flights on schedule,
//! a [`LiveFetcher`] for single requests; both wait for the same flights. [`DerivedTask`],
//! [`MetricTask`] and [`Persister`] subscribe to the cache: they compute derived sources, evaluate the
//! sources' own metrics, and write the state file. Other replicas are reached through the [`ReplicaCoordinator`].
//!
//! No request is served here, and no flight waits for a client.

mod cache;
mod complete;
mod coordinator;
mod derived;
mod flight;
mod flights;
mod live;
mod metric_task;
mod persist;
mod prepared_source;
mod race;
mod reading_memory;
mod refresh;
mod refresh_command;
mod running_computation;
mod selection_renderings;
mod source_slot;
mod turns;

pub use cache::Cache;
pub use complete::CompletionHandler;
pub use coordinator::{
    CoordinatorFuture, LeaseDecision, LeaseHandle, LeaseReply, LeaseRequest, RemoteAttempt,
    ReplicaCoordinator,
};
pub use derived::DerivedTask;
pub use flight::Flight;
pub use flights::{FlightStatus, Flights};
pub use live::{LiveFetcher, LiveResult};
pub use metric_task::MetricTask;
pub use persist::Persister;
pub use prepared_source::PreparedSource;
pub use refresh::{LivenessBeat, Refresher};
pub use refresh_command::RefreshCommand;
pub use selection_renderings::Selection;
