//! Configured credentials or those of a URL, and Basic authentication (RFC 7617) with them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::domain::Credentials;

/// Returns the user and the password of a request: those that are configured, else those of `url`; `None` if there are
/// none.
pub(super) fn find_credentials(url: &Url, configured: Option<&Credentials>) -> Option<Credentials> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into();
    match configured {
        Some(configured) => Some(configured.clone()),
        None if url.username().is_empty() && url.password().is_none() => None,
        None => Some(Credentials {
            username: decode(url.username()),
            password: decode(url.password().unwrap_or_default()),
        }),
    }
}

/// Removes what a request does not have in its URL: user, password and fragment (RFC 9110, section 4.2.4).
pub(super) fn remove_unsent_parts(url: &mut Url) {
    // Both fail only for a URL without a host, which has no user.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_fragment(None);
}

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
