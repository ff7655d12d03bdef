//! Errors of an extraction, with an unmodified quote of the body or of the filter's error.
//! Redaction comes before cutting: a secret that is cut would not be recognised.

use crate::domain::{Code, Failure, Redactor};

/// Maximum number of escaped characters of a quote.
const MAX_QUOTE_CHARS: usize = 120;
/// Maximum size of a quote before redaction, in bytes: longer than any secret.
const MAX_RAW_QUOTE_BYTES: usize = 256 << 10;

/// Error of an extraction; [`Self::into_failure`] makes it a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtractError {
    code: Code,
    message: String,
    quote: Option<String>,
}

impl ExtractError {
    /// Returns an error without a quote.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            quote: None,
        }
    }

    /// Returns an error whose message ends with `quote`, a foreign text.
    pub(crate) fn with_quote(code: Code, message: impl Into<String>, quote: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(&quote[..quote.len().min(MAX_RAW_QUOTE_BYTES)]);
        Self {
            code,
            message: message.into(),
            quote: Some(raw.into_owned()),
        }
    }

    /// Returns the failure with secrets redacted and the quote escaped and cut.
    pub(crate) fn into_failure(self, redactor: &Redactor) -> Failure {
        let Some(quote) = self.quote else {
            return Failure::new(self.code, redactor.redact(&self.message));
        };
        let message = format!(
            "{}: {}",
            redactor.redact(&self.message),
            escape_quote(&redactor.redact(&quote))
        );
        Failure::new(self.code, message)
    }
}

/// Returns `text` on one line with non-printable characters escaped, cut to [`MAX_QUOTE_CHARS`].
fn escape_quote(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for c in text.trim().chars() {
        let escaped: String = if matches!(c, '"' | '\'') {
            c.into()
        } else {
            c.escape_debug().collect()
        };
        let length = escaped.chars().count();
        if count + length >= MAX_QUOTE_CHARS {
            out.push('…');
            break;
        }
        count += length;
        out.push_str(&escaped);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretSet;

    fn quoted_message(quote: &str, secrets: &[&str]) -> String {
        let secrets = SecretSet::new(secrets.iter().map(|secret| (*secret).to_owned()));
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
    fn longest_secret_is_redacted() {
        let secret = format!("token-{}", "0123456789".repeat(6_500));
        assert_eq!(
            quoted_message(&format!("<{secret}>"), &[&secret]),
            "bad: <***>"
        );
    }

    #[test]
    fn secret_at_the_cut_is_redacted() {
        let quote = format!("{}token-0123456789", "x".repeat(MAX_QUOTE_CHARS - 8));
        assert!(!quoted_message(&quote, &["token-0123456789"]).contains("token"));
    }
}
