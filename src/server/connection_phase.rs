//! What a connection is doing, and how long it may.

use std::time::Duration;

/// Time limits of a connection's phases.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionTimeouts {
    /// For a request's head: from its first byte, or from accept for the first request.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnectionPhase {
    /// Accepted; no byte has been received.
    AwaitingFirst,
    /// Receiving the head of the first request.
    FirstHead,
    /// Receiving the head of a later request.
    LaterHead,
    /// Answering a request.
    Responding,
    /// Waiting for the next request.
    Idle,
    /// The last response has been written.
    Closing,
}

impl ConnectionPhase {
    /// The phase that was stored as `byte`.
    pub(super) fn from_byte(byte: u8) -> Self {
        [
            Self::AwaitingFirst,
            Self::FirstHead,
            Self::LaterHead,
            Self::Responding,
            Self::Idle,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == byte)
        .unwrap_or(Self::Closing)
    }
}
