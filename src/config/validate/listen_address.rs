//! URLs: of providers, of proxies, of Redis.

use std::net::IpAddr;

use url::{Host, ParseError, Url};

use crate::config::ConfigLoader;
use crate::config::secrets;
use crate::config::{SpannedStr, closest_match, quote};
use crate::domain::{EgressProxy, is_metadata_address};

/// A provider's URL.
pub(crate) fn validate_provider_url(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<Url> {
    let url = parse_url(text, &["http", "https"], cx)?;
    check_destination(&url, text, cx)?;
    if url.fragment().is_some() {
        cx.problems.add_warning(
            &text.span,
            "the part of the URL after `#` is never sent",
            "write `%23` for a literal `#`",
        );
    }
    warn_about_credentials(&url, text, cx);
    Some(url)
}

/// An egress proxy; an empty text is none.
pub(crate) fn validate_proxy_url(
    text: &SpannedStr,
    cx: &mut ConfigLoader<'_>,
) -> Option<EgressProxy> {
    if text.value.is_empty() {
        return None;
    }
    let url = parse_url(text, &["http"], cx)?;
    check_destination(&url, text, cx)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let message = "a proxy has neither path nor query";
        cx.problems.add_error(
            &text.span,
            message,
            "expected `http://[user:password@]host[:port]`",
        );
        return None;
    }
    warn_about_credentials(&url, text, cx);
    Some(EgressProxy(url))
}

/// The address of a Redis; an empty text is none.
pub(crate) fn validate_redis_url(text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<String> {
    if text.value.is_empty() {
        return None;
    }
    let url = parse_url(text, &["redis", "rediss", "unix"], cx)?;
    let path = url.path().trim_matches('/');
    let fault = match url.scheme() {
        "unix" if path.is_empty() || url.has_host() => Some((
            "the URL names no socket",
            "expected `unix:///path/to/socket`",
        )),
        "unix" => None,
        _ if url.host_str().is_none_or(str::is_empty) => Some((
            "the URL has no host",
            "expected `redis://[user:password@]host[:port][/database]`",
        )),
        _ if !path.is_empty() && path.parse::<u32>().is_err() => Some((
            "the path of a Redis URL is the number of a database",
            "expected `redis://host:port/0`",
        )),
        _ => None,
    };
    if let Some((message, help)) = fault {
        cx.problems.add_error(&text.span, message, help);
        return None;
    }
    check_destination(&url, text, cx)?;
    warn_about_credentials(&url, text, cx);
    Some(text.value.clone())
}

/// A URL with one of `schemes`, as strict as an operator needs: what browsers repair in silence is a problem.
fn parse_url(text: &SpannedStr, schemes: &[&str], cx: &mut ConfigLoader<'_>) -> Option<Url> {
    cx.secrets.extend(secrets::url_secrets(&text.value));
    let fault = match (
        url_text_problem(&text.value, schemes),
        Url::parse(&text.value),
    ) {
        (Some(fault), _) => fault,
        (None, Err(error)) => url_parse_problem(error),
        (None, Ok(url)) => {
            cx.secrets.extend(secrets::url_secrets(url.as_str()));
            return Some(url);
        }
    };
    cx.problems.add_error(&text.span, fault.0, fault.1);
    None
}

/// What is wrong with a URL's text before it is taken apart, and what would be right.
fn url_text_problem(text: &str, schemes: &[&str]) -> Option<(String, String)> {
    let expected = format!("expected `{}://…`", schemes.join("://…` or `"));
    if text.is_empty() {
        return Some(("the URL is empty".into(), expected));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || *c == '\\')
    {
        let help =
            "expected neither spaces nor control characters nor `\\`; a space is written `%20`";
        return Some((
            format!("the URL holds {}", quote(&bad.to_string())),
            help.into(),
        ));
    }
    let Some((scheme, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| scheme.chars().all(is_scheme_char))
    else {
        return Some(("the URL has no scheme".into(), expected));
    };
    if !schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
        let near = closest_match(scheme, schemes.iter().copied());
        let help = near.map_or(expected, |near| format!("did you mean `{near}://`?"));
        return Some((
            format!("the scheme {} will not do here", quote(scheme)),
            help,
        ));
    }
    let hostless = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    (hostless && !scheme.eq_ignore_ascii_case("unix")).then(|| {
        (
            "the URL has no host".into(),
            format!("expected `{scheme}://host/…`"),
        )
    })
}

fn is_scheme_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

fn url_parse_problem(error: ParseError) -> (String, String) {
    let (message, help) = match error {
        ParseError::EmptyHost => (
            "the URL has no host",
            "expected one between `://` and the path",
        ),
        ParseError::InvalidPort => (
            "the port of the URL is none",
            "expected a number from 1 to 65535",
        ),
        ParseError::InvalidIpv4Address => (
            "the host of the URL is no IPv4 address, though it looks like one",
            "expected one such as `127.0.0.1`",
        ),
        ParseError::InvalidIpv6Address => (
            "the host of the URL is no IPv6 address, though it looks like one",
            "expected one such as `[::1]`",
        ),
        other => {
            return (
                format!("the host of the URL is none: {other}"),
                "expected a name or an address".into(),
            );
        }
    };
    (message.into(), help.into())
}

/// Whether anything can and may be connected to at the URL's host and port.
fn check_destination(url: &Url, text: &SpannedStr, cx: &mut ConfigLoader<'_>) -> Option<()> {
    let literal = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(name)) => name.parse().ok(),
        None => None,
    };
    if literal.is_some_and(is_metadata_address) {
        let help = "every attempt will be `destination_blocked`: no key allows this host";
        cx.problems.add_warning(
            &text.span,
            "the host of the URL is a cloud's metadata service",
            help,
        );
    }
    if url.port() == Some(0) {
        cx.problems.add_error(
            &text.span,
            "the port of the URL is 0",
            "expected a number from 1 to 65535",
        );
        return None;
    }
    Some(())
}

/// Credentials belong into the environment or a file, not into the configuration's text.
fn warn_about_credentials(url: &Url, text: &SpannedStr, cx: &mut ConfigLoader<'_>) {
    let any = !url.username().is_empty() || url.password().is_some();
    if any
        && find_userinfo(text.as_written())
            .is_some_and(|userinfo| has_literal_secret(userinfo, url))
    {
        let message = "credentials are written into the URL";
        cx.problems.add_warning(
            &text.span,
            message,
            "take them from `${NAME}` or `${file:PATH}`",
        );
    }
}

/// Whether the secret part of what the file says is there in plain text.
fn has_literal_secret(userinfo: &str, url: &Url) -> bool {
    let password = userinfo.split_once(':').map(|(_, password)| password);
    let secret = url.password().and(password).unwrap_or(userinfo);
    !secret.contains("${")
}

/// What stands before the `@` in a URL as it is written. A reference in it may hold a `/`.
fn find_userinfo(written: &str) -> Option<&str> {
    let rest = written.split_once("://")?.1;
    rest.split(['?', '#'])
        .next()?
        .rsplit_once('@')
        .map(|(userinfo, _)| userinfo)
}
