//! Who may request what: the tokens of `[server.tokens]` and the groups of routes that they grant.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A group of routes that a token may grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AccessGroup {
    /// The answers from the snapshot.
    Data,
    /// Live answers: `fresh` and `max_age`.
    Live,
    /// The event stream.
    Stream,
    /// The panel, and what its page requests.
    Panel,
    /// Metrics, the health of the sources and the `OpenAPI` document.
    Admin,
}

/// Who gets live answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LiveAccess {
    /// Everyone; with any token set, those whose token grants [`AccessGroup::Live`].
    On,
    /// Nobody.
    Off,
    /// Those whose token grants [`AccessGroup::Live`].
    Token,
}

/// A token of `[server.tokens]`. Its text is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessToken {
    /// `NAME` of `[server.tokens.NAME]`.
    pub name: String,
    /// Digest of the token.
    pub digest: TokenDigest,
    /// What it grants; not empty.
    pub groups: Vec<AccessGroup>,
}

/// SHA-256 of a token. Digests are compared in constant time, and do not tell the length of a
/// token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TokenDigest([u8; 32]);

impl AccessGroup {
    /// Every group.
    pub const ALL: &'static [Self] = &[
        Self::Data,
        Self::Live,
        Self::Stream,
        Self::Panel,
        Self::Admin,
    ];

    /// Returns the name in `routes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Live => "live",
            Self::Stream => "stream",
            Self::Panel => "panel",
            Self::Admin => "admin",
        }
    }
}

impl AccessToken {
    /// Whether the token grants one of `groups`.
    pub fn grants_any(&self, groups: &[AccessGroup]) -> bool {
        self.groups.iter().any(|group| groups.contains(group))
    }
}

impl TokenDigest {
    /// Returns the digest of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Returns the token with this digest. Takes the same time for every digest: it compares all
    /// tokens to the end.
    pub fn find_token(self, tokens: &[Arc<AccessToken>]) -> Option<&Arc<AccessToken>> {
        let mut found = None;
        for token in tokens {
            let is_equal: Choice = self.0.ct_eq(&token.digest.0);
            if is_equal.into() {
                found = Some(token);
            }
        }
        found
    }
}
