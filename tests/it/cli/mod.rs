//! The commands as child processes.

pub mod check_command;
pub mod command_usage;
pub mod serve_command;
