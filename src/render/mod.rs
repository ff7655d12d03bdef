//! Rendering of a summary or a part of it: from a snapshot and the current time to the body, its version, its
//! headers, and the time until which they are valid. The names on the wire are defined here only.
//! No I/O.

mod badge_body;
mod body_form;
mod cache_headers;
mod encoded_bodies;
mod flat_body;
mod json_text;
mod render_mode;
mod rendering;
mod summary_body;
mod value_body;
mod version;

pub use body_form::{BodyForm, ValuePath};
pub use cache_headers::ValueDate;
pub use encoded_bodies::{ContentCoding, EncodedBodies, EventName, LARGE_BODY_BYTES};
pub use render_mode::{LiveSourceResult, ReadingOrigin, RenderMode};
pub use rendering::{Rendering, estimate_body_bytes, render_summary};
pub use value_body::{ValueFlaw, find_nearest_value_path};
pub use version::SummaryVersion;
