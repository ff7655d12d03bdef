//! The operations over one connection.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use redis::{FromRedisValue, RedisError, ScriptInvocation, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::{Redactor, SourceIdentity, Time};

use super::codec::MAX_STORED_STATE_BYTES;
use super::protocol::{REPLICA_EXPIRY, SourceLease, StoreKeys};
use super::redis_address::RedisAddress;
use super::redis_scripts::LuaScripts;
use super::redis_store::{
    MAX_CONCURRENT_OPERATIONS, OPERATION_TIMEOUT, RedisConnection, map_redis_reply,
};
use super::shared_store::{
    AcquireRequest, AcquireResponse, HeartbeatReply, LeaseRelease, SharedSession, SharedStoreError,
    StoreFuture, StoredState,
};

/// A connection that has been greeted.
pub(crate) struct RedisSession {
    pub(crate) connection: RedisConnection,
    pub(crate) keys: StoreKeys,
    pub(crate) scripts: Arc<LuaScripts>,
    pub(crate) address: RedisAddress,
    pub(crate) redactor: Redactor,
    /// Few operations are under way at once: the others wait without a limit of their own, until one fails. A thousand
    /// sources due at once would otherwise use up each other's time.
    pub(crate) permits: Mutex<Arc<Semaphore>>,
}

impl RedisSession {
    async fn invoke_script<T: FromRedisValue>(
        &self,
        what: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, SharedStoreError> {
        let turns = Arc::clone(&self.lock_permits());
        let Ok(_turn) = turns.acquire().await else {
            return Err(self.operation_error(what, "the one before has failed"));
        };
        let mut connection = self.connection.multiplexed.clone();
        let asked = timeout(OPERATION_TIMEOUT, script.invoke_async(&mut connection)).await;
        let value = map_redis_reply(&self.address, &self.redactor, what, asked)
            .inspect_err(|_| self.close_permits())?;
        self.connection.read_budget.reset_budget();
        Ok(value)
    }

    fn lock_permits(&self) -> MutexGuard<'_, Arc<Semaphore>> {
        self.permits.lock()
    }

    /// Nobody goes on waiting for a turn.
    fn close_permits(&self) {
        std::mem::replace(
            &mut *self.lock_permits(),
            Arc::new(Semaphore::new(MAX_CONCURRENT_OPERATIONS)),
        )
        .close();
    }

    fn operation_error(&self, what: &str, why: &str) -> SharedStoreError {
        let message = format!("{what}: Redis at {}: {why}", self.address);
        SharedStoreError(self.redactor.redact(&message).into())
    }

    fn unexpected_reply_error(&self, what: &str) -> SharedStoreError {
        self.operation_error(what, "an answer that the script cannot give")
    }
}

impl SharedSession for RedisSession {
    fn acquire_lease<'s>(&'s self, wish: &'s AcquireRequest) -> StoreFuture<'s, AcquireResponse> {
        Box::pin(async move {
            let mut script = self.scripts.acquire_lease.prepare_invoke();
            script
                .key(self.keys.lease_key(wish.identity))
                .key(self.keys.state_key(wish.identity));
            script
                .arg(&wish.token)
                .arg(lease_millis(wish.lease_duration))
                .arg(wish.known_attempt.map_or(-1, Time::as_millis));
            script
                .arg(i32::from(wish.prefers_newer_state))
                .arg(MAX_STORED_STATE_BYTES);
            let answer: Vec<Value> = self.invoke_script("take a lease", &script).await?;
            parse_acquire_reply(answer).ok_or_else(|| self.unexpected_reply_error("take a lease"))
        })
    }

    fn publish_state<'s>(&'s self, landing: &'s LeaseRelease) -> StoreFuture<'s, bool> {
        Box::pin(async move {
            let mut script = self.scripts.publish_state.prepare_invoke();
            script
                .key(self.keys.lease_key(landing.identity))
                .key(self.keys.state_key(landing.identity));
            script
                .arg(&landing.token)
                .arg(landing.started_at.as_millis())
                .arg(lease_millis(landing.min_interval));
            script
                .arg(lease_millis(landing.state_ttl))
                .arg(self.keys.notifications_channel())
                .arg(landing.identity.to_string());
            script.arg(&landing.encoded_state[..]);
            self.invoke_script("share a reading", &script).await
        })
    }

    fn release_lease<'s>(
        &'s self,
        identity: SourceIdentity,
        token: &'s str,
    ) -> StoreFuture<'s, ()> {
        Box::pin(async move {
            let mut script = self.scripts.release_lease.prepare_invoke();
            script
                .key(self.keys.lease_key(identity))
                .arg(token)
                .arg(self.keys.notifications_channel())
                .arg(identity.to_string());
            self.invoke_script::<i64>("give a lease back", &script)
                .await
                .map(drop)
        })
    }

    fn read_states<'s>(
        &'s self,
        identities: &'s [SourceIdentity],
    ) -> StoreFuture<'s, Vec<Option<StoredState>>> {
        Box::pin(async move {
            let mut script = self.scripts.read_states.prepare_invoke();
            for identity in identities {
                script.key(self.keys.state_key(*identity));
            }
            script.arg(MAX_STORED_STATE_BYTES);
            let found: Vec<Value> = self.invoke_script("read what others told", &script).await?;
            Ok(found.into_iter().map(parse_stored_state).collect())
        })
    }

    fn send_heartbeat<'s>(&'s self, replica: &'s str) -> StoreFuture<'s, HeartbeatReply> {
        Box::pin(async move {
            let mut script = self.scripts.send_heartbeat.prepare_invoke();
            script
                .key(self.keys.replicas_key())
                .arg(replica)
                .arg(lease_millis(REPLICA_EXPIRY));
            let (seconds, micros, replicas): (i64, i64, u32) =
                self.invoke_script("give a sign of life", &script).await?;
            Ok(HeartbeatReply {
                store_time_us: seconds.saturating_mul(1_000_000).saturating_add(micros),
                live_replicas: replicas,
            })
        })
    }
}

fn parse_acquire_reply(answer: Vec<Value>) -> Option<AcquireResponse> {
    let mut answer = answer.into_iter();
    let kind: String = convert_value(answer.next()?)?;
    match kind.as_str() {
        "granted" => Some(AcquireResponse::Granted),
        "told" => Some(AcquireResponse::NewerState(parse_stored_state(
            answer.next()?,
        )?)),
        "held" => Some(AcquireResponse::Held {
            lease: SourceLease::parse(&convert_value::<String>(answer.next()?)?)?,
            remaining: Duration::from_millis(convert_value(answer.next()?)?),
            newer_state: answer.next().and_then(parse_stored_state),
        }),
        _ => None,
    }
}

fn parse_stored_state(value: Value) -> Option<StoredState> {
    match value {
        Value::BulkString(bytes) => Some(StoredState::Bytes(bytes)),
        Value::Int(size) => Some(StoredState::Oversize(size.unsigned_abs())),
        _ => None,
    }
}

fn convert_value<T: FromRedisValue>(value: Value) -> Option<T> {
    let read: Result<T, RedisError> = redis::from_redis_value(value).map_err(Into::into);
    read.ok()
}

fn lease_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
