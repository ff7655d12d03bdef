//! Redis, or Valkey, as the store that replicas share. The only place that names the `redis` crate.
//!
//! One connection carries everything: the scripts and their answers, and what is told to all replicas (RESP3 pushes).
//! So notices come in the order in which Redis did things, and one sign of life proves the whole. There is no manager
//! that reconnects behind our back: a session that failed once is over, and whoever opened it opens another.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, RedisConnectionInfo, RedisError};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::Redactor;
use crate::process::Clock;
use crate::text::format_duration;

use super::protocol::{Notification, StoreKeys};
use super::shared_store::{OpenedSession, SharedStore, SharedStoreError, StoreFuture};

use super::redis_address::{self, RedisAddress};
use super::redis_connection::{ReadBudget, RedisStream};
use super::redis_scripts::LuaScripts;
use super::redis_session::RedisSession;

/// The most that any call of Redis may take.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_millis(200);

/// How many operations are under way at once at most.
pub(super) const MAX_CONCURRENT_OPERATIONS: usize = 32;

/// How often a clock is compared.
const CLOCK_SAMPLES: usize = 4;

/// The most characters of what Redis says that stand in a message.
const MAX_QUOTED_CHARS: usize = 120;

/// A Redis that may be there or not.
pub struct RedisStore {
    address: RedisAddress,
    connection_info: RedisConnectionInfo,
    keys: StoreKeys,
    scripts: Arc<LuaScripts>,
    redactor: Redactor,
}

/// A connection, the task that drives it, and what may still come over it.
pub(super) struct RedisConnection {
    pub(super) multiplexed: MultiplexedConnection,
    pub(super) read_budget: ReadBudget,
    _driver: AbortOnDropHandle<()>,
}

impl RedisStore {
    /// The Redis at a URL that the configuration has checked; keys begin with `prefix`, messages pass through `redactor`.
    pub fn new(url: &str, prefix: &str, redactor: Redactor) -> Option<Self> {
        let (address, info) = redis_address::parse_redis_url(url)?;
        Some(Self {
            address,
            connection_info: info,
            keys: StoreKeys::new(prefix),
            scripts: Arc::new(LuaScripts::new()),
            redactor,
        })
    }

    /// By how many milliseconds its clock is ahead of this one: of a few measurements, the one that took least.
    pub async fn measure_clock_offset(&self, clock: Clock) -> Result<i64, SharedStoreError> {
        let (notices, _) = unbounded_channel();
        let mut line = self.connect(notices).await?;
        let mut best: Option<(Duration, i64)> = None;
        for _ in 0..CLOCK_SAMPLES {
            let before = clock.time_point();
            let time = redis::cmd("TIME");
            let asked = timeout(
                OPERATION_TIMEOUT,
                time.query_async::<(i64, i64)>(&mut line.multiplexed),
            )
            .await;
            let (seconds, micros) = self.check_reply("tell the time", asked)?;
            let took = clock.elapsed_since(before);
            let middle = before.time.plus(took / 2).as_millis();
            let ahead = seconds
                .saturating_mul(1000)
                .saturating_add(micros / 1000)
                .saturating_sub(middle);
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, ahead));
            }
        }
        Ok(best.map_or(0, |(_, ahead)| ahead))
    }

    /// Connects and says who we are.
    async fn connect(
        &self,
        notices: UnboundedSender<Notification>,
    ) -> Result<RedisConnection, SharedStoreError> {
        let linked = timeout(OPERATION_TIMEOUT, RedisStream::connect(&self.address)).await;
        let linked = linked.map(|linked| linked.map_err(RedisError::from));
        let (link, allowance) = self.check_reply("connect", linked)?;
        // Nothing is kept of what cannot be a notice.
        let hear = move |push: PushInfo| {
            let notice = redis::Msg::from_push_info(push)
                .and_then(|message| Notification::parse(message.get_payload_bytes()));
            notice.map_or(Ok(()), |notice| notices.send(notice))
        };
        let config = AsyncConnectionConfig::new()
            .set_push_sender(hear)
            .set_response_timeout(None);
        let shaken = timeout(
            OPERATION_TIMEOUT,
            MultiplexedConnection::new_with_config(&self.connection_info, link, config),
        )
        .await;
        let (connection, driver) = self.check_reply("greet", shaken)?;
        let driver = AbortOnDropHandle::new(tokio::runtime::Handle::current().spawn(driver));
        Ok(RedisConnection {
            multiplexed: connection,
            read_budget: allowance,
            _driver: driver,
        })
    }

    /// Connects, listens to what is told to all replicas, and proves that it can be written to.
    async fn open_subscribed(&self) -> Result<OpenedSession, SharedStoreError> {
        let (sender, notices) = unbounded_channel();
        let mut line = self.connect(sender).await?;
        let subscribed = timeout(
            OPERATION_TIMEOUT,
            line.multiplexed
                .subscribe(self.keys.notifications_channel()),
        )
        .await;
        self.check_reply("subscribe", subscribed)?;
        let session = RedisSession {
            connection: line,
            keys: self.keys.clone(),
            scripts: Arc::clone(&self.scripts),
            address: self.address.clone(),
            redactor: self.redactor.clone(),
            permits: Mutex::new(Arc::new(Semaphore::new(MAX_CONCURRENT_OPERATIONS))),
        };
        Ok(OpenedSession {
            session: Arc::new(session),
            notifications: notices,
        })
    }

    fn check_reply<T>(
        &self,
        what: &str,
        result: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, SharedStoreError> {
        map_redis_reply(&self.address, &self.redactor, what, result)
    }
}

impl SharedStore for RedisStore {
    fn open_session(&self) -> StoreFuture<'_, OpenedSession> {
        Box::pin(self.open_subscribed())
    }
}

/// What became of a call of Redis, as people read it.
pub(super) fn map_redis_reply<T>(
    address: &RedisAddress,
    redactor: &Redactor,
    what: &str,
    result: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
) -> Result<T, SharedStoreError> {
    let why = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => quote_message(&error.to_string()),
        Err(_) => format!("no answer within {}", format_duration(OPERATION_TIMEOUT)),
    };
    let message = format!("{what}: Redis at {address}: {why}");
    Err(SharedStoreError(redactor.redact(&message).into()))
}

/// The beginning of what somebody else says, made harmless.
fn quote_message(foreign: &str) -> String {
    let short: String = foreign.chars().take(MAX_QUOTED_CHARS).collect();
    let dots = if foreign.chars().nth(MAX_QUOTED_CHARS).is_some() {
        "…"
    } else {
        ""
    };
    format!("{}{dots}", short.escape_debug())
}
