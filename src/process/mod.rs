//! Services of the process: the clock, supervision of tasks, signals, thread priority.

mod clock;
mod shutdown;
mod supervisor;
mod thread_priority;

pub use clock::{Clock, Deadline, TimePoint};
pub use shutdown::ProcessSignals;
pub use supervisor::Supervisor;
pub use thread_priority::BackgroundPriority;
