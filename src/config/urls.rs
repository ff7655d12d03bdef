//! URLs of providers, proxies and Redis servers. Parsing is strict: what browsers repair silently is an error.

use url::{ParseError, Position, Url};

use crate::domain::{Time, is_metadata_host};
use crate::text::{find_nearest, quote};

use super::expand::example_text;
use super::loader::ConfigLoader;
use super::problems::{ValueError, refuse};
use super::secrets;
use super::span::SpannedStr;

/// 2031-11-22T13:44:55Z: in any format, it differs from the example in the value of a text.
const OTHER_EXAMPLE_TIME: Time = Time::from_millis(1_953_121_495_000);

/// The URL that `text` spells, with one of `schemes`. Its credentials and query values become secrets. Errors and unwise
/// contents become problems.
pub(super) fn parse_url(
    text: &SpannedStr,
    schemes: &[&str],
    loader: &mut ConfigLoader<'_>,
) -> Option<Url> {
    // Before the first error: its message shows the line with the URL.
    let value = match &text.request_text {
        None => text.value.clone(),
        // A date may stand in the middle of a secret, whose parts are secrets then.
        Some(parts) => parts.literals().collect::<Vec<_>>().join("&"),
    };
    loader.secrets.extend(secrets::url_secrets(&value));
    loader
        .plain_values
        .extend(secrets::plain_parameters(&value));
    let checked = check_url(&text.value, schemes);
    let url = loader.check(text, checked)?;
    if let Some(parts) = &text.request_text {
        let other = Url::parse(&example_text(parts, OTHER_EXAMPLE_TIME)).ok();
        let before_path = |url: &Url| url[..Position::BeforePath].to_owned();
        let is_same = other.is_some_and(|other| before_path(&other) == before_path(&url));
        let help = "dates and fields of a login are possible in the path and the query";
        let checked = if is_same {
            Ok(())
        } else {
            refuse(
                "the host, port or credentials of the URL depend on a date or a login",
                help,
            )
        };
        loader.check(text, checked)?;
    }
    // The parser may percent-encode credentials in another way than the file.
    loader.secrets.extend(secrets::url_secrets(url.as_str()));
    if url.host().is_some_and(|host| is_metadata_host(&host)) {
        let message = "the host of the URL is the metadata service of a cloud";
        let help = "every attempt will be `destination_blocked`: no key allows this host";
        loader.warning(&text.span, message, help);
    }
    if has_literal_credentials(&url, text.as_written()) {
        let help = "take them from `${NAME}` or `${file:PATH}`";
        loader.warning(&text.span, "credentials are written into the URL", help);
    }
    Some(url)
}

/// The URL that `text` spells, with one of `schemes`.
pub(super) fn check_url(text: &str, schemes: &[&str]) -> Result<Url, ValueError> {
    check_url_text(text, schemes)?;
    let error = match Url::parse(text) {
        // Valid as a URL, but no connection can be made to it.
        Ok(url) if url.port() == Some(0) => ParseError::InvalidPort,
        Ok(url) => return Ok(url),
        Err(error) => error,
    };
    let help = match error {
        ParseError::InvalidPort => "expected a port from 1 to 65535",
        _ => "expected a host such as `example.org`, `127.0.0.1` or `[::1]`",
    };
    refuse(format!("the URL is invalid: {error}"), help)
}

/// Refuses a URL's text by what the parser would repair or report less clearly.
fn check_url_text(text: &str, schemes: &[&str]) -> Result<(), ValueError> {
    let expected = || format!("expected `{}://…`", schemes.join("://…` or `"));
    if text.is_empty() {
        return refuse("the URL is empty", expected());
    }
    // The parser drops tabs and line breaks and turns `\` into `/`, so that another URL would be
    // called.
    let is_forbidden = |c: &char| c.is_whitespace() || c.is_control() || *c == '\\';
    if let Some(forbidden) = text.chars().find(is_forbidden) {
        let message = format!("the URL contains {}", quote(&forbidden.to_string()));
        let help = "write a space as `%20`; control characters and `\\` are not accepted";
        return refuse(message, help);
    }
    let is_scheme_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let parts = text.split_once("://");
    let Some((scheme, rest)) = parts.filter(|(scheme, _)| scheme.chars().all(is_scheme_char))
    else {
        return refuse("the URL has no scheme", expected());
    };
    if !schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
        let nearest = find_nearest(scheme, schemes.iter().copied());
        let help = nearest.map_or_else(expected, |near| format!("did you mean `{near}://`?"));
        let message = format!("the scheme {} is not accepted here", quote(scheme));
        return refuse(message, help);
    }
    let has_no_host = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    if has_no_host && !scheme.eq_ignore_ascii_case("unix") {
        let help = format!("expected `{scheme}://host/…`");
        return refuse("the URL has no host", help);
    }
    Ok(())
}

/// Whether the file itself contains the URL's password, or its user if there is no password.
fn has_literal_credentials(url: &Url, written: &str) -> bool {
    if url.username().is_empty() && url.password().is_none() {
        return false;
    }
    // A reference in the user or the password may contain a `/`, so only `?` and `#` end the search for `@`.
    let rest = written
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['?', '#']).next());
    let Some((userinfo, _)) = rest.and_then(|rest| rest.rsplit_once('@')) else {
        return false;
    };
    let password = userinfo.split_once(':').map(|(_, password)| password);
    let secret = url.password().and(password).unwrap_or(userinfo);
    !secret.contains("${")
}
