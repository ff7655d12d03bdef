//! Failures from errors of reqwest, by the errors in their chain of sources.

use std::error::Error;
use std::{io, iter};

use tokio_rustls::rustls;

use crate::domain::{Code, Failure};
use crate::process::Deadline;
use crate::text::{UnitStyle, format_size};

use super::client::{CallTarget, MAX_HEAD_BYTES, MAX_HEADERS};
use super::connector::ConnectFailure;
use super::deadline::FetchPhase;
use super::tls_failure::{self, TlsContext};
use super::trace::ExchangeTrace;

/// Returns the error and its causes. `io::Error::source` skips the error that it wraps; it is included
/// here.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    iter::successors(Some(error), |&error: &&'e (dyn Error + 'static)| {
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Returns the first error of this type in the chain.
pub(super) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Returns the innermost I/O error with a kind.
fn io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .filter(|error| error.kind() != io::ErrorKind::Other)
        .last()
}

/// Returns the failure of an exchange without a response head. The message must not contain the URL,
/// so the error itself is not printed.
pub(super) fn exchange_failure(
    error: &reqwest::Error,
    trace: &ExchangeTrace,
    target: &CallTarget,
    deadline: Deadline,
) -> Failure {
    let phase = trace.phase();
    // From the most to the least specific cause: reqwest wraps each one in a connect error.
    if let Some(ConnectFailure(failure)) = find(error) {
        return on_the_way(target, failure.clone());
    }
    if let Some(error) = find::<rustls::Error>(error) {
        let context = TlsContext::new(trace, target);
        return match phase {
            FetchPhase::Tls => tls_failure::handshake_failure(error, &context),
            _ => tls_failure::post_handshake_failure(error, Some(&context)),
        };
    }
    // The type of this error is private to hyper-util.
    let tunnel = chain(error)
        .map(ToString::to_string)
        .find(|text| text.starts_with("tunnel error:"))
        // That text tells of the connection to the proxy, which is reported by its own cause below.
        .filter(|text| !text.ends_with("failed to create underlying connection"));
    if let Some(tunnel) = tunnel {
        return tunnel_failure(&tunnel);
    }
    // The connect timeout has the length of the deadline and can pass shortly before it.
    if error.is_timeout() {
        return phase.timeout_failure(deadline, target.has_proxy(), 0);
    }
    match phase {
        FetchPhase::Lookup | FetchPhase::Connect => {
            on_the_way(target, connect_failure(error, trace, target))
        }
        FetchPhase::Tls => handshake_io_failure(error),
        FetchPhase::Head | FetchPhase::Body => {
            let failure = connection_failure("an answer's head", error, None);
            let hyper = find::<hyper::Error>(error).filter(|error| error.is_parse());
            // A server with TLS answers a plain request by an alert, whose bytes hyper takes for a version.
            if target.is_plain_http() && hyper.is_some_and(|e| e.to_string().contains("version")) {
                let message = format!(
                    "{} (HTTPS on this port? then write `https://`)",
                    failure.message
                );
                return Failure::new(failure.code, message);
            }
            failure
        }
    }
}

fn on_the_way(target: &CallTarget, failure: Failure) -> Failure {
    if !target.has_proxy() {
        return failure;
    }
    let message = format!("on the way to the proxy: {}", failure.message);
    Failure::new(failure.code, message)
}

fn tunnel_failure(error: &str) -> Failure {
    let message = if error.ends_with("proxy authorization required") {
        "the proxy gave no tunnel (HTTP 407): it requires a user and a password in `proxy`"
    } else {
        "the proxy gave no tunnel"
    };
    Failure::new(Code::ConnectFailed, message)
}

/// Returns the failure of a TCP connection. hyper-util reports the error of the first address.
fn connect_failure(error: &reqwest::Error, trace: &ExchangeTrace, target: &CallTarget) -> Failure {
    let addresses = match &target.literal_address {
        Some(address) => std::slice::from_ref(address),
        None => trace.addresses(),
    };
    let Some(first) = addresses.first() else {
        return Failure::new(Code::ConnectFailed, "there is no address to connect to");
    };
    let address = std::net::SocketAddr::new(*first, target.connect_port());
    let others = match addresses.len() {
        1 => String::new(),
        count => format!(" (the first of {count} addresses)"),
    };
    let Some(io) = io_error(error) else {
        return Failure::new(
            Code::ConnectFailed,
            format!("connecting to {address} failed{others}"),
        );
    };
    match io.kind() {
        io::ErrorKind::ConnectionRefused => Failure::new(
            Code::ConnectRefused,
            format!("{address} refused the connection{others}"),
        ),
        // A port without a listener refuses. A reset comes from a server that has accepted.
        io::ErrorKind::ConnectionReset => Failure::new(
            Code::ConnectionClosed,
            format!(
                "the connection broke (connection reset) as soon as {address} had accepted it{others}"
            ),
        ),
        _ => Failure::new(
            Code::ConnectFailed,
            format!(
                "connecting to {address} failed: {}{others}",
                system_reason(io)
            ),
        ),
    }
}

/// Returns the message of the system without the error number.
fn system_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

fn handshake_io_failure(error: &reqwest::Error) -> Failure {
    let what = match io_error(error).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) | None => "the server closed the connection",
        Some(_) => "the server broke off the connection",
    };
    Failure::new(
        Code::ConnectionClosed,
        format!("{what} in the TLS handshake"),
    )
}

/// Returns the failure of a connection that ended after `bytes` of `part`, if they were counted.
pub(super) fn connection_failure(
    part: &str,
    error: &(dyn Error + 'static),
    bytes: Option<u64>,
) -> Failure {
    if let Some(error) = find::<rustls::Error>(error) {
        return tls_failure::post_handshake_failure(error, None);
    }
    if let Some(error) = find::<h2::Error>(error) {
        return http2_failure(error, part, bytes);
    }
    // Too large before the general parse error: hyper counts both as parse errors.
    let hyper = find::<hyper::Error>(error);
    if hyper.is_some_and(hyper::Error::is_parse_too_large) {
        return invalid_http_failure(&oversized_head());
    }
    if let Some(error) = hyper.filter(|error| error.is_parse()) {
        return invalid_http_failure(&error.to_string());
    }
    // hyper has no predicate for bytes received before the request.
    if hyper.is_some_and(|error| format!("{error:?}").contains("UnexpectedMessage")) {
        return invalid_http_failure("bytes came before the request was sent");
    }
    match io_error(error).map(io::Error::kind) {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            invalid_http_failure("bad chunks")
        }
        Some(
            kind @ (io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe),
        ) => closed_failure(&format!("the connection broke ({kind})"), part, bytes),
        Some(io::ErrorKind::UnexpectedEof) | None => {
            closed_failure("the server closed the connection", part, bytes)
        }
        Some(kind) => closed_failure(&format!("the connection failed ({kind})"), part, bytes),
    }
}

/// Returns the failure of an HTTP/2 error: closed if the peer reset the stream or closed the connection,
/// a protocol error if this side found it.
fn http2_failure(error: &h2::Error, part: &str, bytes: Option<u64>) -> Failure {
    let reason = error
        .reason()
        .map_or_else(String::new, |reason| format!(" ({})", reason.description()));
    if error.is_remote() || error.is_io() {
        let what = if error.is_go_away() {
            format!("the server ended the HTTP/2 connection{reason}")
        } else {
            format!("the server reset the HTTP/2 stream{reason}")
        };
        return closed_failure(&what, part, bytes);
    }
    invalid_http_failure(&format!("a broken rule of HTTP/2{reason}"))
}

/// Returns whether a body ended before its framing.
pub(super) fn is_early_end(error: &(dyn Error + 'static)) -> bool {
    let is_eof = io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    is_eof && find::<rustls::Error>(error).is_none()
}

/// Returns the message of a head that exceeds the limits.
pub(super) fn oversized_head() -> String {
    let limit = format_size(MAX_HEAD_BYTES as u64, UnitStyle::Message);
    format!(
        "its head is over the limit of {limit} or {MAX_HEADERS} headers, or its Content-Length over any"
    )
}

/// Returns the failure of an invalid response.
pub(super) fn invalid_http_failure(what: &str) -> Failure {
    Failure::new(
        Code::HttpProtocol,
        format!("the answer is not valid HTTP: {what}"),
    )
}

fn closed_failure(what: &str, part: &str, bytes: Option<u64>) -> Failure {
    let when = match bytes {
        None => format!("before the end of {part}"),
        Some(0) => format!("before any byte of {part}"),
        Some(bytes) => format!("after {bytes} bytes of {part}"),
    };
    Failure::new(Code::ConnectionClosed, format!("{what} {when}"))
}
