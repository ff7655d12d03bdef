//! The operations of a session: one Lua script each.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, ScriptInvocation, Value};
use tokio::sync::Semaphore;

use crate::domain::{SourceIdentity, Time};

use super::codec::MAX_STORED_STATE_BYTES;
use super::protocol::{REPLICA_EXPIRY, SourceLease, StoreKeys};
use super::redis_connection::RedisEndpoint;
use super::redis_scripts::LuaScripts;
use super::shared_store::{
    AcquireRequest, AcquireResponse, HeartbeatReply, LeaseRelease, SharedSession, SharedStoreError,
    StoreFuture, StoredState,
};

/// Maximum number of operations in progress.
const MAX_CONCURRENT_OPERATIONS: usize = 32;

/// How many bytes of states a reply has before its last state. Without a limit a batch of large states
/// would exceed what a connection may receive, at every attempt to connect.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// An authenticated connection.
pub(super) struct RedisSession {
    connection: MultiplexedConnection,
    keys: StoreKeys,
    scripts: Arc<LuaScripts>,
    endpoint: Arc<RedisEndpoint>,
    /// Limits the operations in progress: a thousand concurrent ones would exceed each other's time
    /// limits. Waiting for a permit has no time limit; after a failed operation it fails.
    permits: Mutex<Arc<Semaphore>>,
}

impl RedisSession {
    pub(super) fn new(
        connection: MultiplexedConnection,
        keys: StoreKeys,
        scripts: Arc<LuaScripts>,
        endpoint: Arc<RedisEndpoint>,
    ) -> Self {
        Self {
            connection,
            keys,
            scripts,
            endpoint,
            permits: Mutex::new(Arc::new(Semaphore::new(MAX_CONCURRENT_OPERATIONS))),
        }
    }

    async fn invoke_script<T: FromRedisValue>(
        &self,
        operation: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, SharedStoreError> {
        let permits = Arc::clone(&self.permits.lock());
        let Ok(_permit) = permits.acquire().await else {
            return Err(self
                .endpoint
                .error(operation, "an earlier operation has failed"));
        };
        let mut connection = self.connection.clone();
        self.endpoint
            .run(operation, script.invoke_async(&mut connection))
            .await
            .inspect_err(|_| self.fail_waiting_operations())
    }

    /// Fails the operations that wait for a permit. Later ones start with new permits: the session
    /// may be used again if its connection still works.
    fn fail_waiting_operations(&self) {
        let new = Arc::new(Semaphore::new(MAX_CONCURRENT_OPERATIONS));
        std::mem::replace(&mut *self.permits.lock(), new).close();
    }
}

impl SharedSession for RedisSession {
    fn acquire_lease<'s>(
        &'s self,
        request: &'s AcquireRequest,
    ) -> StoreFuture<'s, AcquireResponse> {
        Box::pin(async move {
            let operation = "acquire a lease";
            let mut script = self.scripts.acquire_lease.prepare_invoke();
            script
                .key(self.keys.lease_key(request.identity))
                .key(self.keys.state_key(request.identity));
            script
                .arg(&request.token)
                .arg(as_millis(request.lease_duration))
                .arg(request.known_attempt.map_or(-1, Time::as_millis));
            script
                .arg(i32::from(request.prefers_newer_state))
                .arg(MAX_STORED_STATE_BYTES);
            let reply: Vec<Value> = self.invoke_script(operation, &script).await?;
            parse_acquire_reply(reply).ok_or_else(|| {
                self.endpoint
                    .error(operation, "a reply that the script cannot give")
            })
        })
    }

    fn publish_state<'s>(&'s self, release: &'s LeaseRelease) -> StoreFuture<'s, bool> {
        Box::pin(async move {
            let mut script = self.scripts.publish_state.prepare_invoke();
            script
                .key(self.keys.lease_key(release.identity))
                .key(self.keys.state_key(release.identity));
            script
                .arg(&release.token)
                .arg(release.started_at.as_millis())
                .arg(as_millis(release.min_interval));
            script
                .arg(as_millis(release.state_ttl))
                .arg(self.keys.notifications_channel())
                .arg(release.identity.to_string());
            script.arg(&release.encoded_state[..]);
            self.invoke_script("publish a state", &script).await
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
            self.invoke_script::<i64>("release a lease", &script)
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
            script.arg(MAX_STORED_STATE_BYTES).arg(MAX_REPLY_BYTES);
            let values: Vec<Value> = self.invoke_script("read states", &script).await?;
            Ok(values.into_iter().map(parse_stored_state).collect())
        })
    }

    fn send_heartbeat<'s>(&'s self, replica: &'s str) -> StoreFuture<'s, HeartbeatReply> {
        Box::pin(async move {
            let mut script = self.scripts.send_heartbeat.prepare_invoke();
            script
                .key(self.keys.replicas_key())
                .arg(replica)
                .arg(as_millis(REPLICA_EXPIRY));
            let (seconds, micros, live_replicas): (i64, i64, u32) =
                self.invoke_script("send a heartbeat", &script).await?;
            Ok(HeartbeatReply {
                store_time_us: seconds.saturating_mul(1_000_000).saturating_add(micros),
                live_replicas,
            })
        })
    }
}

fn parse_acquire_reply(reply: Vec<Value>) -> Option<AcquireResponse> {
    let mut values = reply.into_iter();
    let kind: String = convert_value(values.next()?)?;
    match kind.as_str() {
        "granted" => Some(AcquireResponse::Granted),
        "newer" => {
            let state = parse_stored_state(values.next()?)?;
            Some(AcquireResponse::NewerState(state))
        }
        "held" => Some(AcquireResponse::Held {
            lease: SourceLease::parse(&convert_value::<String>(values.next()?)?)?,
            remaining: Duration::from_millis(convert_value(values.next()?)?),
            newer_state: values.next().and_then(parse_stored_state),
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
    let converted: Result<T, RedisError> = redis::from_redis_value(value).map_err(Into::into);
    converted.ok()
}

/// Returns whole milliseconds, at least 1: Redis refuses an expiry of 0.
fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
