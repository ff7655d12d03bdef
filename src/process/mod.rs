//! Services of the process: the clock, supervision of tasks, signals, thread priority, CPU work
//! beside the serving threads.

mod clock;
mod memory_limit;
mod send_budget;
mod shared_work;
mod shutdown;
mod supervisor;
mod thread_priority;
mod work_queue;

pub use clock::{Clock, Deadline, TimePoint, process_cpu_time};
pub use memory_limit::container_memory_limit;
pub use send_budget::{SendBudget, SendCharge};
pub use shared_work::SharedWork;
pub use shutdown::ProcessSignals;
pub use supervisor::Supervisor;
pub use thread_priority::BackgroundPriority;
pub use work_queue::{WorkQueue, WorkQueueFull};
