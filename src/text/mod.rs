//! Text helpers: durations, suggestions and quoting.

mod duration;
mod instant;
mod suggest;

pub use duration::format_duration;
pub use instant::{format_rfc3339, parse_rfc3339};
pub(crate) use suggest::{find_nearest, find_nearest_path};
