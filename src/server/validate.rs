//! Rejects requests before routing: ambiguous framing, an invalid host or target, a body where none
//! is allowed, and expectations or methods that the server does not support.
//!
//! hyper has checked syntax and sizes already; `framing` has found the problems that hyper does not
//! report.

use std::net::Ipv6Addr;

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Version};

use super::framing::FramingProblem;
use super::host_policy::HostPolicy;
use super::problem::{ProblemDetails, ProblemKind};
use super::route_access::RouteAccess;

/// Validates a request for a route with this access. `has_body`: its framing announces a body.
pub(super) fn validate_request(
    head: &Parts,
    has_body: bool,
    framing_problem: Option<FramingProblem>,
    access: RouteAccess,
    hosts: &HostPolicy,
) -> Result<(), ProblemDetails> {
    if let Some(problem) = framing_problem {
        return Err(describe_framing(problem));
    }
    check_host(head)?;
    check_target(head)?;
    if access != RouteAccess::Everyone {
        hosts.check_request(head)?;
    }
    if has_body || head.headers.contains_key(TRANSFER_ENCODING) {
        check_body(head)?;
    }
    let is_met =
        |expectation: &HeaderValue| expectation.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !head.headers.get_all(EXPECT).iter().all(is_met) {
        let problem = ProblemDetails::new(
            ProblemKind::ExpectationFailed,
            "the only supported expectation is `100-continue`",
        );
        return Err(problem.with_connection_close());
    }
    match head.method {
        Method::CONNECT => Err(ProblemDetails::new(
            ProblemKind::MethodNotAllowed,
            "the server is not a proxy",
        )
        .with_connection_close()),
        _ => Ok(()),
    }
}

fn describe_framing(problem: FramingProblem) -> ProblemDetails {
    let (kind, detail) = match problem {
        FramingProblem::BareLf => (
            ProblemKind::BadFraming,
            "a line of the request's head ends with LF without CR",
        ),
        FramingProblem::AmbiguousLength => (
            ProblemKind::BadFraming,
            "the request may have one Content-Length or one Transfer-Encoding, not both or several",
        ),
        FramingProblem::TargetFragment => (
            ProblemKind::InvalidTarget,
            "the request's target must not have a fragment (`#`)",
        ),
    };
    ProblemDetails::new(kind, detail).with_connection_close()
}

/// HTTP/1.1 requires exactly one `Host`; HTTP/1.0 may have none (RFC 9112 §3.2), and HTTP/2 has
/// `:authority` instead (RFC 9113 §8.3.1).
fn check_host(head: &Parts) -> Result<(), ProblemDetails> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let detail = match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => return Ok(()),
        (None, _) if head.version == Version::HTTP_10 => return Ok(()),
        (None, _) if head.version == Version::HTTP_2 && head.uri.authority().is_some() => {
            return Ok(());
        }
        (Some(_), None) => "the value is not a host with an optional port",
        (Some(_), Some(_)) => "the field is repeated",
        (None, _) => "the field is missing",
    };
    let problem = ProblemDetails::new(ProblemKind::InvalidHost, detail)
        .with_param("Host")
        .with_expected("a host name or address, and a port");
    Err(problem.with_connection_close())
}

/// The target must be a path or an absolute http(s) URL; an authority alone is for CONNECT only
/// (RFC 9112 §3.2).
fn check_target(head: &Parts) -> Result<(), ProblemDetails> {
    let Some(authority) = head.uri.authority() else {
        return Ok(());
    };
    let detail = match head.uri.scheme_str() {
        None if head.method == Method::CONNECT => return Ok(()),
        None => "the request's target is neither a path nor a URL",
        Some("http" | "https") if is_host(authority.as_str().as_bytes()) => return Ok(()),
        Some("http" | "https") => "the URL's authority is not a host with an optional port",
        Some(_) => "the URL's scheme is neither http nor https",
    };
    Err(ProblemDetails::new(ProblemKind::InvalidTarget, detail)
        .with_expected("a path that begins with `/`")
        .with_connection_close())
}

/// GET, HEAD, OPTIONS and TRACE must not have a body. Other methods get a 405 with or without one.
fn check_body(head: &Parts) -> Result<(), ProblemDetails> {
    if [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&head.method) {
        return Err(ProblemDetails::new(
            ProblemKind::UnexpectedBody,
            format!("a {} request must not have a body", head.method),
        )
        .with_connection_close());
    }
    Ok(())
}

/// Whether `value` is a non-empty `uri-host [ ":" port ]` (RFC 9110 §7.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = if let [b'[', rest @ ..] = value {
        let Some(end) = rest.iter().position(|b| *b == b']') else {
            return false;
        };
        // A name in brackets would pass `server.hosts` as an address.
        let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        if address.parse::<Ipv6Addr>().is_err() {
            return false;
        }
        (None, &rest[end + 1..])
    } else {
        let end = value.iter().position(|b| *b == b':').unwrap_or(value.len());
        (Some(&value[..end]), &value[end..])
    };
    let is_valid_host =
        host.is_none_or(|host| !host.is_empty() && host.iter().all(|b| is_name_byte(*b)));
    let is_valid_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_valid_host && is_valid_port
}

/// Whether a `reg-name` may contain the byte (RFC 3986 §3.2.2).
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
            "",
            ":80",
            "a b",
            "a:b",
            "a:123456",
            "a@b",
            "a/b",
            "[]",
            "[::1",
            "[::1]x",
            "a, b",
            "a:80:80",
            "ñ",
            "[a.example]",
            "[v1.a]",
            "[::g]",
            "[1.2.3.4]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
