//! Redis or Valkey as the store that replicas share.
//!
//! One connection carries commands, replies and notifications (RESP3 push messages). So notifications
//! arrive in the order in which Redis executed the commands, and one heartbeat checks both. The
//! connection is not reopened behind a session: a session whose connection failed is over, and
//! `ReplicaSync` opens the next one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use crate::domain::Redactor;
use crate::process::Clock;

use super::protocol::StoreKeys;
use super::redis_connection::RedisEndpoint;
use super::redis_scripts::LuaScripts;
use super::redis_session::RedisSession;
use super::shared_store::{OpenedSession, SharedStore, SharedStoreError, StoreFuture};

/// Number of measurements of the clock offset.
const CLOCK_SAMPLES: usize = 4;

/// A Redis server that may be unreachable.
pub struct RedisStore {
    endpoint: Arc<RedisEndpoint>,
    keys: StoreKeys,
    scripts: Arc<LuaScripts>,
}

impl RedisStore {
    /// Returns the store at a URL that `config` has validated; its keys begin with `prefix`, its
    /// errors pass through `redactor`. `None` if the URL is invalid nevertheless.
    pub fn new(url: &str, prefix: &str, redactor: Redactor) -> Option<Self> {
        Some(Self {
            endpoint: Arc::new(RedisEndpoint::new(url, redactor)?),
            keys: StoreKeys::new(prefix),
            scripts: Arc::new(LuaScripts::new()),
        })
    }

    /// Returns by how many milliseconds the clock of the server is ahead of `clock`, from the
    /// fastest of several measurements.
    pub async fn measure_clock_offset(&self, clock: Clock) -> Result<i64, SharedStoreError> {
        let (notifications, _) = unbounded_channel();
        let mut connection = self.endpoint.connect(notifications).await?;
        let mut fastest: Option<(Duration, i64)> = None;
        for _ in 0..CLOCK_SAMPLES {
            let before = clock.time_point();
            let command = redis::cmd("TIME");
            let query = command.query_async::<(i64, i64)>(&mut connection.multiplexed);
            let (seconds, micros) = self.endpoint.run("read the time", query).await?;
            let duration = clock.elapsed_since(before);
            // The server read its clock at about half of the round trip.
            let middle = before.time.plus(duration / 2).as_millis();
            let offset_ms = seconds
                .saturating_mul(1000)
                .saturating_add(micros / 1000)
                .saturating_sub(middle);
            if fastest.is_none_or(|(least, _)| duration < least) {
                fastest = Some((duration, offset_ms));
            }
        }
        Ok(fastest.map_or(0, |(_, offset_ms)| offset_ms))
    }
}

impl SharedStore for RedisStore {
    fn open_session(&self) -> StoreFuture<'_, OpenedSession> {
        Box::pin(async {
            let (sender, notifications) = unbounded_channel();
            let mut connection = self.endpoint.connect(sender).await?;
            let channel = self.keys.notifications_channel();
            let subscribe = connection.multiplexed.subscribe(channel);
            self.endpoint.run("subscribe", subscribe).await?;
            // Subscribed before the first command, so that no notification is missed.
            let session = RedisSession::new(
                connection,
                self.keys.clone(),
                Arc::clone(&self.scripts),
                Arc::clone(&self.endpoint),
            );
            Ok(OpenedSession {
                session: Arc::new(session),
                notifications,
            })
        })
    }
}
