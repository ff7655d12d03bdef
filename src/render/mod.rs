//! Floor 1: (snapshot, now) → body, version, headers, and until when they are true.
//!
//! Imports `domain`. The only owner of the wire names. Does no I/O.

mod body;
mod forms;
mod headers;
mod note;
mod rendering;
mod text;
mod version;

pub use forms::{ContentCoding, EncodedBodies, LARGE_BODY_BYTES};
pub use note::{LiveSourceResult, ReadingOrigin};
pub use rendering::{RenderMode, Rendering, render_summary};
pub use text::{format_rfc3339, write_json_string};
pub use version::SummaryVersion;
