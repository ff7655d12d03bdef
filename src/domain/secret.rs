//! What must never be shown.

use std::borrow::Cow;
use std::sync::Arc;

/// Texts that are `***` wherever they appear in a message or a log line. Its `Debug` shows none of them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[Box<str>]>);

impl Secrets {
    /// Shorter values are not masked: they would blank ordinary words.
    pub const MIN: usize = 8;

    /// Keeps the values of at least [`Self::MIN`] characters, each also as it looks inside a quoted text and inside
    /// one quoted again (a `Debug` field in a JSON line); the longest first, so that one that holds another goes first.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let long = values.into_iter().filter(|v| v.chars().count() >= Self::MIN);
        let mut kept: Vec<Box<str>> = long
            .flat_map(|value| {
                let once = quoted(&value);
                [quoted(&once), once, value].map(String::into_boxed_str)
            })
            .collect();
        kept.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        kept.dedup();
        Self(kept.into())
    }

    /// `text` with every secret replaced by `***`; borrowed where there is none.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for secret in self.0.iter() {
            if masked.contains(&**secret) {
                masked = Cow::Owned(masked.replace(&**secret, "***"));
            }
        }
        masked
    }

    /// How many texts there are to look for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(c.escape_debug()),
            c => quoted.push(c),
        }
    }
    quoted
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_secrets_go_first_and_short_ones_stay() {
        let secrets = Secrets::new(["abcdefgh".into(), "abcdefghij".into(), "short".into()]);
        assert_eq!(secrets.mask("key abcdefghij, short, abcdefgh"), "key ***, short, ***");
        assert!(matches!(secrets.mask("nothing here"), Cow::Borrowed(_)));
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
    }

    #[test]
    fn quoting_does_not_unmask() {
        let secrets = Secrets::new(["quo\"ted\\value".into()]);
        let once = format!("{:?}", "a quo\"ted\\value b");
        assert_eq!(secrets.mask(&once), "\"a *** b\"");
        assert_eq!(secrets.mask(&format!("{once:?}")), r#""\"a *** b\"""#);
    }
}
