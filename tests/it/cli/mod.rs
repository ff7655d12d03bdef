//! The commands of the program as child processes: output, exit codes and signals.

pub mod check_command;
pub mod command_usage;
pub mod health_command;
pub mod listen_addresses;
pub mod once_command;
pub mod serve_command;
