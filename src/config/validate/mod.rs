//! The rules beyond a single key: inheritance, defaults, and relations between keys. Makes domain types of tables.

mod derived;
mod name;
mod request;
mod server;
mod source;
mod store;
mod timing;

pub(super) use derived::validate_derived_sources;
pub use server::parse_listen;
pub(super) use server::validate_server;
pub(super) use source::validate_sources;
pub(super) use store::validate_store;
