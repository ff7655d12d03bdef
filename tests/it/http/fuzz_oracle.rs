//! The oracle: the response to a request by the contract of the service.

use resumen::config::AccessGroup::{self, Data, Live, Panel};

use super::fuzz_access::{OracleToken, find_refusal, groups_of_path};
use super::fuzz_headers::{accepts_json, is_host, parse_entity_tags};
use super::fuzz_parser::ParsedRequestHead;
use super::fuzz_queries::{KNOWN_SOURCES, ParsedQuery, find_value, parse_query, parse_value_path};

/// The expected response.
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Default)]
pub struct ExpectedResponse {
    /// The possible statuses.
    pub statuses: Vec<u16>,
    /// The code of the problem.
    pub code: Option<&'static str>,
    /// Whether the server then closes the connection.
    pub closes_connection: bool,
    /// Whether the body may differ between two requests.
    pub is_volatile: bool,
    /// Whether the response has no body because the method is HEAD.
    pub is_bodiless: bool,
    /// Whether the body is endless.
    pub is_endless: bool,
}

/// Computes expected responses.
pub struct ResponseOracle {
    /// The entity tag of the whole snapshot.
    pub etag: String,
    /// Those of the server; none if it answers everyone.
    pub tokens: &'static [OracleToken],
}

/// The routes, without the files of the panel, values and badges.
const KNOWN_ROUTES: [&str; 11] = [
    "/",
    "/resumen",
    "/resumen/stream",
    "/salud",
    "/salud/listo",
    "/healthz",
    "/readyz",
    "/salud/fuentes",
    "/metrics",
    "/panel/history.json",
    "/panel/appearance.json",
];

/// Status and code.
pub type ExpectedProblem = (u16, &'static str);

impl ResponseOracle {
    /// The expected response to a request.
    pub fn expected_response(&self, head: &ParsedRequestHead) -> ExpectedResponse {
        let base = ExpectedResponse {
            is_bodiless: head.method == "HEAD",
            ..ExpectedResponse::default()
        };
        if let Some((status, code)) = early_problem(head) {
            return ExpectedResponse {
                statuses: vec![status],
                code: Some(code),
                closes_connection: true,
                ..base
            };
        }
        let base = ExpectedResponse {
            closes_connection: closes_connection(head),
            ..base
        };
        let refusal = find_refusal(head, self.tokens, groups_of_path(head.uri.path()));
        let routed = refusal.map_or_else(|| self.expect_route(head), expect_problem);
        ExpectedResponse {
            closes_connection: base.closes_connection || routed.closes_connection,
            is_bodiless: base.is_bodiless,
            ..routed
        }
    }

    fn expect_route(&self, head: &ParsedRequestHead) -> ExpectedResponse {
        let path = head.uri.path();
        let is_get = head.method == "GET" || head.method == "HEAD";
        let below = |prefix: &str| path.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        let (value, badge) = (below("/valor/"), below("/insignia/"));
        let is_known = KNOWN_ROUTES.contains(&path)
            || value.or(badge).is_some()
            || path.strip_prefix("/panel/").is_some_and(is_panel_asset);
        if !is_known {
            let any = path == "*" && head.method == "OPTIONS";
            return if any {
                expect_status(204)
            } else {
                expect_problem((404, "not_found"))
            };
        }
        if head.method == "OPTIONS" {
            return expect_status(204);
        }
        if !is_get {
            return expect_problem((405, "method_not_allowed"));
        }
        if let Some(rest) = value {
            return or_problem(self.expect_value(head, rest));
        }
        if badge.is_some() {
            return or_problem(self.expect_badge(head));
        }
        match path {
            "/resumen" => or_problem(self.expect_resumen(head)),
            "/resumen/stream" => or_problem(expect_stream(head)),
            "/salud" | "/salud/listo" | "/healthz" | "/readyz" => expect_status(200),
            "/salud/fuentes" | "/metrics" => ExpectedResponse {
                is_volatile: true,
                ..expect_status(200)
            },
            _ => ExpectedResponse {
                statuses: vec![200, 304, 404, 406],
                is_volatile: true,
                ..ExpectedResponse::default()
            },
        }
    }

    fn expect_resumen(
        &self,
        head: &ParsedRequestHead,
    ) -> Result<ExpectedResponse, ExpectedProblem> {
        let parameters = ["fresh", "timeout", "max_age", "sources", "format"];
        let query = parse_query(head, &parameters)?;
        self.check_groups(head, &query, &[Data, Panel])?;
        // The tag tells the sources of the answer, not its form.
        let names = query.sources.as_ref();
        let is_whole = names.is_none_or(|names| names == &KNOWN_SOURCES);
        self.expect_rendering(head, query.is_live, is_whole)
    }

    fn expect_value(
        &self,
        head: &ParsedRequestHead,
        rest: &str,
    ) -> Result<ExpectedResponse, ExpectedProblem> {
        let query = parse_query(head, &["fresh", "timeout", "max_age"])?;
        let path = parse_value_path(rest)?;
        self.check_groups(head, &query, &[Data])?;
        find_value(&path)?;
        self.expect_rendering(head, query.is_live, false)
    }

    fn expect_badge(&self, head: &ParsedRequestHead) -> Result<ExpectedResponse, ExpectedProblem> {
        let query = parse_query(head, &[])?;
        self.check_groups(head, &query, &[Data])?;
        self.expect_rendering(head, false, false)
    }

    /// Checks that the request's token grants the response, which one of `groups` does if it is not
    /// live.
    fn check_groups(
        &self,
        head: &ParsedRequestHead,
        query: &ParsedQuery,
        groups: &[AccessGroup],
    ) -> Result<(), ExpectedProblem> {
        let groups = if query.is_live { &[Live][..] } else { groups };
        find_refusal(head, self.tokens, Some(groups)).map_or(Ok(()), Err)
    }

    /// `is_whole`: whether the tag of the response is that of the whole snapshot.
    fn expect_rendering(
        &self,
        head: &ParsedRequestHead,
        is_live: bool,
        is_whole: bool,
    ) -> Result<ExpectedResponse, ExpectedProblem> {
        let status = if self.is_etag_match(head, is_whole) {
            304
        } else if accepts_json(head) {
            200
        } else {
            return Err((406, "not_acceptable"));
        };
        Ok(ExpectedResponse {
            is_volatile: is_live,
            ..expect_status(status)
        })
    }

    fn is_etag_match(&self, head: &ParsedRequestHead, is_whole: bool) -> bool {
        let current = self.etag.trim_start_matches("W/").as_bytes();
        let mut is_match = false;
        for value in head.values("if-none-match") {
            if value == b"*" {
                is_match = true;
            } else {
                let Some(tags) = parse_entity_tags(value) else {
                    return false;
                };
                is_match |= is_whole && tags.iter().any(|tag| tag == current);
            }
        }
        is_match
    }
}

fn expect_stream(head: &ParsedRequestHead) -> Result<ExpectedResponse, ExpectedProblem> {
    parse_query(head, &["sources", "format", "event"])?;
    Ok(ExpectedResponse {
        is_endless: true,
        ..expect_status(200)
    })
}

fn or_problem(expected: Result<ExpectedResponse, ExpectedProblem>) -> ExpectedResponse {
    expected.unwrap_or_else(expect_problem)
}

fn expect_status(status: u16) -> ExpectedResponse {
    ExpectedResponse {
        statuses: vec![status],
        ..ExpectedResponse::default()
    }
}

fn expect_problem((status, code): ExpectedProblem) -> ExpectedResponse {
    ExpectedResponse {
        statuses: vec![status],
        code: Some(code),
        ..ExpectedResponse::default()
    }
}

/// `{version}/{file}`, both not empty.
fn is_panel_asset(rest: &str) -> bool {
    rest.split_once('/').is_some_and(|(version, file)| {
        !version.is_empty() && !file.is_empty() && !file.contains('/')
    })
}

/// Whether the request makes the server close the connection.
fn closes_connection(head: &ParsedRequestHead) -> bool {
    let has_token = |word: &str| {
        let mut values = head
            .values("connection")
            .filter_map(|value| std::str::from_utf8(value).ok());
        values.any(|value| {
            value.is_ascii()
                && value
                    .split(',')
                    .any(|one| one.trim().eq_ignore_ascii_case(word))
        })
    };
    head.has_body || has_token("close") || (head.is_http10 && !has_token("keep-alive"))
}

/// A problem that is detected before the routing and closes the connection.
fn early_problem(head: &ParsedRequestHead) -> Option<ExpectedProblem> {
    let count = |name| head.values(name).count();
    if head.has_bare_lf || count("content-length") + count("transfer-encoding") > 1 {
        // The code depends on the first detected problem.
        return Some((400, if head.has_fragment { "" } else { "bad_framing" }));
    }
    if head.has_fragment {
        return Some((400, "invalid_target"));
    }
    let hosts: Vec<_> = head.values("host").collect();
    let is_hosted = match &hosts[..] {
        [] => head.is_http10,
        [host] => is_host(host),
        _ => false,
    };
    if !is_hosted {
        return Some((400, "invalid_host"));
    }
    if let Some(authority) = head.uri.authority() {
        let is_valid = match head.uri.scheme_str() {
            None => head.method == "CONNECT",
            Some(scheme) => {
                ["http", "https"].contains(&scheme) && is_host(authority.as_str().as_bytes())
            }
        };
        if !is_valid {
            return Some((400, "invalid_target"));
        }
    }
    if head.has_body && ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&&*head.method) {
        return Some((400, "unexpected_body"));
    }
    if !head
        .values("expect")
        .all(|value| value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Some((417, "expectation_failed"));
    }
    (head.method == "CONNECT").then_some((405, "method_not_allowed"))
}
