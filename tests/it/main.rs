//! The integration tests, one binary.

mod commands;
mod layers;
mod merge;
mod program;
