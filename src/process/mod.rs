//! Services of the process: the clock, supervision of tasks, signals, thread priority.

mod clock;
mod memory_limit;
mod shutdown;
mod supervisor;
mod thread_priority;

pub use clock::{Clock, Deadline, TimePoint, process_cpu_time};
pub use memory_limit::container_memory_limit;
pub use shutdown::ProcessSignals;
pub use supervisor::Supervisor;
pub use thread_priority::BackgroundPriority;
