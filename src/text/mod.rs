//! Text helpers: durations, suggestions and quoting.

mod duration;
mod suggest;

pub use duration::format_duration;
pub(crate) use suggest::{find_nearest, find_nearest_path};
