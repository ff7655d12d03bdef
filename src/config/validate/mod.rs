//! Raw types → domain types: inheritance, defaults, and every rule that relates one key to another.

mod address;
mod derived;
mod request;
mod server;
mod source;
mod timing;

use std::sync::Arc;

use crate::domain::{Name, NameError, Source};

use super::context::Context;
use super::raw::Raw;
use super::section::{Spot, quote};
use super::{Server, Store};

pub use server::parse_listen;

/// What a valid file says. Parts that are problems are left out or have their defaults.
pub(super) struct Parts {
    pub(super) server: Server,
    pub(super) store: Store,
    pub(super) sources: Vec<Arc<Source>>,
}

/// Checks everything, however much of it is wrong.
pub(super) fn validate(raw: &Raw, cx: &mut Context<'_>) -> Parts {
    let server = server::server(&raw.server, cx);
    let store = server::store(&raw.store, cx);
    let mut sources = source::sources(raw, cx);
    let derived = derived::derived(raw, &sources, cx);
    sources.extend(derived);
    Parts { server, store, sources: sources.into_iter().map(Arc::new).collect() }
}

/// The name that a key or a value spells.
fn name(spot: &Spot<String>, what: &str, cx: &mut Context<'_>) -> Option<Name> {
    let error = match Name::new(&spot.value) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let message = format!("{} is no name of a {what}", quote(&spot.value));
    let help = match (error, near_name(&spot.value)) {
        (NameError::BadCharacter, Some(near)) => format!("did you mean `{near}`? {error}"),
        _ => error.to_string(),
    };
    cx.problems.error(&spot.span, message, help);
    None
}

/// A name that looks like `text`: lower case, with `-` for what a name cannot hold.
fn near_name(text: &str) -> Option<Name> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let slug: String = text.chars().take(Name::MAX).map(plain).collect();
    Name::new(slug.trim_matches(['-', '_'])).ok()
}
