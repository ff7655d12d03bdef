//! The integration tests, one binary.

mod commands;
mod keep;
mod layers;
mod merge;
mod program;
