//! Raw types → domain types: inheritance, defaults, and every rule that relates one key to another.

mod derived_section;
mod listen_address;
mod request_keys;
mod server_section;
mod source_section;
mod timing;

pub use server_section::parse_listen;

use std::sync::Arc;

use crate::domain::{Name, NameError, Source};

use super::loader::ConfigLoader;
use super::raw_config::RawConfig;
use super::table_reader::SpannedStr;
use crate::config::{ServerSettings, StoreSettings};

/// Default of `max_per_host`.
const DEFAULT_MAX_PER_HOST: usize = 6;

/// What a valid file says. Parts that are problems are left out or have their defaults.
pub(super) struct ValidatedConfig {
    pub(super) server: ServerSettings,
    pub(super) store: StoreSettings,
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) max_per_host: usize,
}

/// Checks everything, however much of it is wrong.
pub(super) fn validate_config(raw: &RawConfig, cx: &mut ConfigLoader<'_>) -> ValidatedConfig {
    let server = server_section::validate_server(&raw.server, cx);
    let store = server_section::validate_store(&raw.store, cx);
    let mut sources = source_section::validate_sources(raw, cx);
    let derived = derived_section::validate_derived_sources(raw, &sources, cx);
    sources.extend(derived);
    ValidatedConfig {
        server,
        store,
        sources: sources.into_iter().map(Arc::new).collect(),
        max_per_host: raw
            .max_per_host
            .map_or(DEFAULT_MAX_PER_HOST, |most| most as usize),
    }
}

/// The name that a key or a value spells.
fn validate_name(text: &SpannedStr, what: &str, cx: &mut ConfigLoader<'_>) -> Option<Name> {
    let error = match Name::new(&text.value) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let near = suggest_name(text.as_written())
        .filter(|_| text.original.is_none() && text.value.is_ascii());
    let help = match (error, near) {
        (NameError::BadCharacter, Some(near)) => format!("did you mean `{near}`? {error}"),
        _ => error.to_string(),
    };
    cx.problems
        .add_error(&text.span, format!("{text} is no name of a {what}"), help);
    None
}

/// A name that looks like `text`: lower case, with `-` for what a name cannot hold.
fn suggest_name(text: &str) -> Option<Name> {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug: String = text.chars().take(Name::MAX).map(plain).collect();
    Name::new(slug.trim_matches(['-', '_'])).ok()
}
