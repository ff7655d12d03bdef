//! Process-wide services: the clock, task supervision, shutdown and thread priority.

mod clock;
mod shutdown;
mod supervisor;
pub(crate) mod thread_priority;

pub use clock::{Clock, Deadline, TimePoint};
pub use shutdown::ProcessSignals;
pub use supervisor::Supervisor;
