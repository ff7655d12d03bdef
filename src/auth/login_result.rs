//! The end of a login.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{AuthValues, Failure};

/// The result of a login that succeeded.
#[derive(Debug)]
pub(super) struct LoginSuccess {
    /// When the request was sent: the lifetime counts from it.
    pub(super) sent_at: Instant,
    pub(super) values: AuthValues,
    /// Lifetime of the session. `None` if it is not known.
    pub(super) lifetime: Option<Duration>,
}

/// The result of a login that failed.
#[derive(Debug, Clone)]
pub(super) struct LoginFailure {
    /// Cause, with the code `auth_failed` and secrets redacted.
    pub(super) failure: Failure,
    /// Whether the server may have counted the request against the account.
    pub(super) may_have_counted: bool,
    /// Status of the response that refuses the request. `None` without one.
    pub(super) status: Option<u16>,
    /// Pause that the server asks for.
    pub(super) retry_after: Option<Duration>,
}

impl LoginFailure {
    /// Returns a failure that is not due to the status of a response.
    pub(super) fn new(failure: Failure, may_have_counted: bool) -> Self {
        Self {
            failure,
            may_have_counted,
            status: None,
            retry_after: None,
        }
    }

    /// Returns whether the server does not accept the session that the request was sent with.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }

    /// Returns whether the server does not accept the refresh token (RFC 6749, section 5.2: 400, with 401 for the client).
    pub(super) fn is_token_rejected(&self) -> bool {
        matches!(self.status, Some(400 | 401 | 403)) && self.retry_after.is_none()
    }

    /// Returns whether another request to the server has to wait.
    pub(super) fn is_postponed(&self) -> bool {
        !self.may_have_counted || self.retry_after.is_some() || self.status == Some(429)
    }
}
