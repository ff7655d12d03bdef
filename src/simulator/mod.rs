//! Simulated providers: an HTTP server whose responses have the shape of real APIs, change over time, and fail on request.
//!
//! The simulator keeps no state: a response is a function of the time and of the query. It shares no code with the
//! fetching side, so that `demo` exercises real sockets.

mod fault_script;
mod faults;
mod moving_values;
mod simulated_response;
mod simulator_server;

pub use simulator_server::serve;
