//! The table of configuration keys, and what follows from it: the JSON Schema and the help for unknown keys.

mod declarations;
mod key;
mod metric_keys;
#[cfg(test)]
mod reference;
mod schema;
mod server_keys;
mod tls_keys;
mod unknown;

pub(super) use declarations::{find_key, section_keys};
pub(super) use key::{Key, Kind, Section};
pub use schema::json_schema;
pub(super) use unknown::unknown_key_help;
