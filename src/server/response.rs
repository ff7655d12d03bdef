//! Builds responses: conditional requests, content codings and headers. The fast path and the
//! router use the same functions.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName,
    IF_NONE_MATCH, LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use httpdate::fmt_http_date;

use crate::domain::Time;
use crate::render::{ContentCoding, EncodedBodies, LARGE_BODY_BYTES, Rendering};

use super::encoding::{EncodingChoice, coding_name};
use super::problem::{ProblemDetails, ProblemKind};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Size of a body, in bytes, up to which it is compressed on a serving thread: the work takes less
/// than a millisecond.
const MAX_INLINE_CODING_BYTES: usize = 16 << 10;

/// The response to a request with these headers: 200, 304 if a tag matches, or 406 if no coding is
/// acceptable.
pub(crate) fn respond_with_rendering(
    rendering: &Rendering,
    request: &HeaderMap,
) -> Response<Bytes> {
    if matches_etag(request, &rendering.etag) {
        return not_modified_response(rendering);
    }
    match choose_form(
        &rendering.encoded_bodies,
        rendering_choice(rendering, request),
    ) {
        Ok((body, coding)) => {
            let length = HeaderValue::from(body.len());
            let mut response = Response::new(body);
            let headers = response.headers_mut();
            headers.reserve(12);
            let content_type = HeaderValue::from_static(rendering.content_type);
            headers.insert(CONTENT_TYPE, content_type);
            headers.insert(CONTENT_LENGTH, length);
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            add_cache_headers(rendering, headers);
            if let Some(timing) = &rendering.server_timing {
                headers.insert(SERVER_TIMING, timing.clone());
            }
            set_content_encoding(headers, coding);
            response
        }
        Err(problem) => problem.to_response(),
    }
}

/// The coding in which the response to this request needs `rendering`, if making it would block a
/// serving thread for too long.
pub(crate) fn missing_coding(rendering: &Rendering, request: &HeaderMap) -> Option<ContentCoding> {
    if matches_etag(request, &rendering.etag) {
        return None;
    }
    let choice = rendering_choice(rendering, request);
    long_coding(&rendering.encoded_bodies, choice)
}

/// The coding in which the response to this request needs the body of `forms`, if making it would
/// block a serving thread for too long.
pub(crate) fn missing_form(forms: &EncodedBodies, request: &HeaderMap) -> Option<ContentCoding> {
    long_coding(forms, EncodingChoice::from_headers(request))
}

/// The form of a body that a request accepts and the value of `Content-Encoding`, or a 406.
pub(crate) fn select_form(
    forms: &EncodedBodies,
    request: &HeaderMap,
) -> Result<(Bytes, Option<HeaderValue>), ProblemDetails> {
    choose_form(forms, EncodingChoice::from_headers(request))
}

fn rendering_choice(rendering: &Rendering, request: &HeaderMap) -> EncodingChoice {
    let mut choice = EncodingChoice::from_headers(request);
    // A live answer is rendered for one request under a deadline, so compressing a large one could
    // make it late.
    if rendering.server_timing.is_some()
        && rendering.body.len() > LARGE_BODY_BYTES
        && choice.allows_identity
    {
        choice.coding = None;
    }
    choice
}

fn long_coding(forms: &EncodedBodies, choice: EncodingChoice) -> Option<ContentCoding> {
    let coding = choice.coding?;
    let is_long = forms.body().len() > MAX_INLINE_CODING_BYTES && !forms.is_encoded(coding);
    is_long.then_some(coding)
}

fn choose_form(
    forms: &EncodedBodies,
    choice: EncodingChoice,
) -> Result<(Bytes, Option<HeaderValue>), ProblemDetails> {
    let encoded = choice.coding.and_then(|coding| {
        let form = forms.get_or_encode(coding, choice.allows_identity)?;
        // A coding makes a small body longer.
        let is_used = form.len() < forms.body().len() || !choice.allows_identity;
        is_used.then(|| (form, Some(coding_name(coding))))
    });
    encoded
        .or_else(|| choice.allows_identity.then(|| (forms.body().clone(), None)))
        .ok_or_else(|| {
            let expected = "gzip, br, zstd or identity";
            let detail = "Accept-Encoding excludes every available coding";
            ProblemDetails::new(ProblemKind::NotAcceptable, detail).with_expected(expected)
        })
}

/// Sets `Content-Encoding`, unless the body has no coding.
pub(crate) fn set_content_encoding(headers: &mut HeaderMap, coding: Option<HeaderValue>) {
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, coding);
    }
}

fn not_modified_response(rendering: &Rendering) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    add_cache_headers(rendering, response.headers_mut());
    response
}

/// Adds the headers that a 200 and a 304 share (RFC 9110 §15.4.5).
fn add_cache_headers(rendering: &Rendering, headers: &mut HeaderMap) {
    headers.insert(ETAG, rendering.etag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(control) = &rendering.cdn_cache_control {
        headers.insert(CDN_CACHE_CONTROL, control.clone());
    }
    headers.insert(CACHE_STATUS, rendering.cache_status.clone());
    headers.insert(VARY, HeaderValue::from_static(rendering.vary));
    if let Some(date) = &rendering.value_date {
        headers.insert(AGE, date.age.clone());
        headers.insert(LAST_MODIFIED, date.last_modified.clone());
    }
}

/// Whether `If-None-Match` contains this weak tag, by weak comparison (RFC 9110 §13.1.2). A
/// malformed field matches nothing.
pub(crate) fn matches_etag(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut fields = request.get_all(IF_NONE_MATCH).iter().peekable();
    if fields.peek().is_none() {
        return false;
    }
    let opaque_tag = etag
        .as_bytes()
        .strip_prefix(b"W/")
        .unwrap_or(etag.as_bytes());
    let mut is_match = false;
    for field in fields {
        let text = field.as_bytes().trim_ascii();
        if text == b"*" {
            is_match = true;
            continue;
        }
        let Some(tags) = parse_entity_tags(text) else {
            return false;
        };
        is_match |= tags.contains(&opaque_tag);
    }
    is_match
}

/// Parses a list of entity tags. Returns their opaque parts with the quotes, or `None` if the list
/// is malformed.
fn parse_entity_tags(mut text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_ascii_start();
        let Some(first) = text.first() else {
            return Some(tags);
        };
        if *first == b',' {
            text = &text[1..];
            continue;
        }
        let tag = text.strip_prefix(b"W/").unwrap_or(text);
        let inner = tag.strip_prefix(b"\"")?;
        let end = inner.iter().position(|b| *b == b'"')?;
        if !inner[..end]
            .iter()
            .all(|b| *b == 0x21 || (0x23..=0x7e).contains(b) || *b >= 0x80)
        {
            return None;
        }
        tags.push(&tag[..end + 2]);
        text = inner[end + 1..].trim_ascii_start();
        if !matches!(text.first(), None | Some(b',')) {
            return None;
        }
    }
}

/// A 200 with this body and `Cache-Control: no-store`.
pub(crate) fn no_store_response(
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> axum::response::Response {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Serialises a response as HTTP/1.1, byte for byte as hyper does, with `date` in the `Date` field.
pub(super) fn encode_response(response: &Response<Bytes>, date: Time) -> Vec<u8> {
    let mut bytes = encode_head(response, date);
    bytes.extend_from_slice(response.body());
    bytes
}

/// Serialises the head of a response like [`encode_response`].
pub(super) fn encode_head(response: &Response<Bytes>, date: Time) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = Vec::with_capacity(1024);
    // Writing to a `Vec` cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {} {reason}\r\n", status.as_str());
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    let date = UNIX_EPOCH + Duration::from_millis(date.as_millis().max(0).unsigned_abs());
    let _ = write!(bytes, "date: {}\r\n\r\n", fmt_http_date(date));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_match(fields: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(field));
        }
        matches_etag(&headers, &HeaderValue::from_static("W/\"5d0c\""))
    }

    #[test]
    fn tags_are_compared_weakly() {
        let five_hundred: &'static str =
            Box::leak(("\"a\", ".repeat(500) + "\"5d0c\"").into_boxed_str());
        let yes: [&[&'static str]; 9] = [
            &["W/\"5d0c\""],
            &["\"5d0c\""],
            &["*"],
            &[" * "],
            &["\"a\", W/\"b,c\",\"5d0c\""],
            &["\"a\"", "\"5d0c\""],
            &[",, \"5d0c\" ,"],
            &["W/\"5d0c\",W/\"x\""],
            &[five_hundred],
        ];
        for fields in yes {
            assert!(fields_match(fields), "{fields:?}");
        }
    }

    #[test]
    fn malformed_tags_never_match() {
        let no: [&[&'static str]; 13] = [
            &[],
            &[""],
            &["\"other\""],
            &["5d0c"],
            &["\"5d0c"],
            &["5d0c\""],
            &["W/5d0c"],
            &["w/\"5d0c\""],
            &["\"5d0c\" \"x\""],
            &["\"5d0c\", \"unbalanced"],
            &["\"5d 0c\", \"5d0c\""],
            &["*, \"x\""],
            &["\"5D0C\""],
        ];
        for fields in no {
            assert!(!fields_match(fields), "{fields:?}");
        }
    }
}
