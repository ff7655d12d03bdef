//! Redaction: secrets are replaced by `***` in every text that the program outputs.

mod encodings;
mod redactor;
mod secret_set;

pub use redactor::Redactor;
pub use secret_set::SecretSet;
