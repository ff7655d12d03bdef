//! Basic authentication (RFC 7617) with configured credentials or the userinfo of a URL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::domain::Credentials;

/// Returns the `Basic` credentials for `Authorization` or `Proxy-Authorization`: those that are
/// configured, else those of `url`; `None` if there are none.
pub(super) fn basic_credentials(
    url: &Url,
    configured: Option<&Credentials>,
) -> Option<HeaderValue> {
    let (username, password) = match configured {
        Some(Credentials { username, password }) => {
            (username.as_bytes().to_vec(), password.as_bytes().to_vec())
        }
        None if url.username().is_empty() && url.password().is_none() => return None,
        None => (
            percent_decode_str(url.username()).collect(),
            percent_decode_str(url.password().unwrap_or_default()).collect(),
        ),
    };
    // The colon separates even if the password is empty (RFC 7617, section 2).
    let encoded = STANDARD.encode([username, password].join(&b':'));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    // Keeps the value out of `Debug` output and out of the compression table of HTTP/2.
    value.set_sensitive(true);
    Some(value)
}
