//! The state file: restarts, crashes and damaged files.

pub mod hostile_state;
pub mod random_kills;
pub mod reading_retention;
pub mod restart_survival;
pub mod state_file;
pub mod state_format;
pub mod syscall_faults;
