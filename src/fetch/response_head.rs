//! What an answer's head says: whether its framing is beyond doubt, whether its status promises a body, and what has
//! gone wrong when there is no head at all.

use std::error::Error;
use std::io;

use crate::domain::{Code, Failure, Time};
use crate::text::format_duration;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, RETRY_AFTER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};

use super::upstream_connection::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::{quoted, retry_after, tls};
use crate::fetch::FetchError;

/// The one coding that a body may have on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyCoding {
    /// RFC 1952
    Gzip,
    /// RFC 7932
    Brotli,
    /// RFC 8878, windows up to 8 MiB (RFC 9659)
    Zstd,
}

/// Refuses a head whose framing two readers could understand in two ways.
pub(crate) fn check_framing(head: &Parts) -> Result<(), Failure> {
    let headers = &head.headers;
    let doubt = |what: &str| {
        Err(Failure::new(
            Code::HttpProtocol,
            format!("the answer is not valid HTTP/1: {what}"),
        ))
    };
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|length| length.as_bytes().contains(&b',')) {
        return doubt("several Content-Lengths");
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter().count();
    if codings > 0 && length.is_some() {
        return doubt("both Content-Length and Transfer-Encoding");
    }
    let chunked = headers
        .get(TRANSFER_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if codings > 0 && (codings > 1 || !chunked || head.version != Version::HTTP_11) {
        return doubt("a Transfer-Encoding other than chunked");
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return doubt("it switches protocols unasked");
    }
    Ok(())
}

/// Why the status promises no whole body, if it does not.
pub(crate) fn status_failure(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    let (code, why) = match status.as_u16() {
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
    Some(Failure::new(code, status_line(status) + why))
}

/// `failure` with what the body's problem details say, already escaped, and with how long the provider asks to be left
/// alone.
pub(crate) fn build_fetch_error(
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
    let hold = retry_after
        .map(|hold| format!("; left alone for {}", format_duration(hold)))
        .unwrap_or_default();
    FetchError {
        failure: Failure::new(failure.code, format!("{}{title}{hold}", failure.message)),
        retry_after,
    }
}

/// The coding of the body; none for a plain one.
pub(crate) fn parse_content_coding(headers: &HeaderMap) -> Result<Option<BodyCoding>, Failure> {
    let failed = |message| Err(Failure::new(Code::DecodeFailed, message));
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for token in value
            .to_str()
            .unwrap_or("?")
            .split(',')
            .map(|token| token.trim().to_ascii_lowercase())
        {
            let coding = match token.as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => BodyCoding::Gzip,
                "br" => BodyCoding::Brotli,
                "zstd" => BodyCoding::Zstd,
                _ => return failed("the content coding is none of gzip, br and zstd"),
            };
            if found.replace(coding).is_some() {
                return failed("the body has several content codings; at most one is undone");
            }
        }
    }
    Ok(found)
}

/// Why there is no head, after `bytes` of an answer.
pub(crate) fn head_failure(error: &hyper::Error, bytes: u64) -> Failure {
    connection_failure("an answer", error, bytes)
}

/// Why there is no more of `part`, after `bytes` of it.
pub(crate) fn connection_failure(part: &str, error: &hyper::Error, bytes: u64) -> Failure {
    let io = io_error(error);
    if let Some(error) = io.and_then(tls::tls_error) {
        return tls::post_handshake_failure(error);
    }
    if error.is_parse_too_large() {
        let limit = quoted::format_size(MAX_HEAD_BYTES as u64);
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

/// The stream's own error behind one of HTTP.
pub(crate) fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

fn invalid_http_failure(what: &str) -> Failure {
    Failure::new(
        Code::HttpProtocol,
        format!("the answer is not valid HTTP/1: {what}"),
    )
}

fn closed_failure(what: &str, part: &str, bytes: u64) -> Failure {
    let when = if bytes == 0 {
        format!("before any byte of {part}")
    } else {
        format!("after {bytes} bytes of {part}")
    };
    Failure::new(Code::ConnectionClosed, format!("{what} {when}"))
}

/// `HTTP 503 Service Unavailable`, with the RFC's reason, not the provider's.
fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_str()),
        None => format!("HTTP {}", status.as_str()),
    }
}
