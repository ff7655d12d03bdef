//! The protocol between replicas: keys, leases and notifications, and what follows from them. Pure:
//! no I/O, no clock.
//!
//! The store has two values per source. The *lease* tells that an attempt is in flight, or that one
//! has just ended; it expires, so that a replica that dies delays no other for long. The *state* is
//! the newest reading and failure (see `codec`). A notification on one channel tells that a lease was
//! released. All times are on the store's clock.
//!
//! ```text
//! PREFIX:{IDENTITY}:lease    flying TOKEN START    expires after the attempt's timeout + 250 ms,
//!                                              or `min_interval` if that is longer
//!                            landed TOKEN START    expires when `min_interval` has passed since START
//! PREFIX:{IDENTITY}:letter   resumen/1 START CHECKSUM {…}
//! PREFIX:replicas            sorted set: the latest heartbeat of each replica
//! PREFIX:notices             channel: IDENTITY TOKEN landed|freed
//! ```

use std::time::Duration;

use crate::domain::{SourceIdentity, Time};

/// How much longer than the timeout of its attempt a lease lasts: the time to start and to publish.
pub(super) const LEASE_MARGIN: Duration = Duration::from_millis(250);

/// Maximum length of the token of an attempt, in bytes.
const MAX_TOKEN_BYTES: usize = 64;

/// Maximum number of notifications that wait to be handled.
pub const MAX_WAITING_NOTIFICATIONS: usize = 4096;

/// How long a replica counts as alive after its latest heartbeat.
pub const REPLICA_EXPIRY: Duration = Duration::from_secs(5);

/// The keys in the store.
#[derive(Debug, Clone)]
pub(super) struct StoreKeys {
    prefix: String,
}

/// The lease of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLease {
    /// Whether the attempt is in flight.
    pub phase: LeasePhase,
    /// Identifies the attempt.
    pub token: String,
    /// When the attempt began.
    pub started_at: Time,
}

/// The phase of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasePhase {
    /// The attempt calls the providers.
    InFlight,
    /// The attempt has ended; `min_interval` has not passed yet.
    CoolingDown,
}

/// A notification to all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The source.
    pub identity: SourceIdentity,
    /// Identifies the attempt that ended.
    pub token: String,
    /// Whether the attempt published a state; else it only released the lease.
    pub has_state: bool,
}

/// What a replica does when another attempt holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitDecision {
    /// Wait for the outcome, at most this long, then request the lease again.
    WaitForOutcome(Duration),
    /// Start no attempt for this long.
    RestFor(Duration),
}

impl StoreKeys {
    /// Returns the keys that begin with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// Returns the key of a source's lease. The braces are a hash tag: both keys of a source belong
    /// to the same node of a Redis cluster.
    pub(super) fn lease_key(&self, identity: SourceIdentity) -> String {
        format!("{}:{{{identity}}}:lease", self.prefix)
    }

    /// Returns the key of a source's state.
    pub(super) fn state_key(&self, identity: SourceIdentity) -> String {
        format!("{}:{{{identity}}}:letter", self.prefix)
    }

    /// Returns the key of the heartbeats.
    pub(super) fn replicas_key(&self) -> String {
        format!("{}:replicas", self.prefix)
    }

    /// Returns the channel of the notifications.
    pub(super) fn notifications_channel(&self) -> String {
        format!("{}:notices", self.prefix)
    }
}

impl SourceLease {
    /// Parses the value of a lease key. `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let phase = match words.next()? {
            "flying" => LeasePhase::InFlight,
            "landed" => LeasePhase::CoolingDown,
            _ => return None,
        };
        let token = parse_token(words.next()?)?;
        let started_at = words
            .next()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
        let started_at = Time::from_millis(started_at.parse().ok()?);
        words.next().is_none().then_some(Self {
            phase,
            token,
            started_at,
        })
    }

    /// Returns what to do while this lease is held for `remaining`. The wait is limited to the
    /// replica's own `lease_duration` and `min_interval`: the value may be wrong.
    pub fn wait_decision(
        &self,
        remaining: Duration,
        lease_duration: Duration,
        min_interval: Duration,
    ) -> WaitDecision {
        match self.phase {
            LeasePhase::InFlight => WaitDecision::WaitForOutcome(remaining.min(lease_duration)),
            LeasePhase::CoolingDown => WaitDecision::RestFor(remaining.min(min_interval)),
        }
    }
}

impl Notification {
    /// Parses the payload of a message. `None` if it has another form.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        let identity = SourceIdentity::from_text(words.next()?)?;
        let token = parse_token(words.next()?)?;
        let has_state = match words.next()? {
            "landed" => true,
            "freed" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Self {
            identity,
            token,
            has_state,
        })
    }
}

fn parse_token(text: &str) -> Option<String> {
    (1..=MAX_TOKEN_BYTES)
        .contains(&text.len())
        .then(|| text.to_owned())
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
        let keys = StoreKeys::new("prefix");
        assert_eq!(
            keys.lease_key(identity()),
            "prefix:{0123456789abcdef0123456789abcdef}:lease"
        );
        assert_eq!(
            keys.state_key(identity()),
            "prefix:{0123456789abcdef0123456789abcdef}:letter"
        );
        assert_eq!(
            [keys.replicas_key(), keys.notifications_channel()],
            ["prefix:replicas", "prefix:notices"]
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
        for text in [
            "",
            "landed",
            "landed a-1",
            "landed  17",
            "resting a-1 17",
            "landed a-1 x",
            "landed a-1 17 18",
            &format!("landed {} 17", "a".repeat(MAX_TOKEN_BYTES + 1)),
        ] {
            assert_eq!(SourceLease::parse(text), None, "{text}");
        }
    }

    #[test]
    fn lease_wait_is_capped() {
        let lease = |phase| SourceLease {
            phase,
            token: "a-1".into(),
            started_at: Time::from_millis(17),
        };
        let decide = |phase, remaining| lease(phase).wait_decision(remaining, SECOND * 4, SECOND);
        assert_eq!(
            decide(LeasePhase::InFlight, SECOND),
            WaitDecision::WaitForOutcome(SECOND)
        );
        assert_eq!(
            decide(LeasePhase::InFlight, SECOND * 90),
            WaitDecision::WaitForOutcome(SECOND * 4)
        );
        assert_eq!(
            decide(LeasePhase::CoolingDown, SECOND / 2),
            WaitDecision::RestFor(SECOND / 2)
        );
        assert_eq!(
            decide(LeasePhase::CoolingDown, SECOND * 90),
            WaitDecision::RestFor(SECOND)
        );
    }

    #[test]
    fn invalid_notification_is_rejected() {
        let text = format!("{} a-1 landed", identity());
        let notification = Notification {
            identity: identity(),
            token: "a-1".into(),
            has_state: true,
        };
        assert_eq!(Notification::parse(text.as_bytes()), Some(notification));
        let malformed = [
            String::new(),
            text.replace("landed", "x"),
            format!("{text} y"),
            text.replace("0123", "zz"),
            text.replace("a-1", &"a".repeat(MAX_TOKEN_BYTES + 1)),
        ];
        for payload in malformed {
            assert_eq!(Notification::parse(payload.as_bytes()), None, "{payload}");
        }
        assert_eq!(Notification::parse(&[0xff, 0xfe]), None);
    }
}
