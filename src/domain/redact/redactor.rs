//! Shared handle to the secrets of the running configuration.

use std::sync::Arc;

use parking_lot::RwLock;

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
}
