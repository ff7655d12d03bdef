//! The configuration: a TOML file → validated domain types, or all of its problems, each with its place. Opens no socket.
//!
//! `load` leads through the steps: `table_reader` reads the file's tables by the declarations in `keys`, with `${…}`
//! expanded by `loader`; `validate` applies the rules between keys and makes domain types; `problems` collects what is
//! wrong, and `diagnostics` shows it beside the line of the file.

mod access_settings;
mod config_settings;
mod diagnostics;
mod expand;
mod files;
mod fingerprint;
mod json_body;
mod keys;
mod line_secrets;
mod listen_address;
mod load;
mod loader;
mod problems;
mod secrets;
mod server_tls;
mod span;
mod syntax;
mod table;
mod table_reader;
mod text_values;
mod urls;
mod validate;

pub use access_settings::{AccessGroup, AccessToken, LiveAccess, TokenDigest};
pub use config_settings::{Config, ServerSettings, StoreSettings};
pub use diagnostics::{ConfigError, ConfigProblem, FileLocation, Severity};
pub(crate) use files::{MAX_FILE_BYTES, read_regular_file};
pub use fingerprint::FileFingerprints;
pub use keys::json_schema;
pub use listen_address::{ListenAddress, parse_listen};
pub use load::{find_path, load, load_server_settings, parse};
pub use server_tls::ServerTls;
