//! Header fields as the oracle parses them.

use super::fuzz_parser::ParsedRequestHead;

/// `uri-host [ ":" port ]`
pub fn is_host(value: &[u8]) -> bool {
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

/// The opaque tags of a list of entity tags. `None` if the list is malformed.
pub fn parse_entity_tags(value: &[u8]) -> Option<Vec<Vec<u8>>> {
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

/// Whether the client accepts an encoding of the body (RFC 9110 §12.5.3).
pub fn accepts_json(head: &ParsedRequestHead) -> bool {
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
    let weight_of = |name: &str| {
        weights
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, is_wanted)| *is_wanted)
    };
    let any = weight_of("*");
    let is_plain_accepted = weight_of("identity").or(any).unwrap_or(true);
    is_plain_accepted
        || ["gzip", "br", "zstd"]
            .iter()
            .any(|coding| weight_of(coding).or(any).unwrap_or(false))
}

/// Whether a weight is positive. `None` if it is malformed.
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
    let has_fraction = fraction.bytes().any(|b| b != b'0');
    (whole == "0" || !has_fraction).then_some(whole == "1" || has_fraction)
}
