//! One connection to Redis: replies to commands, and messages of the subscribed channel.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisResult, TlsCertificates,
};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use crate::domain::Redactor;
use crate::text::{UnitStyle, escape_bounded, format_duration};

use super::protocol::Notification;
use super::redis_error::describe_redis_error;
use super::shared_store::SharedStoreError;

/// Time limit of one operation.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(200);

/// Time limit of a new connection: name lookup, TCP, TLS and authentication take several round trips.
const CONNECT_TIMEOUT: Duration = OPERATION_TIMEOUT.saturating_mul(2);

/// Maximum number of characters of an error in a message.
const MAX_QUOTED_CHARS: usize = 120;

/// A Redis server that may be unreachable.
pub(super) struct RedisEndpoint {
    client: Client,
    /// Redacted in messages.
    redactor: Redactor,
}

impl RedisEndpoint {
    /// Returns the server at a URL that `config` has validated, and whose certificate is verified
    /// against the PEM text `ca_pem`, by default against the public certificate authorities. `None`
    /// if one of them is invalid nevertheless.
    pub(super) fn new(url: &str, ca_pem: Option<&str>, redactor: Redactor) -> Option<Self> {
        let client = build_client(url, ca_pem).ok()?;
        Some(Self { client, redactor })
    }

    /// Connects and authenticates. Messages of subscribed channels go to `notifications`.
    pub(super) async fn connect(
        &self,
        notifications: Sender<Notification>,
    ) -> Result<MultiplexedConnection, SharedStoreError> {
        // Other messages are dropped here, so that they take up no memory.
        let forward = move |push: PushInfo| {
            let notification = redis::Msg::from_push_info(push)
                .and_then(|message| Notification::parse(message.get_payload_bytes()));
            // A flood takes up no memory; a waiter that misses its notification waits for the lease.
            match notification.map(|notification| notifications.try_send(notification)) {
                Some(Err(closed @ TrySendError::Closed(_))) => Err(closed),
                _ => Ok(()),
            }
        };
        // `run_within` limits the time of each operation.
        let config = AsyncConnectionConfig::new()
            .set_push_sender(forward)
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connect = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        // Redis without TLS takes the beginning of a handshake for the beginning of a command, and waits.
        let hint = match self.client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { .. } => ": perhaps the port is without TLS",
            _ => "",
        };
        self.run_within(CONNECT_TIMEOUT, hint, "connect", connect)
            .await
    }

    /// Runs an operation for at most [`OPERATION_TIMEOUT`].
    pub(super) async fn run<T>(
        &self,
        operation: &str,
        future: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, SharedStoreError> {
        self.run_within(OPERATION_TIMEOUT, "", operation, future)
            .await
    }

    /// `hint` follows the message of an operation that took longer than `limit`.
    async fn run_within<T>(
        &self,
        limit: Duration,
        hint: &str,
        operation: &str,
        future: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, SharedStoreError> {
        let reason = match timeout(limit, future).await {
            Ok(Ok(value)) => return Ok(value),
            // Redaction first: a secret that is escaped or cut is not found.
            Ok(Err(error)) => {
                let reason = self.redactor.redact(&describe_redis_error(&error));
                escape_bounded(&reason, MAX_QUOTED_CHARS)
            }
            Err(_) => format!(
                "no answer within {}{hint}",
                format_duration(limit, UnitStyle::Message)
            ),
        };
        Err(self.error(operation, &reason))
    }

    /// Returns the error of an operation, secrets redacted.
    pub(super) fn error(&self, operation: &str, reason: &str) -> SharedStoreError {
        let address = self.client.get_connection_info().addr();
        let message = format!("{operation}: Redis at {address}: {reason}");
        SharedStoreError(self.redactor.redact(&message).into())
    }
}

fn build_client(url: &str, ca_pem: Option<&str>) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone();
    let settings = settings
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("resumen", env!("CARGO_PKG_VERSION"));
    let info = info.set_redis_settings(settings);
    let Some(pem) = ca_pem else {
        return Client::open(info);
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(pem.into()),
    };
    Client::build_with_tls(info, certificates)
}
