//! Response heads: limits, framing, status and content coding.

use encoding_rs::Encoding;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::domain::{Code, Failure, Time};
use crate::text::{UnitStyle, format_duration};

use super::client::{MAX_HEAD_BYTES, MAX_HEADERS};
use super::fetch_trait::{FetchError, RefusedResponse};
use super::transport_error::{invalid_http_failure, oversized_head};
use super::{rate_limit, retry_after};

/// Maximum length of the name of a charset, in bytes.
const MAX_CHARSET_BYTES: usize = 64;

/// Content coding of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyCoding {
    /// gzip (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878), with windows up to 8 MiB (RFC 9659).
    Zstd,
    /// Deflate (RFC 1951), with the zlib format around it (RFC 9110, section 8.4.1.2) or without it.
    Deflate,
}

/// Rejects a head that exceeds the limits or has ambiguous framing (RFC 9112, section 6).
///
/// Returns the length of a body with an empty `Transfer-Encoding` or `identity` (RFC 2616), which mean no coding:
/// hyper would read such a body to the end of the connection.
pub(super) fn check_head(head: &Parts) -> Result<Option<u64>, Failure> {
    let headers = &head.headers;
    let invalid = |what: &str| Err(invalid_http_failure(what));
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if size > MAX_HEAD_BYTES || headers.len() > MAX_HEADERS {
        return invalid(&oversized_head());
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths = lengths
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let length = lengths.next();
    // Equal ones are one (RFC 9112, section 6.3); different ones are how responses are split.
    if lengths.any(|other| Some(other) != length) {
        return invalid("different Content-Lengths");
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return invalid("it switches protocols although the request does not ask for it");
    }
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(None);
    }
    let codings: Vec<&[u8]> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_none = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    // HTTP/1.0 and HTTP/2 have no transfer codings.
    if head.version != Version::HTTP_11 || !codings.iter().all(|c| is_chunked(c) || is_none(c)) {
        return invalid("a Transfer-Encoding other than chunked");
    }
    if codings.iter().all(|coding| is_none(coding)) {
        let length = length.map(|length| std::str::from_utf8(length).ok()?.parse().ok());
        return match length {
            Some(None) => invalid("a Content-Length that is no number"),
            length => Ok(length.flatten()),
        };
    }
    // RFC 9112, section 6.1: the peer, or an intermediary, may frame the body by the other one.
    if length.is_some() {
        return invalid("both Content-Length and Transfer-Encoding");
    }
    // hyper undoes chunks once, if the last word says so. A proxy that adds its own header repeats the word.
    if !codings.last().is_some_and(|last| is_chunked(last)) {
        return invalid("a Transfer-Encoding that does not end with chunked");
    }
    Ok(None)
}

/// Returns the failure of a status without a complete body; `None` for a success with one.
pub(super) fn status_failure(
    status: StatusCode,
    headers: &HeaderMap,
    now: Time,
) -> Option<Failure> {
    let is_held =
        || headers.contains_key(RETRY_AFTER) || rate_limit::exhausted_quota(headers, now).is_some();
    let (code, why) = match status.as_u16() {
        204 | 205 => (Code::EmptyBody, ": an answer without a body"),
        206 => (Code::HttpStatus, ": a part of a body is no answer"),
        200..=299 => return None,
        304 => (
            Code::HttpStatus,
            ": nothing to read; if `headers` make the request conditional, remove those",
        ),
        300..=399 => (Code::RedirectBlocked, ": the redirect is not followed"),
        429 => (Code::RateLimited, ""),
        400..=599 if is_held() => (Code::RateLimited, ""),
        _ => (Code::HttpStatus, ""),
    };
    let failure = Failure::new(code, status_line(status) + why);
    let is_lasting = matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410 | 422 | 429);
    Some(failure.with_lasting(is_lasting || code == Code::RedirectBlocked))
}

/// Returns `failure` with `note` in its message, the `refused` response, and the delay of its
/// `Retry-After` headers, else that of an exhausted quota.
pub(super) fn build_fetch_error(
    failure: &Failure,
    note: &str,
    refused: Option<Box<RefusedResponse>>,
    headers: &HeaderMap,
    now: Time,
) -> FetchError {
    let quota_reset = || rate_limit::exhausted_quota(headers, now)?.reset_after;
    let retry_after = retry_after::longest_retry_after(headers, now)
        .or_else(quota_reset)
        .filter(|_| failure.code == Code::RateLimited);
    let hold = retry_after
        .map(|hold| {
            format!(
                "; left alone for {}",
                format_duration(hold, UnitStyle::Message)
            )
        })
        .unwrap_or_default();
    FetchError {
        // A time that the provider names tells when the cause will have passed.
        failure: Failure::new(failure.code, format!("{}{note}{hold}", failure.message))
            .with_lasting(failure.is_lasting && retry_after.is_none()),
        retry_after,
        refused,
        is_permit_timeout: false,
    }
}

/// Returns the content coding of the body; `None` for a plain one.
pub(super) fn parse_content_coding(headers: &HeaderMap) -> Result<Option<BodyCoding>, Failure> {
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
                "" | "identity" | "none" => continue,
                charset if is_charset(charset) => continue,
                "gzip" | "x-gzip" => BodyCoding::Gzip,
                "br" => BodyCoding::Brotli,
                "zstd" => BodyCoding::Zstd,
                "deflate" => BodyCoding::Deflate,
                _ => return failed("the content coding is none of gzip, br, zstd and deflate"),
            };
            if found.replace(coding).is_some() {
                return failed("the body has several content codings; at most one is undone");
            }
        }
    }
    Ok(found)
}

/// Returns the charset parameter of `Content-Type`, without its quotation marks.
pub(super) fn content_charset(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').skip(1).find_map(|parameter| {
        let (name, charset) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        let charset = charset.trim().trim_matches(['"', '\'']).trim();
        (is_charset && (1..=MAX_CHARSET_BYTES).contains(&charset.len())).then(|| charset.into())
    })
}

/// Returns whether a token of `Content-Encoding` is a charset or an encoding of mail, which some servers send there.
fn is_charset(token: &str) -> bool {
    matches!(token, "7bit" | "8bit" | "binary" | "utf16")
        || Encoding::for_label(token.as_bytes()).is_some()
}

/// Returns `HTTP 503 Service Unavailable`, with the standard reason, not that of the response.
fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("HTTP {} {reason}", status.as_str()),
        None => format!("HTTP {}", status.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_lasting() {
        let is_lasting = |status: u16, retry_after: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(retry_after.map(|value| (RETRY_AFTER, value.parse().unwrap())));
            let status = StatusCode::from_u16(status).unwrap();
            let now = Time::from_millis(0);
            let failure = status_failure(status, &headers, now).unwrap();
            let error = build_fetch_error(&failure, "", None, &headers, now);
            error.failure.is_lasting
        };
        for status in [301, 400, 401, 403, 404, 410, 422, 429] {
            assert!(is_lasting(status, None), "{status}");
        }
        for status in [206, 304, 408, 418, 500, 502, 503, 504] {
            assert!(!is_lasting(status, None), "{status}");
        }
        assert!(!is_lasting(429, Some("5")) && !is_lasting(403, Some("5")));
    }
}
