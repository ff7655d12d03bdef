//! The rules beyond a single key: inheritance, defaults, and relations between keys. Makes domain types of tables.

mod appearance_rules;
mod auth_rules;
mod certificates;
mod derived_rules;
mod format_rules;
mod metric_rules;
mod name_rules;
mod proxy_rules;
mod request_builder;
mod request_rules;
mod server_rules;
mod server_tls_rules;
mod shared_credentials;
mod source_rules;
mod store;
mod timing;
mod tls_rules;
mod token_rules;

pub(super) use auth_rules::{validate_auths, warn_unused_auths};
pub(super) use derived_rules::validate_derived_sources;
pub(super) use metric_rules::MetricFamilies;
pub(super) use request_builder::RequestDefaults;
pub(super) use server_rules::validate_server;
pub(super) use source_rules::validate_sources;
pub(super) use store::validate_store;
