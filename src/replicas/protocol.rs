//! What replicas write to each other, and what follows from reading it. Pure: no socket, no clock.
//!
//! Of a source there are two values in the store. The *lease* says who calls its providers now, or that somebody just
//! did; it expires by itself, so that nobody's death holds up the others. The *letter* is what is known of the source
//! (`letter.rs`). A *notice* on one channel tells that a lease was given back. All instants are on the store's clock.
//!
//! ```text
//! PREFIX:{IDENTITY}:lease    flying TOKEN START    expires after the attempt's timeout + 250 ms,
//!                                              or `min_interval` if that is longer
//!                            landed TOKEN START    expires when `min_interval` has passed since START
//! PREFIX:{IDENTITY}:letter   resumen/1 STAMP CHECKSUM {…}
//! PREFIX:replicas            sorted set: who was seen when
//! PREFIX:notices             channel: IDENTITY TOKEN landed|freed
//! ```

use std::time::Duration;

use crate::domain::{SourceIdentity, Time};

/// How much longer than the attempt itself a lease lasts: what starting and landing may take.
pub(super) const LEASE_MARGIN: Duration = Duration::from_millis(250);

/// How long a replica that says nothing counts as one.
pub const REPLICA_EXPIRY: Duration = Duration::from_secs(5);

/// The names of a fleet's keys.
#[derive(Debug, Clone)]
pub(super) struct StoreKeys {
    prefix: String,
}

/// A lease that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLease {
    /// Whether its holder calls the providers, or has and they are to rest.
    pub phase: LeasePhase,
    /// Whose it is: unique to one attempt.
    pub token: String,
    /// When the attempt began.
    pub started_at: Time,
}

/// What a lease says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasePhase {
    /// Its holder calls the providers.
    InFlight,
    /// Its holder has; `min_interval` has not passed yet.
    CoolingDown,
}

/// What is told to all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Of which source.
    pub identity: SourceIdentity,
    /// Whose attempt ended.
    pub token: String,
    /// Whether it left a letter; else the lease was given back without one.
    pub has_state: bool,
}

/// What to do with the answer to a wish for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitDecision {
    /// Somebody calls the providers: wait for the outcome, at most that long, then ask again.
    WaitForOutcome(Duration),
    /// Somebody just did: nobody may call them before that long.
    RestFor(Duration),
}

impl StoreKeys {
    /// The keys that begin with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// Where a source's lease is. What stands in braces makes both keys of a source live on one node of a cluster.
    pub(super) fn lease_key(&self, identity: SourceIdentity) -> String {
        format!("{}:{{{identity}}}:lease", self.prefix)
    }

    /// Where what is known of a source is.
    pub(super) fn state_key(&self, identity: SourceIdentity) -> String {
        format!("{}:{{{identity}}}:letter", self.prefix)
    }

    /// Who was seen when.
    pub(super) fn replicas_key(&self) -> String {
        format!("{}:replicas", self.prefix)
    }

    /// The channel of the notices.
    pub(super) fn notifications_channel(&self) -> String {
        format!("{}:notices", self.prefix)
    }
}

impl SourceLease {
    /// The lease that a text is, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let phase = match words.next()? {
            "flying" => LeasePhase::InFlight,
            "landed" => LeasePhase::CoolingDown,
            _ => return None,
        };
        let token = words.next().filter(|token| !token.is_empty())?.to_owned();
        let start = words
            .next()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
        let start = Time::from_millis(start.parse().ok()?);
        words.next().is_none().then_some(Self {
            phase,
            token,
            started_at: start,
        })
    }

    /// What follows for a replica that finds this lease held for `left` more. Its own `lease` and `min_interval` are the
    /// most that it believes: a value that says otherwise was not made by a sane replica.
    pub fn wait_decision(
        &self,
        left: Duration,
        lease: Duration,
        min_interval: Duration,
    ) -> WaitDecision {
        match self.phase {
            LeasePhase::InFlight => WaitDecision::WaitForOutcome(left.min(lease)),
            LeasePhase::CoolingDown => WaitDecision::RestFor(left.min(min_interval)),
        }
    }
}

impl Notification {
    /// The notice that a payload is, if it is one.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        let identity = SourceIdentity::from_text(words.next()?)?;
        let token = words.next().filter(|token| !token.is_empty())?.to_owned();
        let landed = match words.next()? {
            "landed" => true,
            "freed" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Self {
            identity,
            token,
            has_state: landed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn identity() -> SourceIdentity {
        SourceIdentity::from_text("0123456789abcdef0123456789abcdef").unwrap()
    }

    #[test]
    fn source_keys_share_a_hash_tag() {
        let keys = StoreKeys::new("fleet");
        assert_eq!(
            keys.lease_key(identity()),
            "fleet:{0123456789abcdef0123456789abcdef}:lease"
        );
        assert_eq!(
            keys.state_key(identity()),
            "fleet:{0123456789abcdef0123456789abcdef}:letter"
        );
        assert_eq!(
            [keys.replicas_key(), keys.notifications_channel()],
            ["fleet:replicas", "fleet:notices"]
        );
    }

    #[test]
    fn invalid_lease_is_rejected() {
        let lease = SourceLease {
            phase: LeasePhase::CoolingDown,
            token: "a-1".into(),
            started_at: Time::from_millis(17),
        };
        assert_eq!(SourceLease::parse("landed a-1 17"), Some(lease));
        for bad in [
            "",
            "landed",
            "landed a-1",
            "landed  17",
            "resting a-1 17",
            "landed a-1 x",
            "landed a-1 17 18",
        ] {
            assert_eq!(SourceLease::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn lease_wait_is_capped() {
        let lease = |phase| SourceLease {
            phase,
            token: "a-1".into(),
            started_at: Time::from_millis(17),
        };
        let step = |phase, left| lease(phase).wait_decision(left, SECOND * 4, SECOND);
        assert_eq!(
            step(LeasePhase::InFlight, SECOND),
            WaitDecision::WaitForOutcome(SECOND)
        );
        assert_eq!(
            step(LeasePhase::InFlight, SECOND * 90),
            WaitDecision::WaitForOutcome(SECOND * 4)
        );
        assert_eq!(
            step(LeasePhase::CoolingDown, SECOND / 2),
            WaitDecision::RestFor(SECOND / 2)
        );
        assert_eq!(
            step(LeasePhase::CoolingDown, SECOND * 90),
            WaitDecision::RestFor(SECOND)
        );
    }

    #[test]
    fn invalid_notification_is_rejected() {
        let text = format!("{} a-1 landed", identity());
        let notice = Notification {
            identity: identity(),
            token: "a-1".into(),
            has_state: true,
        };
        assert_eq!(Notification::parse(text.as_bytes()), Some(notice));
        let bad = [
            String::new(),
            text.replace("landed", "x"),
            format!("{text} y"),
            text.replace("0123", "zz"),
        ];
        for bad in bad {
            assert_eq!(Notification::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Notification::parse(&[0xff, 0xfe]), None);
    }
}
