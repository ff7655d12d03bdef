//! The coordinator of flights: acquires the lease of a source before an attempt, publishes the state
//! and releases the lease after it.
//!
//! If the shared store is unreachable, the attempt proceeds without a lease.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::sleep_until;
use tracing::{debug, warn};

use crate::aggregate::{
    CoordinatorFuture, LeaseDecision, LeaseHandle, LeaseReply, LeaseRequest, RemoteAttempt,
    ReplicaCoordinator,
};
use crate::domain::{Schedule, Source, SourceRecord, Time};

use super::codec::encode_stored_state;
use super::protocol::{LEASE_MARGIN, WaitDecision};
use super::replica::LocalReplica;
use super::shared_store::{AcquireRequest, AcquireResponse, LeaseRelease};

/// Time between the end of another attempt's lease and the next request.
const LEASE_RETRY_MARGIN: Duration = Duration::from_millis(2);

impl ReplicaCoordinator for LocalReplica {
    fn independent_replicas(&self) -> u32 {
        self.count_independent_replicas()
    }

    fn request_lease<'c>(&'c self, request: LeaseRequest<'c>) -> CoordinatorFuture<'c, LeaseReply> {
        Box::pin(self.acquire_lease(request))
    }

    fn wait_for_outcome<'c>(
        &'c self,
        attempt: &'c RemoteAttempt,
    ) -> CoordinatorFuture<'c, Option<Time>> {
        Box::pin(async move {
            tokio::select! {
                () = attempt.next_end.cancelled() => {}
                () = sleep_until(attempt.lease_end) => {}
                // No notification arrives any more, and the schedule counts with independent
                // replicas.
                () = self.wait_until_standalone() => {}
            }
            self.notifier
                .outcome_start(attempt.identity, &attempt.token)
        })
    }

    fn publish_and_release<'c>(
        &'c self,
        lease: Option<LeaseHandle>,
        record: SourceRecord,
        source: &'c Source,
    ) -> CoordinatorFuture<'c, ()> {
        Box::pin(self.publish_state(lease, record, source))
    }

    fn release_lease(&self, lease: LeaseHandle) -> CoordinatorFuture<'_, ()> {
        Box::pin(async move {
            let Some(session) = self.wait_for_session().await else {
                return;
            };
            if let Err(error) = session.release_lease(lease.identity, &lease.token).await {
                self.disconnect(Some(&session), &error);
            }
        })
    }
}

impl LocalReplica {
    async fn acquire_lease(&self, request: LeaseRequest<'_>) -> LeaseReply {
        let (identity, schedule) = (request.identity, request.schedule);
        // Subscribed before the request, so that the end of the attempt that holds the lease is not
        // missed.
        let next_end = self.notifier.subscribe(identity);
        let Some(session) = self.wait_for_session().await else {
            return LeaseReply {
                decision: LeaseDecision::Proceed(None),
                newer_state: None,
            };
        };
        let mut acquire = AcquireRequest {
            identity,
            token: self.create_token(),
            lease_duration: lease_duration(&schedule),
            known_attempt: request.newest_attempt.map(|at| self.to_store_time(at)),
            prefers_newer_state: !request.is_urgent.load(Relaxed),
        };
        let mut response = session.acquire_lease(&acquire).await;
        let mut newer_state = None;
        if let Ok(AcquireResponse::NewerState(state)) = &response {
            newer_state = self.decode_state(identity, state);
            if newer_state.is_none() {
                // An unreadable state replaces no attempt.
                acquire.prefers_newer_state = false;
                response = session.acquire_lease(&acquire).await;
            }
        }
        let handle = |token, is_confirmed| LeaseHandle {
            identity,
            token,
            is_confirmed,
        };
        let decision = match response {
            Err(error) => {
                // The store may have granted the lease although its reply is lost.
                self.disconnect(Some(&session), &error);
                LeaseDecision::Proceed(Some(handle(acquire.token, false)))
            }
            Ok(AcquireResponse::Granted) => {
                self.leases_acquired.fetch_add(1, Relaxed);
                LeaseDecision::Proceed(Some(handle(acquire.token, true)))
            }
            // For a live request that has joined since, an outcome from before it is not enough.
            Ok(AcquireResponse::NewerState(_))
                if newer_state.is_none() || request.is_urgent.load(Relaxed) =>
            {
                LeaseDecision::Retry
            }
            Ok(AcquireResponse::NewerState(_)) => LeaseDecision::Superseded,
            Ok(AcquireResponse::Held {
                lease,
                remaining,
                newer_state: state,
            }) => {
                newer_state = state.and_then(|state| self.decode_state(identity, &state));
                let min_interval = schedule.min_interval;
                match lease.wait_decision(remaining, acquire.lease_duration, min_interval) {
                    WaitDecision::WaitForOutcome(wait) => LeaseDecision::Wait(RemoteAttempt {
                        identity,
                        token: lease.token,
                        lease_end: self.clock.deadline(wait + LEASE_RETRY_MARGIN).at,
                        next_end,
                    }),
                    WaitDecision::RestFor(rest) => {
                        LeaseDecision::HoldBack(self.clock.now().plus(rest + LEASE_RETRY_MARGIN))
                    }
                }
            }
        };
        LeaseReply {
            decision,
            newer_state,
        }
    }

    async fn publish_state(
        &self,
        lease: Option<LeaseHandle>,
        record: SourceRecord,
        source: &Source,
    ) {
        let Some(session) = self.wait_for_session().await else {
            return;
        };
        let Some(release) = self.build_release(lease.as_ref(), record, source) else {
            return;
        };
        match session.publish_state(&release).await {
            Ok(was_held) => {
                // An unconfirmed lease was perhaps never held.
                if lease.is_some_and(|lease| lease.is_confirmed) && !was_held {
                    self.leases_lost.fetch_add(1, Relaxed);
                    debug!(identity = %release.identity, "lease expired before its attempt ended");
                }
            }
            Err(error) => self.disconnect(Some(&session), &error),
        }
    }

    /// Returns `None` for a source without an attempt, and for a derived one.
    fn build_release(
        &self,
        lease: Option<&LeaseHandle>,
        record: SourceRecord,
        source: &Source,
    ) -> Option<LeaseRelease> {
        let record = self.to_store_times(record);
        let extra_ttl = record.reading.as_ref().map(|reading| reading.extra_ttl);
        // Without a state the release still starts the cooldown of `min_interval`.
        let encoded_state = encode_stored_state(&record).unwrap_or_default();
        let release = LeaseRelease {
            identity: record.identity,
            token: lease.map_or_else(|| self.create_token(), |lease| lease.token.clone()),
            started_at: record.history.last_attempt?,
            encoded_state,
            min_interval: source.schedule()?.min_interval,
            state_ttl: source
                .freshness_policy
                .ttl
                .saturating_add(source.freshness_policy.max_stale)
                .saturating_add(extra_ttl.unwrap_or_default()),
        };
        if release.encoded_state.is_empty() {
            warn!(
                source = source.name.as_str(),
                "state too large to be shared with other replicas"
            );
        }
        Some(release)
    }
}

/// Returns how long a lease lasts: not shorter than `min_interval`, which so holds even if the
/// replica dies in flight.
fn lease_duration(schedule: &Schedule) -> Duration {
    (schedule.timeout + LEASE_MARGIN).max(schedule.min_interval)
}
