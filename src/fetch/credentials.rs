//! Basic authentication (RFC 7617) with the userinfo of a URL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// Returns the `Basic` credentials of `url` for `Authorization` or `Proxy-Authorization`; `None` if
/// the URL has no userinfo.
pub(super) fn basic_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    // The colon separates even if the password is absent (RFC 7617, section 2).
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    let encoded = format!("Basic {}", STANDARD.encode(&credentials));
    let mut value = HeaderValue::try_from(encoded).ok()?;
    // Keeps the value out of `Debug` output and out of the compression table of HTTP/2.
    value.set_sensitive(true);
    Some(value)
}
