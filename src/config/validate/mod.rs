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
use super::section::Text;
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
    Parts {
        server,
        store,
        sources: sources.into_iter().map(Arc::new).collect(),
    }
}

/// The name that a key or a value spells.
fn name(text: &Text, what: &str, cx: &mut Context<'_>) -> Option<Name> {
    let error = match Name::new(&text.value) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let near =
        near_name(text.written()).filter(|_| text.written.is_none() && text.value.is_ascii());
    let help = match (error, near) {
        (NameError::BadCharacter, Some(near)) => format!("did you mean `{near}`? {error}"),
        _ => error.to_string(),
    };
    cx.problems
        .error(&text.span, format!("{text} is no name of a {what}"), help);
    None
}

/// A name that looks like `text`: lower case, with `-` for what a name cannot hold.
fn near_name(text: &str) -> Option<Name> {
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
