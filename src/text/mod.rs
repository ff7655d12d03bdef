//! Text helpers: durations, sizes, suggestions, quoting, the depth of JSON, the digits of its numbers and its scalars. Imports nothing of the crate.

mod duration;
mod json_depth;
mod json_digits;
mod json_tree;
mod quote;
mod size;
mod suggest;
mod unit;

pub use duration::format_duration;
pub(crate) use duration::{MAX_DURATION, parse_duration};
pub(crate) use json_depth::end_of_string;
pub use json_depth::{MAX_DEPTH, find_excess_depth};
pub(crate) use json_digits::{MAX_DIGITS, has_long_number};
pub(crate) use json_tree::{JsonChildren, decode_json_string, json_children, visit_scalars};
pub(crate) use quote::{escape_bounded, escape_json, quote};
pub(crate) use size::{format_size, parse_size};
pub(crate) use suggest::{find_nearest, find_nearest_path};
pub(crate) use unit::UnitError;
pub use unit::UnitStyle;
