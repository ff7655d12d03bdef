//! Shared handle to the secrets of the running configuration.

use std::sync::Arc;

use parking_lot::RwLock;

use super::encodings::MAX_ESCAPE_BYTES;
use super::secret_set::SecretSet;

/// Handle to the secrets that no message and no log line may contain. Clones share the secrets: the
/// program creates one redactor and hands it to every module that writes such text.
///
/// The secrets of the previous configuration stay redacted, because a request that began before a
/// reload may still report them.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Arc<RwLock<ActiveSecrets>>);

#[derive(Debug, Clone, Default)]
struct ActiveSecrets {
    current: SecretSet,
    previous: SecretSet,
}

impl Redactor {
    /// Returns a new handle to `secrets`.
    pub fn new(secrets: SecretSet) -> Self {
        let redactor = Self::default();
        redactor.replace_secrets(secrets);
        redactor
    }

    /// Makes `secrets` the current ones, and the current ones the previous ones.
    pub fn replace_secrets(&self, secrets: SecretSet) {
        let mut active = self.0.write();
        active.previous = std::mem::replace(&mut active.current, secrets);
    }

    /// Returns `text` with every current and previous secret replaced by `***`.
    pub fn redact(&self, text: &str) -> String {
        // The copy of two pointers keeps the lock short: a search can take milliseconds.
        let ActiveSecrets { current, previous } = self.0.read().clone();
        previous.redact(&current.redact(text)).into_owned()
    }

    /// Returns the beginning of a longer text, redacted, without the end in which a secret could be cut:
    /// [`Self::redact`] finds whole secrets only.
    pub fn redact_beginning(&self, text: &str) -> String {
        // Redacted first: the cut of the end must not divide a secret.
        let mut redacted = self.redact(text);
        let ActiveSecrets { current, previous } = self.0.read().clone();
        let longest = current.max_len().max(previous.max_len());
        let mut kept = redacted.len().saturating_sub(longest * MAX_ESCAPE_BYTES);
        while !redacted.is_char_boundary(kept) {
            kept -= 1;
        }
        redacted.truncate(kept);
        redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_secrets() {
        let redactor = Redactor::default();
        let clone = redactor.clone();
        redactor.replace_secrets(SecretSet::new(["old-secret".into()]));
        redactor.replace_secrets(SecretSet::new(["new-secret".into()]));
        assert_eq!(clone.redact("old-secret new-secret"), "*** ***");
        clone.replace_secrets(SecretSet::default());
        assert_eq!(redactor.redact("old-secret new-secret"), "old-secret ***");
    }

    #[test]
    fn cut_secret_is_dropped() {
        let redactor = Redactor::new(SecretSet::new(["s3cret/key".into()]));
        for cut in ["s3cret/ke", "%73%33%63%72%65%74%2", "\\u0073\\u0033\\u006"] {
            let text = "é".repeat(40) + " s3cret/key " + cut;
            let shown = redactor.redact_beginning(&text);
            assert!(!shown.contains('s') && !shown.contains('3'), "{shown}");
            assert!(shown.starts_with('é'), "{shown}");
        }
        let none = Redactor::default();
        assert_eq!(none.redact_beginning("whole"), "whole");
    }
}
