//! Leave to call a source's providers: from the fleet if it can be asked, else from nobody.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout_at;

use super::protocol::{LEASE_MARGIN, SourceLease, WaitDecision};
use super::shared_store::{AcquireRequest, AcquireResponse, StoredState};
use crate::domain::{Schedule, SourceIdentity, SourceRecord, Time};

use super::replica::LocalReplica;

/// How much later than a lease ends it is asked for again.
const LEASE_RETRY_MARGIN: Duration = Duration::from_millis(2);

/// How often one attempt asks for a lease at most before it flies without.
const MAX_LEASE_REQUESTS: u32 = 16;

/// An attempt that wants to call the providers.
pub struct LeaseContext<'p> {
    /// Of which source.
    pub identity: SourceIdentity,
    /// Its pace.
    pub schedule: Schedule,
    /// When the newest attempt of this run that is known here began; a scheduled one is moot if there is a newer one.
    pub newest_attempt: Option<Time>,
    /// Whether a live request waits for it: then an outcome from before does not do.
    pub is_urgent: &'p AtomicBool,
    /// Takes in what others know.
    pub publish_remote: &'p (dyn Fn(SourceRecord) + Send + Sync),
}

/// What a fleet answers.
pub enum LeaseDecision {
    /// Call them; with this lease, if the fleet was asked.
    Proceed(Option<LeaseHandle>),
    /// Another replica has; what it brought has been taken in. If it was awaited: when that attempt began.
    Superseded(Option<Time>),
    /// Nobody may call them before.
    HoldBack(Time),
}

/// A lease that this replica holds, or may hold.
#[derive(Debug)]
pub struct LeaseHandle {
    /// Of which source.
    pub(crate) identity: SourceIdentity,
    /// Of which attempt.
    pub(crate) token: String,
    /// Whether the store said so; else it may have, and the answer was lost.
    pub(crate) is_confirmed: bool,
}

/// What became of one wish for a lease.
enum AcquireStep {
    Decided(LeaseDecision),
    Wait(SourceLease, Duration),
    Retry,
}

impl LocalReplica {
    /// Asks for leave. Waits while another replica calls the providers, until its outcome is here or its lease ends.
    pub async fn acquire_lease(&self, passage: &LeaseContext<'_>) -> LeaseDecision {
        let mut yields = true;
        for _ in 0..MAX_LEASE_REQUESTS {
            // Before the lease is asked for, so that no outcome goes by unheard.
            let bell = self.notifier.subscribe(passage.identity);
            match self.request_lease(passage, &mut yields).await {
                AcquireStep::Decided(boarding) => return boarding,
                AcquireStep::Retry => {}
                AcquireStep::Wait(lease, left) => {
                    let until = self.clock.deadline(left + LEASE_RETRY_MARGIN).at;
                    let _ = timeout_at(until, bell.cancelled()).await;
                    if let Some(at) = self.notifier.outcome_start(passage.identity, &lease.token) {
                        return LeaseDecision::Superseded(Some(at));
                    }
                }
            }
        }
        LeaseDecision::Proceed(None)
    }

    async fn request_lease(&self, passage: &LeaseContext<'_>, yields: &mut bool) -> AcquireStep {
        let Some(session) = self.wait_for_session().await else {
            return AcquireStep::Decided(LeaseDecision::Proceed(None));
        };
        // No shorter than the least interval: that holds too if this replica dies in flight.
        let span = (passage.schedule.timeout + LEASE_MARGIN).max(passage.schedule.min_interval);
        let wish = AcquireRequest {
            identity: passage.identity,
            token: self.create_token(),
            lease_duration: span,
            known_attempt: passage
                .newest_attempt
                .map(|known| self.to_store_time(known)),
            prefers_newer_state: *yields && !passage.is_urgent.load(Relaxed),
        };
        match session.acquire_lease(&wish).await {
            Err(error) => {
                self.disconnect(Some(&session), &error);
                let ticket = LeaseHandle {
                    identity: wish.identity,
                    token: wish.token,
                    is_confirmed: false,
                };
                AcquireStep::Decided(LeaseDecision::Proceed(Some(ticket)))
            }
            Ok(AcquireResponse::Granted) => {
                self.leases_acquired.fetch_add(1, Relaxed);
                AcquireStep::Decided(LeaseDecision::Proceed(Some(LeaseHandle {
                    identity: wish.identity,
                    token: wish.token,
                    is_confirmed: true,
                })))
            }
            Ok(AcquireResponse::NewerState(letter)) => {
                *yields = self.publish_stored_state(passage, &letter);
                if *yields && !passage.is_urgent.load(Relaxed) {
                    AcquireStep::Decided(LeaseDecision::Superseded(None))
                } else {
                    AcquireStep::Retry
                }
            }
            Ok(AcquireResponse::Held {
                lease,
                remaining: left,
                newer_state: letter,
            }) => {
                if let Some(letter) = letter {
                    self.publish_stored_state(passage, &letter);
                }
                match lease.wait_decision(left, span, passage.schedule.min_interval) {
                    WaitDecision::RestFor(left) => AcquireStep::Decided(LeaseDecision::HoldBack(
                        self.clock.now().plus(left + LEASE_RETRY_MARGIN),
                    )),
                    WaitDecision::WaitForOutcome(left) => AcquireStep::Wait(lease, left),
                }
            }
        }
    }

    /// True if it could be read.
    fn publish_stored_state(&self, passage: &LeaseContext<'_>, letter: &StoredState) -> bool {
        let saved = self.decode_state(passage.identity, letter);
        let read = saved.is_some();
        saved.into_iter().for_each(passage.publish_remote);
        read
    }
}
