//! Response heads: framing, status, content coding, and the failures of a connection without a
//! head.

use std::error::Error;
use std::io;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, RETRY_AFTER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::domain::{Code, Failure, Time};
use crate::text::{format_duration, format_size};

use super::fetch_trait::FetchError;
use super::upstream_connection::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::{retry_after, tls};

/// Content coding of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyCoding {
    /// gzip (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878), with windows up to 8 MiB (RFC 9659).
    Zstd,
}

/// Rejects a head with ambiguous framing (RFC 9112, section 6).
pub(super) fn check_framing(head: &Parts) -> Result<(), Failure> {
    let headers = &head.headers;
    let invalid = |what: &str| Err(invalid_http_failure(what));
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|length| length.as_bytes().contains(&b',')) {
        return invalid("several Content-Lengths");
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter().count();
    if codings > 0 && length.is_some() {
        return invalid("both Content-Length and Transfer-Encoding");
    }
    let chunked = headers
        .get(TRANSFER_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if codings > 0 && (codings > 1 || !chunked || head.version != Version::HTTP_11) {
        return invalid("a Transfer-Encoding other than chunked");
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return invalid("it switches protocols unasked");
    }
    Ok(())
}

/// Returns the failure of a status without a complete body; `None` for a success with one.
pub(super) fn status_failure(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    let (code, detail) = match status.as_u16() {
        204 | 205 => (Code::EmptyBody, ": an answer without a body"),
        206 => (Code::HttpStatus, ": a part of a body is no answer"),
        200..=299 => return None,
        304 => (
            Code::HttpStatus,
            ": nothing to read; `headers` should not make the request conditional",
        ),
        300..=399 => (
            Code::RedirectBlocked,
            ": redirects are not followed; put the final address into `url`",
        ),
        429 => (Code::RateLimited, ""),
        400..=599 if headers.contains_key(RETRY_AFTER) => (Code::RateLimited, ""),
        _ => (Code::HttpStatus, ""),
    };
    Some(Failure::new(code, status_line(status) + detail))
}

/// Returns `failure` with the escaped `title` of the problem details and with the delay of the
/// `Retry-After` headers.
pub(super) fn build_fetch_error(
    failure: &Failure,
    title: Option<&str>,
    headers: &HeaderMap,
    now: Time,
) -> FetchError {
    let title = title
        .map(|title| format!(": \"{title}\""))
        .unwrap_or_default();
    let retry_after = retry_after::longest_retry_after(headers, now)
        .filter(|_| failure.code == Code::RateLimited);
    let held_back = retry_after
        .map(|delay| format!("; left alone for {}", format_duration(delay)))
        .unwrap_or_default();
    FetchError {
        failure: Failure::new(
            failure.code,
            format!("{}{title}{held_back}", failure.message),
        ),
        retry_after,
    }
}

/// Returns the content coding of the body; `None` for a plain one.
pub(super) fn parse_content_coding(headers: &HeaderMap) -> Result<Option<BodyCoding>, Failure> {
    let failed = |message| Err(Failure::new(Code::DecodeFailed, message));
    let mut coding = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for token in value
            .to_str()
            .unwrap_or("?")
            .split(',')
            .map(|token| token.trim().to_ascii_lowercase())
        {
            let next = match token.as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => BodyCoding::Gzip,
                "br" => BodyCoding::Brotli,
                "zstd" => BodyCoding::Zstd,
                _ => return failed("the content coding is none of gzip, br and zstd"),
            };
            if coding.replace(next).is_some() {
                return failed("the body has several content codings; at most one is undone");
            }
        }
    }
    Ok(coding)
}

/// Returns the failure of a connection that ended after `bytes` of a response head.
pub(super) fn head_failure(error: &hyper::Error, bytes: u64) -> Failure {
    connection_failure("an answer", error, bytes)
}

/// Returns the failure of a connection that ended after `bytes` of `part` of a response.
pub(super) fn connection_failure(part: &str, error: &hyper::Error, bytes: u64) -> Failure {
    let io = io_error(error);
    if let Some(error) = io.and_then(tls::tls_error) {
        return tls::post_handshake_failure(error);
    }
    if error.is_parse_too_large() {
        let limit = format_size(MAX_HEAD_BYTES as u64);
        let what = format!(
            "its head is over the limit of {limit} or {MAX_HEADERS} headers, or its Content-Length over any"
        );
        return invalid_http_failure(&what);
    }
    if error.is_parse() {
        return invalid_http_failure(&error.to_string());
    }
    if error.is_canceled() && bytes > 0 {
        return invalid_http_failure("bytes came before the request was sent");
    }
    match io.map(io::Error::kind) {
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

/// Returns the I/O error that caused `error`.
pub(super) fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

fn invalid_http_failure(what: &str) -> Failure {
    Failure::new(
        Code::HttpProtocol,
        format!("the answer is not valid HTTP/1: {what}"),
    )
}

fn closed_failure(what: &str, part: &str, bytes: u64) -> Failure {
    let progress = if bytes == 0 {
        format!("before any byte of {part}")
    } else {
        format!("after {bytes} bytes of {part}")
    };
    Failure::new(Code::ConnectionClosed, format!("{what} {progress}"))
}

/// Returns `HTTP 503 Service Unavailable`, with the standard reason, not that of the response.
fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_str()),
        None => format!("HTTP {}", status.as_str()),
    }
}
