//! One connection to Redis: replies to commands, and messages of the subscribed channel.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, RedisConnectionInfo, RedisError};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::Redactor;
use crate::text::{UnitStyle, escape_bounded, format_duration};

use super::protocol::Notification;
use super::redis_address::{self, RedisAddress};
use super::redis_stream::{ReadBudget, RedisStream};
use super::shared_store::SharedStoreError;

/// Time limit of one operation.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(200);

/// Maximum number of characters of a Redis error in a message.
const MAX_QUOTED_CHARS: usize = 120;

/// A Redis server that may be unreachable.
pub(super) struct RedisEndpoint {
    address: RedisAddress,
    connection_info: RedisConnectionInfo,
    /// Redacted in messages.
    redactor: Redactor,
}

/// A connection and the task that drives it.
pub(super) struct RedisConnection {
    pub(super) multiplexed: MultiplexedConnection,
    pub(super) read_budget: ReadBudget,
    _driver: AbortOnDropHandle<()>,
}

impl RedisEndpoint {
    /// Returns the server at a URL that `config` has validated. `None` if it is invalid nevertheless.
    pub(super) fn new(url: &str, redactor: Redactor) -> Option<Self> {
        let (address, connection_info) = redis_address::parse_redis_url(url)?;
        Some(Self {
            address,
            connection_info,
            redactor,
        })
    }

    /// Connects and authenticates. Messages of subscribed channels go to `notifications`.
    pub(super) async fn connect(
        &self,
        notifications: UnboundedSender<Notification>,
    ) -> Result<RedisConnection, SharedStoreError> {
        let connect = async { Ok(RedisStream::connect(&self.address).await?) };
        let (stream, read_budget) = self.run("connect", connect).await?;
        // Other messages are dropped here, so that they take up no memory.
        let forward = move |push: PushInfo| {
            let notification = redis::Msg::from_push_info(push)
                .and_then(|message| Notification::parse(message.get_payload_bytes()));
            notification.map_or(Ok(()), |notification| notifications.send(notification))
        };
        // `run` limits the time of each operation.
        let config = AsyncConnectionConfig::new()
            .set_push_sender(forward)
            .set_response_timeout(None);
        let handshake =
            MultiplexedConnection::new_with_config(&self.connection_info, stream, config);
        let (multiplexed, driver) = self.run("authenticate", handshake).await?;
        Ok(RedisConnection {
            multiplexed,
            read_budget,
            _driver: AbortOnDropHandle::new(Handle::current().spawn(driver)),
        })
    }

    /// Runs an operation for at most [`OPERATION_TIMEOUT`].
    pub(super) async fn run<T>(
        &self,
        operation: &str,
        future: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, SharedStoreError> {
        let reason = match timeout(OPERATION_TIMEOUT, future).await {
            Ok(Ok(value)) => return Ok(value),
            // Redaction first: a secret that is escaped or cut is not found.
            Ok(Err(error)) => {
                let error = self.redactor.redact(&error.to_string());
                escape_bounded(&error, MAX_QUOTED_CHARS)
            }
            Err(_) => format!(
                "no answer within {}",
                format_duration(OPERATION_TIMEOUT, UnitStyle::Message)
            ),
        };
        Err(self.error(operation, &reason))
    }

    /// Returns the error of an operation, secrets redacted.
    pub(super) fn error(&self, operation: &str, reason: &str) -> SharedStoreError {
        let message = format!("{operation}: Redis at {}: {reason}", self.address);
        SharedStoreError(self.redactor.redact(&message).into())
    }
}
