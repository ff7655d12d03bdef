//! The aggregator: the cache, single-flight attempts at sources, and the tasks that start them.

mod cache;
mod complete;
mod derived;
mod flight;
mod flights;
mod live;
mod persist;
mod prepared_source;
mod race;
mod refresh;
mod source_slot;
mod turns;

pub use cache::Cache;
pub(crate) use complete::{make_completion_handler, make_replan_callback};
pub use derived::DerivedTask;
pub use flights::Flights;
pub(crate) use flights::PANIC_MESSAGE;
pub use live::LiveFetcher;
pub use persist::{PersistErrorHook, Persister};
pub use prepared_source::PreparedSource;
pub use refresh::{LivenessBeat, RefreshCommand, Refresher};
