//! The error of an extraction, before it becomes a [`Failure`]. Text quoted from a provider is still raw here: secrets
//! must be masked before the text is cut, because a part of a secret is not recognised.

use crate::domain::{Code, Failure, Redactor};
use crate::text::escape_bounded;

/// The most escaped characters of a body that a message shows, the ellipsis included.
const MAX_QUOTE_CHARS: usize = 120;
/// Where a quote is cut before it is masked and escaped, in bytes: far more than a message shows, and longer than any
/// secret, since one that is cut is not recognised.
const MAX_RAW_QUOTE_BYTES: usize = 256 << 10;

/// The error of an extraction: a code, a message, and text quoted from the body or from the filter's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtractError {
    code: Code,
    message: String,
    quote: Option<String>,
}

impl ExtractError {
    /// Returns an error without quoted text.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            message: what.into(),
            quote: None,
        }
    }

    /// Returns an error whose message ends with `quote`.
    pub(crate) fn with_quote(code: Code, what: impl Into<String>, quote: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(&quote[..quote.len().min(MAX_RAW_QUOTE_BYTES)]);
        Self {
            code,
            message: what.into(),
            quote: Some(raw.into_owned()),
        }
    }

    /// The code, the message and the quoted text.
    pub(crate) fn into_parts(self) -> (Code, String, Option<String>) {
        (self.code, self.message, self.quote)
    }

    /// The failure, secrets masked, the quote escaped and cut.
    pub(crate) fn into_failure(self, veil: &Redactor) -> Failure {
        let Some(quote) = self.quote else {
            return Failure::new(self.code, veil.redact(&self.message));
        };
        // Redaction first: a secret that is escaped or cut is not found.
        let quote = veil.redact(&quote);
        let quote = escape_bounded(quote.trim(), MAX_QUOTE_CHARS - 1);
        let message = format!("{}: {quote}", veil.redact(&self.message));
        Failure::new(self.code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretSet;

    fn quoted_message(quote: &str, secrets: &[&str]) -> String {
        let secrets = SecretSet::new(secrets.iter().map(|s| (*s).to_owned()));
        ExtractError::with_quote(Code::NotJson, "bad", quote.as_bytes())
            .into_failure(&Redactor::new(secrets))
            .message
            .to_string()
    }

    #[test]
    fn body_quote_is_escaped_and_cut() {
        assert_eq!(
            quoted_message("  {\"a\":\n\u{1b}[31m}\u{202e} ", &[]),
            "bad: {\"a\":\\n\\u{1b}[31m}\\u{202e}"
        );
        let long = quoted_message(&"é".repeat(500), &[]);
        assert_eq!(long.chars().count(), "bad: ".len() + MAX_QUOTE_CHARS);
        assert!(long.ends_with('…'));
        assert!(
            quoted_message(&"\u{0}".repeat(500), &[]).chars().count()
                <= "bad: ".len() + MAX_QUOTE_CHARS
        );
    }

    #[test]
    fn longest_secret_is_masked() {
        let secret = format!("token-{}", "0123456789".repeat(6_500));
        assert_eq!(
            quoted_message(&format!("<{secret}>"), &[&secret]),
            "bad: <***>"
        );
    }

    #[test]
    fn secret_at_the_cut_is_masked() {
        let quote = format!("{}token-0123456789", "x".repeat(MAX_QUOTE_CHARS - 8));
        assert!(!quoted_message(&quote, &["token-0123456789"]).contains("token"));
    }
}
