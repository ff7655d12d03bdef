//! Requests that are refused before any route sees them, because two readers could understand them differently or
//! because they ask for what is not done here.
//!
//! What the library refuses by itself (syntax, sizes) does not come this far; `lines` sees what it does not tell.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Version};

use super::framing::FramingProblem;
use super::problem::{ProblemDetails, ProblemKind};

/// Why this request is refused, if it is. `has_body` tells whether its framing announces one.
pub(crate) fn validate_request(
    head: &Parts,
    has_body: bool,
    fault: Option<FramingProblem>,
) -> Result<(), ProblemDetails> {
    if let Some(fault) = fault {
        return Err(describe_framing(fault));
    }
    check_host(head)?;
    check_target(head)?;
    if has_body || head.headers.contains_key(TRANSFER_ENCODING) {
        check_body(head)?;
    }
    let is_met =
        |expectation: &HeaderValue| expectation.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !head.headers.get_all(EXPECT).iter().all(is_met) {
        let problem = ProblemDetails::new(
            ProblemKind::ExpectationFailed,
            "the only expectation that can be met is `100-continue`",
        );
        return Err(problem.with_connection_close());
    }
    match head.method {
        Method::CONNECT => Err(ProblemDetails::new(
            ProblemKind::MethodNotAllowed,
            "this is no proxy",
        )
        .with_connection_close()),
        _ => Ok(()),
    }
}

fn describe_framing(fault: FramingProblem) -> ProblemDetails {
    let (kind, detail) = match fault {
        FramingProblem::BareLf => (
            ProblemKind::BadFraming,
            "a line of the request's head ends in LF without CR",
        ),
        FramingProblem::AmbiguousLength => (
            ProblemKind::BadFraming,
            "Content-Length and Transfer-Encoding may come once, and only one of them",
        ),
        FramingProblem::TargetFragment => (
            ProblemKind::InvalidTarget,
            "a request's target has no fragment (`#`)",
        ),
    };
    ProblemDetails::new(kind, detail).with_connection_close()
}

/// HTTP/1.1 wants exactly one; HTTP/1.0 may have none.
fn check_host(head: &Parts) -> Result<(), ProblemDetails> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => return Ok(()),
        (None, _) if head.version == Version::HTTP_10 => return Ok(()),
        (Some(_), None) => "its value is no host with an optional port",
        (Some(_), Some(_)) => "it may come only once",
        (None, _) => "it is missing",
    };
    let problem = ProblemDetails::new(ProblemKind::InvalidHost, detail)
        .with_param("Host")
        .with_expected("a host name or address, and a port");
    Err(problem.with_connection_close())
}

/// A path, or a whole URL of ours; `authority` alone is for CONNECT only.
fn check_target(head: &Parts) -> Result<(), ProblemDetails> {
    let Some(authority) = head.uri.authority() else {
        return Ok(());
    };
    let detail = match head.uri.scheme_str() {
        None if head.method == Method::CONNECT => return Ok(()),
        None => "the request's target is neither a path nor a URL",
        Some("http" | "https") if is_host(authority.as_str().as_bytes()) => return Ok(()),
        Some("http" | "https") => "the URL's authority is no host with an optional port",
        Some(_) => "the URL's scheme is neither http nor https",
    };
    Err(ProblemDetails::new(ProblemKind::InvalidTarget, detail)
        .with_expected("a path that begins with `/`")
        .with_connection_close())
}

/// Other methods than these are refused anyway, with or without a body.
fn check_body(head: &Parts) -> Result<(), ProblemDetails> {
    if [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&head.method) {
        return Err(ProblemDetails::new(
            ProblemKind::UnexpectedBody,
            format!("{} takes no body here", head.method),
        )
        .with_connection_close());
    }
    Ok(())
}

/// `uri-host [ ":" port ]` of RFC 9110 §7.2, not empty.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host, port) = if let [b'[', rest @ ..] = value {
        let Some(end) = rest.iter().position(|b| *b == b']') else {
            return false;
        };
        let inside = &rest[..end];
        if inside.is_empty()
            || !inside
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b":.".contains(b))
        {
            return false;
        }
        (None, &rest[end + 1..])
    } else {
        let end = value.iter().position(|b| *b == b':').unwrap_or(value.len());
        (Some(&value[..end]), &value[end..])
    };
    let named = host.is_none_or(|host| !host.is_empty() && host.iter().all(|b| is_name_byte(*b)));
    let numbered = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    named && numbered
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_syntax_is_checked() {
        for good in [
            "localhost",
            "localhost:8080",
            "127.0.0.1",
            "[::1]:80",
            "[::1]",
            "a.b-c_d.example",
            "a:",
            "x%20y",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a:b", "a:123456", "a@b", "a/b", "[]", "[::1", "[::1]x", "a, b",
            "a:80:80", "ñ",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
