//! Redis or Valkey as the store that replicas share.
//!
//! One connection carries commands, replies and notifications (RESP3 push messages). So notifications
//! arrive in the order in which Redis executed the commands, and one heartbeat checks both. The
//! connection is not reopened behind a session: a session whose connection failed is over, and
//! `ReplicaSync` opens the next one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::channel;

use crate::config::StoreSettings;
use crate::domain::Redactor;
use crate::process::Clock;

use super::protocol::{MAX_WAITING_NOTIFICATIONS, StoreKeys};
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
    /// Returns the store of settings that `config` has validated; its errors pass through `redactor`.
    /// `None` without a URL.
    pub fn new(settings: &StoreSettings, redactor: Redactor) -> Option<Self> {
        let url = settings.redis.as_deref()?;
        let ca_pem = settings.redis_ca_file.as_deref();
        Some(Self {
            endpoint: Arc::new(RedisEndpoint::new(url, ca_pem, redactor)?),
            keys: StoreKeys::new(&settings.redis_prefix),
            scripts: Arc::new(LuaScripts::new()),
        })
    }

    /// Returns by how many milliseconds the clock of the server is ahead of `clock`, from the
    /// fastest of several measurements.
    pub async fn measure_clock_offset(&self, clock: Clock) -> Result<i64, SharedStoreError> {
        let (notifications, _) = channel(1);
        let mut connection = self.endpoint.connect(notifications).await?;
        let mut fastest: Option<(Duration, i64)> = None;
        for _ in 0..CLOCK_SAMPLES {
            let before = clock.time_point();
            let command = redis::cmd("TIME");
            let query = command.query_async::<(i64, i64)>(&mut connection);
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
            let (sender, notifications) = channel(MAX_WAITING_NOTIFICATIONS);
            let mut connection = self.endpoint.connect(sender).await?;
            let channel = self.keys.notifications_channel();
            let subscribe = connection.subscribe(channel);
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
