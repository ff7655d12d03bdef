//! The answer that a request must get, by the contract.

use super::fuzz_parser::ParsedRequestHead;

/// What must come.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Default)]
pub struct ExpectedResponse {
    /// One of these statuses.
    pub statuses: Vec<u16>,
    /// The code of the problem.
    pub code: Option<&'static str>,
    /// Whether the connection ends with it.
    pub closes_connection: bool,
    /// Whether its body may differ from one time to the next.
    pub is_volatile: bool,
    /// Whether the answer has no body, since it is to HEAD.
    pub is_bodiless: bool,
    /// Whether it never ends.
    pub is_endless: bool,
}

/// What the oracle knows of the service that it tests.
pub struct ResponseOracle {
    /// The entity tag of the whole snapshot.
    pub etag: String,
}

/// The routes, but for the panel's files.
const KNOWN_ROUTES: [&str; 8] = [
    "/",
    "/resumen",
    "/resumen/stream",
    "/salud",
    "/salud/listo",
    "/salud/fuentes",
    "/metrics",
    "/panel/history.json",
];

const KNOWN_SOURCES: [&str; 3] = ["btc", "clima", "usd"];

type ExpectedProblem = (u16, &'static str);

impl ResponseOracle {
    /// What this request must get.
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
        let routed = self.expect_route(head);
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
        let question = match parse_query(head.uri.query().unwrap_or_default()) {
            Ok(question) => question,
            Err(problem) => return expect_problem(problem),
        };
        let is_whole = question.sources.is_none_or(|names| names == KNOWN_SOURCES);
        let base = ExpectedResponse {
            is_volatile: question.is_live,
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
        let ours = self.etag.trim_start_matches("W/").as_bytes();
        let mut found = false;
        for value in head.values("if-none-match") {
            if value == b"*" {
                found = true;
            } else {
                let Some(tags) = parse_entity_tags(value) else {
                    return false;
                };
                found |= is_whole && tags.iter().any(|tag| tag == ours);
            }
        }
        found
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

/// `{version}/{file}`, neither empty.
fn is_panel_asset(rest: &str) -> bool {
    rest.split_once('/').is_some_and(|(version, file)| {
        !version.is_empty() && !file.is_empty() && !file.contains('/')
    })
}

/// Whether the connection ends after an answer that does not want it to.
fn closes_connection(head: &ParsedRequestHead) -> bool {
    let has = |word: &str| {
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
    head.has_body || has("close") || (head.is_http10 && !has("keep-alive"))
}

/// What is refused before any route, and ends the connection.
fn early_problem(head: &ParsedRequestHead) -> Option<ExpectedProblem> {
    let count = |name| head.values(name).count();
    if head.has_bare_lf || count("content-length") + count("transfer-encoding") > 1 {
        // Whichever comes first is named.
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
        let is_ours = match head.uri.scheme_str() {
            None => head.method == "CONNECT",
            Some(scheme) => {
                ["http", "https"].contains(&scheme) && is_host(authority.as_str().as_bytes())
            }
        };
        if !is_ours {
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

/// `uri-host [ ":" port ]`
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let is_address = |c: char| c.is_ascii_alphanumeric() || ":.".contains(c);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=".contains(c);
    let (is_sound, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, port)) = rest.split_once(']') else {
            return false;
        };
        (!inside.is_empty() && inside.chars().all(is_address), port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (!host.is_empty() && host.chars().all(is_name), port)
    };
    let is_port = port.strip_prefix(':').map_or(port.is_empty(), |digits| {
        digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit())
    });
    is_sound && is_port
}

/// What the query of `/resumen` asks for.
struct ResumenQuery {
    is_live: bool,
    sources: Option<Vec<String>>,
}

fn parse_query(query: &str) -> Result<ResumenQuery, ExpectedProblem> {
    let invalid = Err((400, "invalid_parameter"));
    let mut seen: Vec<String> = Vec::new();
    let mut question = ResumenQuery {
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
            "fresh" if ["1", "true"].contains(&&*value) => question.is_live = true,
            "fresh" if ["0", "false"].contains(&&*value) => {}
            "max_age" if is_seconds(&value) => question.is_live = true,
            "timeout"
                if is_seconds(&value) && (1e-9..=30.0).contains(&value.parse::<f64>().unwrap()) => {
            }
            "sources" => question.sources = Some(parse_source_names(&value)?),
            _ => return invalid,
        }
        seen.push(name);
    }
    let both = ["fresh", "max_age"]
        .iter()
        .all(|name| seen.iter().any(|known| known == name));
    if both { invalid } else { Ok(question) }
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

/// The opaque parts of a list of entity tags; none if it is no such list.
fn parse_entity_tags(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tags = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return Some(tags),
            [b',', tail @ ..] => {
                rest = tail;
                continue;
            }
            _ => {}
        }
        let tag = rest
            .strip_prefix(b"W/")
            .unwrap_or(rest)
            .strip_prefix(b"\"")?;
        let end = tag.iter().position(|byte| *byte == b'"')?;
        if tag[..end].iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return None;
        }
        tags.push([b"\"", &tag[..end], b"\""].concat());
        rest = tag[end + 1..].trim_ascii_start();
        if !rest.is_empty() && rest[0] != b',' {
            return None;
        }
    }
}

/// Whether some form of the body is acceptable (RFC 9110 §12.5.3).
fn accepts_json(head: &ParsedRequestHead) -> bool {
    let mut weights: Vec<(String, bool)> = Vec::new();
    for value in head
        .values("accept-encoding")
        .filter_map(|value| std::str::from_utf8(value).ok())
    {
        if !value
            .bytes()
            .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        {
            continue;
        }
        for element in value.split(',') {
            let (name, weight) = element.split_once(';').unwrap_or((element, "q=1"));
            let name = name.trim_matches([' ', '\t']).to_ascii_lowercase();
            let Some(is_wanted) = is_weight_positive(weight.trim_matches([' ', '\t'])) else {
                continue;
            };
            let name = if name == "x-gzip" {
                "gzip".into()
            } else {
                name
            };
            weights.retain(|(known, _)| *known != name);
            weights.push((name, is_wanted));
        }
    }
    let told = |name: &str| {
        weights
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, is_wanted)| *is_wanted)
    };
    let any = told("*");
    let is_plain_fine = told("identity").or(any).unwrap_or(true);
    is_plain_fine
        || ["gzip", "br", "zstd"]
            .iter()
            .any(|coding| told(coding).or(any).unwrap_or(false))
}

/// Whether a weight is more than nothing; none if it is no weight.
fn is_weight_positive(text: &str) -> Option<bool> {
    let number = text
        .strip_prefix("q=")
        .or_else(|| text.strip_prefix("Q="))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !["0", "1"].contains(&whole)
        || fraction.len() > 3
        || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let is_part = fraction.bytes().any(|b| b != b'0');
    (whole == "0" || !is_part).then_some(whole == "1" || is_part)
}
