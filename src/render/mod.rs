//! Rendering of a summary: from a snapshot and the current time to the body, its version, its
//! headers, and the time until which they are valid. The names on the wire are defined here only.
//! No I/O.

mod cache_headers;
mod encoded_bodies;
mod json_text;
mod render_mode;
mod rendering;
mod summary_body;
mod version;

pub use encoded_bodies::{ContentCoding, EncodedBodies, LARGE_BODY_BYTES};
pub use render_mode::{LiveSourceResult, ReadingOrigin, RenderMode};
pub use rendering::{Rendering, estimate_body_bytes, render_summary};
pub use version::SummaryVersion;
