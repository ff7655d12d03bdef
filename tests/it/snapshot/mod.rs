//! Merging readings and failures into snapshots, and derived sources.

pub mod derived_sources;
pub mod merge_properties;
