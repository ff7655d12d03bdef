//! Simulated providers: a small HTTP server whose answers look like those of real APIs, move with time, and fail on
//! request.
//!
//! Imports `clock` and `domain` (the time). It shares nothing with the service that asks it, so that `demo` exercises real sockets, and it
//! keeps no state: an answer is a function of the time and of the query.

mod fault_script;
mod faults;
mod moving_values;
mod simulated_answer;
mod simulator_server;

pub use simulator_server::serve;
