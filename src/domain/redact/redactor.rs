//! Shared handle to the secrets of the running configuration.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::text::end_of_string;

use super::encodings::MAX_ESCAPE_BYTES;
use super::secret_set::SecretSet;

/// Handle to the secrets that no message and no log line may contain. Clones share the secrets: the
/// program creates one redactor and hands it to every module that writes such text.
///
/// The secrets of the previous configuration stay redacted, because a request that began before a
/// reload may still report them.
///
/// Values that authentications obtain while the program runs are added to them. Of each authentication,
/// the latest three logins stay redacted.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Arc<RwLock<ActiveSecrets>>);

/// Number of logins of each authentication whose values are redacted. A request with the values before
/// the last ones can still run.
const KEPT_LOGINS: usize = 3;

#[derive(Default)]
struct ActiveSecrets {
    current: SecretSet,
    previous: SecretSet,
    /// The values of `logins`.
    obtained: SecretSet,
    /// Values of the latest logins by the name of their authentication, oldest first.
    logins: BTreeMap<String, VecDeque<Vec<String>>>,
}

/// Without the values.
impl fmt::Debug for ActiveSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = [&self.current, &self.previous, &self.obtained];
        f.debug_list().entries(sets).finish()
    }
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

    /// Adds the values of a login of the authentication `auth`.
    pub fn add_login(&self, auth: &str, values: Vec<String>) {
        let mut active = self.0.write();
        let logins = active.logins.entry(auth.to_owned()).or_default();
        logins.push_back(values);
        if logins.len() > KEPT_LOGINS {
            logins.pop_front();
        }
        let values = active.logins.values().flatten().flatten().cloned();
        active.obtained = SecretSet::new(values.collect::<Vec<_>>());
    }

    /// Returns `text` with every current, previous and obtained secret replaced by `***`.
    pub fn redact(&self, text: &str) -> String {
        self.secret_sets()
            .iter()
            .fold(text.to_owned(), |text, set| set.redact(&text).into_owned())
    }

    /// Returns `json`, which must be valid JSON, with the secrets in its values replaced, unless they are
    /// `plain_values`. It stays valid: of a string
    /// with escapes, and of a number, the whole value is replaced. Names of members stay: they are those of the
    /// filter, and `query` often has them as values, too.
    pub fn redact_json(&self, json: &str, plain_values: &BTreeSet<String>) -> String {
        let mut redacted = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
            redacted.push_str(&rest[..start]);
            rest = &rest[start..];
            let (token, after) = rest.split_at(token_length(rest));
            rest = after;
            let sets = self.secret_sets();
            let mut spans = sets.iter().flat_map(|set| set.secret_spans(token));
            let is_secret = spans.any(|span| !plain_values.contains(&token[span]));
            let shown = if is_secret {
                self.redact(token)
            } else {
                token.to_owned()
            };
            let is_name = token.starts_with('"') && after.trim_start().starts_with(':');
            let is_plain = token.starts_with('"') && !token.contains('\\');
            redacted.push_str(match () {
                () if is_name || shown == token => token,
                () if is_plain => &shown,
                () => "\"***\"",
            });
        }
        redacted + rest
    }

    /// Returns the beginning of a longer text, redacted, without the end in which a secret could be cut:
    /// [`Self::redact`] finds whole secrets only.
    pub fn redact_beginning(&self, text: &str) -> String {
        // Redacted first: the cut of the end must not divide a secret.
        let mut redacted = self.redact(text);
        let sets = self.secret_sets();
        let longest = sets
            .iter()
            .map(SecretSet::max_len)
            .max()
            .unwrap_or_default();
        let mut kept = redacted.len().saturating_sub(longest * MAX_ESCAPE_BYTES);
        while !redacted.is_char_boundary(kept) {
            kept -= 1;
        }
        redacted.truncate(kept);
        redacted
    }

    /// Returns copies of the pointers, which keeps the lock short: a search can take milliseconds.
    fn secret_sets(&self) -> [SecretSet; 3] {
        let active = self.0.read();
        [&active.current, &active.previous, &active.obtained].map(Clone::clone)
    }
}

/// The length of the string or the number at the start of `json`.
fn token_length(json: &str) -> usize {
    if !json.starts_with('"') {
        let end = json.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        return end.unwrap_or(json.len());
    }
    (end_of_string(json.as_bytes(), 1) + 1).min(json.len())
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
    fn latest_logins_are_redacted() {
        let redactor = Redactor::default();
        for login in 0..5 {
            redactor.add_login("bank", vec![format!("token-{login}-x")]);
        }
        redactor.add_login("other", vec!["other-token".into()]);
        let text = "token-0-x token-2-x token-4-x other-token";
        assert_eq!(redactor.redact(text), "token-0-x *** *** ***");
        redactor.replace_secrets(SecretSet::default());
        assert_eq!(redactor.redact("token-4-x"), "***");
        assert!(!format!("{redactor:?}").contains("token"));
    }

    #[test]
    fn redacted_json_stays_valid() {
        let secrets = [
            "s3cret/key",
            "nabcdefgh",
            "12345678",
            "ethereum",
            "\"a\":[12]",
            "San Francisco",
        ];
        let plain = BTreeSet::from(["San Francisco".to_owned()]);
        let redactor = Redactor::new(SecretSet::new(secrets.map(str::to_owned)));
        let table = [
            (r#"{"a":"x s3cret/key y"}"#, r#"{"a":"x *** y"}"#),
            (r#"["s3cret\/key","s3cret%2Fkey"]"#, r#"["***","***"]"#),
            (r#"["\nabcdefgh", -12345678 ]"#, r#"["***", "***" ]"#),
            (r#"{"ethereum" : {"k\"ey":-1.5e+9,"t":true}}"#, ""),
            (r#"{"a":[12]}"#, ""),
            ("7", ""),
            (r#"["in San Francisco"]"#, ""),
            (r#"["San Francisco s3cret/key"]"#, r#"["*** ***"]"#),
        ];
        for (json, expected) in table {
            let expected = if expected.is_empty() { json } else { expected };
            assert_eq!(redactor.redact_json(json, &plain), expected);
        }
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
