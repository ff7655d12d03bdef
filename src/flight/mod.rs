//! Floor 3: one attempt at one source, and who may start it when.
//!
//! Imports `domain`, `extract`, `fetch`, `fleet` and `clock`. A flight races its source's providers under one deadline and lands
//! by handing its outcome to whoever built the table. It never waits for clients: they wait for it.

mod crew;
#[allow(
    clippy::module_inception,
    reason = "a flight is what the module is about"
)]
mod flight;
mod lane;
mod race;
mod table;

pub use crew::PreparedSource;
pub use flight::Flight;
pub use table::{Completion, FlightStatus, Flights, OnComplete};
