//! The answer that a request must get, by the contract.

use super::reading::Head;

/// What must come.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Default)]
pub struct Expected {
    /// One of these statuses.
    pub statuses: Vec<u16>,
    /// The code of the problem.
    pub code: Option<&'static str>,
    /// Whether the connection ends with it.
    pub closes: bool,
    /// Whether its body may differ from one time to the next.
    pub is_volatile: bool,
    /// Whether the answer has no body, since it is to HEAD.
    pub is_bodiless: bool,
    /// Whether it never ends.
    pub is_endless: bool,
}

/// What the oracle knows of the service that it tests.
pub struct Knowledge {
    /// The entity tag of the whole snapshot.
    pub etag: String,
}

/// The routes, but for the panel's files.
const ROUTES: [&str; 8] = [
    "/",
    "/resumen",
    "/resumen/stream",
    "/salud",
    "/salud/listo",
    "/salud/fuentes",
    "/metrics",
    "/panel/history.json",
];

const SOURCES: [&str; 3] = ["btc", "clima", "usd"];

type Refusal = (u16, &'static str);

impl Knowledge {
    /// What this request must get.
    pub fn answer(&self, head: &Head) -> Expected {
        let base = Expected {
            is_bodiless: head.method == "HEAD",
            ..Expected::default()
        };
        if let Some((status, code)) = refused(head) {
            return Expected {
                statuses: vec![status],
                code: Some(code),
                closes: true,
                ..base
            };
        }
        let base = Expected {
            closes: closes(head),
            ..base
        };
        let routed = self.route(head);
        Expected {
            closes: base.closes || routed.closes,
            is_bodiless: base.is_bodiless,
            ..routed
        }
    }

    fn route(&self, head: &Head) -> Expected {
        let path = head.uri.path();
        let is_get = head.method == "GET" || head.method == "HEAD";
        let is_known = ROUTES.contains(&path) || path.strip_prefix("/panel/").is_some_and(is_asset);
        if !is_known {
            let any = path == "*" && head.method == "OPTIONS";
            return if any {
                plain(204)
            } else {
                refusal((404, "not_found"))
            };
        }
        if head.method == "OPTIONS" {
            return plain(204);
        }
        if !is_get {
            return refusal((405, "method_not_allowed"));
        }
        match path {
            "/resumen" => self.resumen(head),
            "/resumen/stream" => Expected {
                is_endless: true,
                ..plain(200)
            },
            "/salud" | "/salud/listo" => plain(200),
            "/salud/fuentes" | "/metrics" => Expected {
                is_volatile: true,
                ..plain(200)
            },
            _ => Expected {
                statuses: vec![200, 304, 404, 406],
                is_volatile: true,
                ..Expected::default()
            },
        }
    }

    fn resumen(&self, head: &Head) -> Expected {
        let question = match question(head.uri.query().unwrap_or_default()) {
            Ok(question) => question,
            Err(problem) => return refusal(problem),
        };
        let is_whole = question.sources.is_none_or(|names| names == SOURCES);
        let base = Expected {
            is_volatile: question.is_live,
            ..Expected::default()
        };
        if self.none_match(head, is_whole) {
            return Expected {
                statuses: vec![304],
                ..base
            };
        }
        if !is_acceptable(head) {
            return refusal((406, "not_acceptable"));
        }
        Expected {
            statuses: vec![200],
            ..base
        }
    }

    fn none_match(&self, head: &Head, is_whole: bool) -> bool {
        let ours = self.etag.trim_start_matches("W/").as_bytes();
        let mut found = false;
        for value in head.values("if-none-match") {
            if value == b"*" {
                found = true;
            } else {
                let Some(tags) = tags(value) else {
                    return false;
                };
                found |= is_whole && tags.iter().any(|tag| tag == ours);
            }
        }
        found
    }
}

fn plain(status: u16) -> Expected {
    Expected {
        statuses: vec![status],
        ..Expected::default()
    }
}

fn refusal((status, code): Refusal) -> Expected {
    Expected {
        statuses: vec![status],
        code: Some(code),
        ..Expected::default()
    }
}

/// `{version}/{file}`, neither empty.
fn is_asset(rest: &str) -> bool {
    rest.split_once('/').is_some_and(|(version, file)| {
        !version.is_empty() && !file.is_empty() && !file.contains('/')
    })
}

/// Whether the connection ends after an answer that does not want it to.
fn closes(head: &Head) -> bool {
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
    head.has_body || has("close") || (head.is_old && !has("keep-alive"))
}

/// What is refused before any route, and ends the connection.
fn refused(head: &Head) -> Option<Refusal> {
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
        [] => head.is_old,
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
struct Question {
    is_live: bool,
    sources: Option<Vec<String>>,
}

fn question(query: &str) -> Result<Question, Refusal> {
    let invalid = Err((400, "invalid_parameter"));
    let mut seen: Vec<String> = Vec::new();
    let mut question = Question {
        is_live: false,
        sources: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name).unwrap_or_else(|| name.to_owned());
        if name.starts_with('_') {
            continue;
        }
        if !["fresh", "timeout", "max_age", "sources"].contains(&&*name) {
            return Err((400, "unknown_parameter"));
        }
        if seen.contains(&name) {
            return invalid;
        }
        let Some(value) = decoded(value) else {
            return invalid;
        };
        match &*name {
            "fresh" if ["1", "true"].contains(&&*value) => question.is_live = true,
            "fresh" if ["0", "false"].contains(&&*value) => {}
            "max_age" if is_seconds(&value) => question.is_live = true,
            "timeout"
                if is_seconds(&value) && (1e-9..=30.0).contains(&value.parse::<f64>().unwrap()) => {
            }
            "sources" => question.sources = Some(names(&value)?),
            _ => return invalid,
        }
        seen.push(name);
    }
    let both = ["fresh", "max_age"]
        .iter()
        .all(|name| seen.iter().any(|known| known == name));
    if both { invalid } else { Ok(question) }
}

fn names(value: &str) -> Result<Vec<String>, Refusal> {
    let mut names: Vec<String> = Vec::new();
    for name in value.split(',') {
        if name.is_empty() || names.iter().any(|known| known == name) {
            return Err((400, "invalid_parameter"));
        }
        if !SOURCES.contains(&name) {
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

fn decoded(text: &str) -> Option<String> {
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
fn tags(value: &[u8]) -> Option<Vec<Vec<u8>>> {
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
fn is_acceptable(head: &Head) -> bool {
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
            let Some(is_wanted) = weight_of(weight.trim_matches([' ', '\t'])) else {
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
fn weight_of(text: &str) -> Option<bool> {
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
