//! Bodies before extraction.

use bytes::Bytes;

use crate::domain::BodyFormat;

/// A body without its content coding, and how to read it.
#[derive(Debug, Clone)]
pub struct RawBody {
    /// The body, in any charset.
    pub bytes: Bytes,
    /// The format to convert it from.
    pub format: BodyFormat,
    /// The charset that `Content-Type` names. `None` if it names none.
    pub charset: Option<Box<str>>,
}

impl From<Bytes> for RawBody {
    /// A JSON body in UTF-8.
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            format: BodyFormat::Json,
            charset: None,
        }
    }
}
