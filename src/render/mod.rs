//! Floor 1: (snapshot, now) → body, version, headers, and until when they are true.
//!
//! Imports `domain`. The only owner of the wire names. Does no I/O.

mod cache_headers;
mod compressed;
mod json_text;
mod live_note;
mod rendering;
mod summary_body;
mod version;

pub use compressed::{ContentCoding, EncodedBodies, LARGE_BODY_BYTES};
pub use live_note::{LiveSourceResult, ReadingOrigin};
pub use rendering::{RenderMode, Rendering, render_summary};
pub use version::SummaryVersion;
