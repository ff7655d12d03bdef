//! Redaction: secrets are replaced in every text that leaves the program.

mod encodings;
mod redactor;

pub use redactor::{Redactor, SecretSet};
