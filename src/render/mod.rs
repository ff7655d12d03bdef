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

pub use forms::{Coding, Forms, LARGE};
pub use note::{Note, Origin};
pub use rendering::{Mode, Rendering, render};
pub use text::{rfc3339, write_text};
pub use version::Version;
