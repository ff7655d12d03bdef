//! When sources are fetched: single flight, intervals, backoff and reloads.

pub mod intervals;
pub mod single_flight;
pub mod source_reload;
