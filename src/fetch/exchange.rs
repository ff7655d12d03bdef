//! One HTTP request with one client, up to the response head.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::response::Parts;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Body, Request};
use tokio::runtime::Handle;

use crate::domain::Failure;
use crate::process::Deadline;

use super::client::CallTarget;
use super::connection_runtime::OnConnectionRuntime;
use super::deadline::run_until_deadline;
use super::endpoints::ClientLease;
use super::trace::ExchangeTrace;
use super::transport_error;

/// Response head, and the body that is being received. The body holds the connection.
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Body,
    /// Whether the connection was open before the request.
    pub(super) is_on_kept_connection: bool,
}

/// Error of an exchange without a response head.
pub(super) struct ExchangeError {
    pub(super) failure: Failure,
    /// Whether the connection was open before the request.
    pub(super) is_on_kept_connection: bool,
}

/// Sends `request` with the client of `lease` and waits for the response head. An attempt can call it
/// again under the same deadline, after a connection turned out to be closed.
pub(super) async fn exchange(
    runtime: &Handle,
    lease: &ClientLease,
    target: &CallTarget,
    request: Request,
    deadline: Deadline,
) -> Result<Answer, ExchangeError> {
    let trace = Arc::new(ExchangeTrace::default());
    let sent = OnConnectionRuntime::new(
        runtime.clone(),
        trace.scope(lease.client().execute(request)),
    );
    let sent = async {
        sent.await.map_err(|error| ExchangeError {
            failure: transport_error::exchange_failure(&error, &trace, target, deadline),
            is_on_kept_connection: is_kept(&trace, failed_connection(&error)),
        })
    };
    let late = || ExchangeError {
        failure: trace
            .phase()
            .timeout_failure(deadline, target.has_proxy(), 0),
        is_on_kept_connection: false,
    };
    let ended = run_until_deadline(deadline, late, pin!(sent)).await;
    // Also after the deadline and after an error: otherwise the gate stays closed for the client.
    trace.release_connect_turn();
    let (head, body) = http::Response::<Body>::from(ended?).into_parts();
    let connection = head.extensions.get::<HttpInfo>();
    Ok(Answer {
        is_on_kept_connection: is_kept(&trace, connection.map(HttpInfo::local_addr)),
        head,
        body,
    })
}

/// Returns whether the connection with this local address was open before the exchange. The addresses
/// are compared because hyper-util can open a connection for a request and then use another one that
/// became idle meanwhile.
fn is_kept(trace: &ExchangeTrace, local_address: Option<SocketAddr>) -> bool {
    local_address.is_some_and(|address| trace.is_reused(address))
}

/// Returns the local address of the connection on which the request failed; `None` if it failed before
/// there was one.
fn failed_connection(error: &reqwest::Error) -> Option<SocketAddr> {
    let error = transport_error::find::<legacy::Error>(error)?;
    let mut extras = http::Extensions::new();
    error.connect_info()?.get_extras(&mut extras);
    extras.get::<HttpInfo>().map(HttpInfo::local_addr)
}
