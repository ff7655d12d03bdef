//! Names of sources and providers.

use crate::config::loader::ConfigLoader;
use crate::config::span::SpannedStr;
use crate::domain::{Name, NameError};

/// The name that a table's header or a value spells. `what` has the name: `source`.
pub(super) fn validate_name(
    text: &SpannedStr,
    what: &str,
    loader: &mut ConfigLoader<'_>,
) -> Option<Name> {
    let error = match Name::new(&text.value) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    // A value from a reference is not repeated in a message: it may be a secret.
    let is_repeatable = text.original.is_none() && text.value.is_ascii();
    let help = match slug_name(&text.value).filter(|_| is_repeatable) {
        Some(near) if error == NameError::BadCharacter => format!("did you mean `{near}`? {error}"),
        _ => error.to_string(),
    };
    let message = format!("{text} is not a valid {what} name");
    loader.error(&text.span, &message, help);
    None
}

/// A name similar to `text`: in lower case, with `-` for every character that a name cannot contain.
pub(super) fn slug_name(text: &str) -> Option<Name> {
    let allowed = |c: char| {
        let is_allowed = c.is_ascii_alphanumeric() || c == '_';
        if is_allowed {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug: String = text.chars().take(Name::MAX).map(allowed).collect();
    Name::new(slug.trim_matches(['-', '_'])).ok()
}
