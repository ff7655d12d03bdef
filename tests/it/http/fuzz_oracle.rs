//! The oracle: the response to a request by the contract of the service.

use resumen::config::AccessGroup::{Data, Live, Panel};

use super::fuzz_access::{OracleToken, find_refusal, groups_of_path};
use super::fuzz_headers::{accepts_json, is_host, parse_entity_tags};
use super::fuzz_parser::ParsedRequestHead;

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

/// The routes, without the files of the panel.
const KNOWN_ROUTES: [&str; 9] = [
    "/",
    "/resumen",
    "/resumen/stream",
    "/salud",
    "/salud/listo",
    "/salud/fuentes",
    "/metrics",
    "/panel/history.json",
    "/panel/appearance.json",
];

const KNOWN_SOURCES: [&str; 3] = ["btc", "clima", "usd"];

type ExpectedProblem = (u16, &'static str);

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
        let is_known = KNOWN_ROUTES.contains(&path)
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
        match path {
            "/resumen" => self.expect_resumen(head),
            "/resumen/stream" => ExpectedResponse {
                is_endless: true,
                ..expect_status(200)
            },
            "/salud" | "/salud/listo" => expect_status(200),
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

    fn expect_resumen(&self, head: &ParsedRequestHead) -> ExpectedResponse {
        let query_parameters = match parse_query(head.uri.query().unwrap_or_default()) {
            Ok(query_parameters) => query_parameters,
            Err(problem) => return expect_problem(problem),
        };
        let groups = if query_parameters.is_live {
            &[Live][..]
        } else {
            &[Data, Panel]
        };
        if let Some(refusal) = find_refusal(head, self.tokens, Some(groups)) {
            return expect_problem(refusal);
        }
        let is_whole = query_parameters
            .sources
            .is_none_or(|names| names == KNOWN_SOURCES);
        let base = ExpectedResponse {
            is_volatile: query_parameters.is_live,
            ..ExpectedResponse::default()
        };
        if self.is_etag_match(head, is_whole) {
            return ExpectedResponse {
                statuses: vec![304],
                ..base
            };
        }
        if !accepts_json(head) {
            return expect_problem((406, "not_acceptable"));
        }
        ExpectedResponse {
            statuses: vec![200],
            ..base
        }
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

/// The query of `/resumen`.
struct ResumenQuery {
    is_live: bool,
    sources: Option<Vec<String>>,
}

fn parse_query(query: &str) -> Result<ResumenQuery, ExpectedProblem> {
    let invalid = Err((400, "invalid_parameter"));
    let mut seen: Vec<String> = Vec::new();
    let mut query_parameters = ResumenQuery {
        is_live: false,
        sources: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(name).unwrap_or_else(|| name.to_owned());
        if name.starts_with('_') {
            continue;
        }
        if !["fresh", "timeout", "max_age", "sources"].contains(&&*name) {
            return Err((400, "unknown_parameter"));
        }
        if seen.contains(&name) {
            return invalid;
        }
        let Some(value) = percent_decode(value) else {
            return invalid;
        };
        match &*name {
            "fresh" if ["1", "true"].contains(&&*value) => query_parameters.is_live = true,
            "fresh" if ["0", "false"].contains(&&*value) => {}
            "max_age" if is_seconds(&value) => query_parameters.is_live = true,
            "timeout"
                if is_seconds(&value) && (1e-9..=30.0).contains(&value.parse::<f64>().unwrap()) => {
            }
            "sources" => query_parameters.sources = Some(parse_source_names(&value)?),
            _ => return invalid,
        }
        seen.push(name);
    }
    let both = ["fresh", "max_age"]
        .iter()
        .all(|name| seen.iter().any(|known| known == name));
    if both { invalid } else { Ok(query_parameters) }
}

fn parse_source_names(value: &str) -> Result<Vec<String>, ExpectedProblem> {
    let mut names: Vec<String> = Vec::new();
    for name in value.split(',') {
        if name.is_empty() || names.iter().any(|known| known == name) {
            return Err((400, "invalid_parameter"));
        }
        if !KNOWN_SOURCES.contains(&name) {
            return Err((400, "unknown_source"));
        }
        names.push(name.into());
    }
    Ok(names)
}

/// `[0-9]{1,9}(\.[0-9]{1,9})?`
fn is_seconds(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    let is_number =
        |part: &&str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() <= 2 && parts.iter().all(is_number)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        out.push(if byte == b'%' {
            (hex(bytes.next()?)? * 16 + hex(bytes.next()?)?) as u8
        } else {
            byte
        });
    }
    String::from_utf8(out).ok()
}
