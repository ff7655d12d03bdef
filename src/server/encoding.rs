//! Negotiation of the content coding by `Accept-Encoding` (RFC 9110 §12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::render::ContentCoding;

/// The content codings that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EncodingChoice {
    /// The preferred coding; `None` if the client prefers the body without a coding.
    pub(super) coding: Option<ContentCoding>,
    /// Whether the client accepts a body without a coding.
    pub(super) allows_identity: bool,
}

/// The value of `Content-Encoding`.
pub(super) const fn coding_name(coding: ContentCoding) -> HeaderValue {
    HeaderValue::from_static(match coding {
        ContentCoding::Brotli => "br",
        ContentCoding::Zstd => "zstd",
        ContentCoding::Gzip => "gzip",
    })
}

fn is_coding_name(coding: ContentCoding, name: &str) -> bool {
    match coding {
        ContentCoding::Brotli => name.eq_ignore_ascii_case("br"),
        ContentCoding::Zstd => name.eq_ignore_ascii_case("zstd"),
        ContentCoding::Gzip => {
            name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip")
        }
    }
}

impl EncodingChoice {
    const IDENTITY: Self = Self {
        coding: None,
        allows_identity: true,
    };

    /// Parses every `Accept-Encoding` field. Elements that are not a coding with a valid weight are
    /// ignored.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        if fields.peek().is_none() {
            return Self::IDENTITY;
        }
        let mut weights = EncodingWeights::default();
        fields
            .filter_map(|field| field.to_str().ok())
            .for_each(|field| weights.parse_field(field));
        weights.choose_encoding()
    }
}

/// The weights in the fields, in thousandths; `None` where a coding is not named.
#[derive(Default)]
struct EncodingWeights {
    /// In the order of [`ContentCoding::ALL`].
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    wildcard: Option<u16>,
}

impl EncodingWeights {
    fn parse_field(&mut self, field: &str) {
        for element in field.split(',') {
            let (name, weight) = element.split_once(';').unwrap_or((element, "q=1"));
            let name = name.trim_matches([' ', '\t']);
            let Some(weight) = parse_weight(weight) else {
                continue;
            };
            if name == "*" {
                self.wildcard = Some(weight);
            } else if name.eq_ignore_ascii_case("identity") {
                self.identity = Some(weight);
            } else if let Some(index) = ContentCoding::ALL
                .into_iter()
                .position(|coding| is_coding_name(coding, name))
            {
                self.codings[index] = Some(weight);
            }
        }
    }

    fn choose_encoding(&self) -> EncodingChoice {
        let weight = |index: &usize| self.codings[*index].or(self.wildcard).unwrap_or(0);
        // `max_by_key` returns the last maximum; reversed, equal weights prefer the server's order.
        let best = (0..3).rev().max_by_key(weight).filter(|i| weight(i) > 0);
        // `identity` is acceptable unless excluded, but preferred only with an explicit weight.
        let allows_identity = self.identity.or(self.wildcard) != Some(0);
        let coding = best
            .filter(|index| !allows_identity || weight(index) >= self.identity.unwrap_or(0))
            .map(|index| ContentCoding::ALL[index]);
        EncodingChoice {
            coding,
            allows_identity,
        }
    }
}

/// Parses `q=` and a number from 0 to 1 with at most three decimals, as thousandths.
pub(super) fn parse_weight(parameter: &str) -> Option<u16> {
    let text = parameter.trim_matches([' ', '\t']);
    let text = text
        .strip_prefix("q=")
        .or_else(|| text.strip_prefix("Q="))?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose_for(fields: &[&'static str]) -> (Option<ContentCoding>, bool) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(field));
        }
        let choice = EncodingChoice::from_headers(&headers);
        (choice.coding, choice.allows_identity)
    }

    #[test]
    fn encoding_follows_weights() {
        use ContentCoding::{Brotli, Gzip, Zstd};
        type EncodingCase = (&'static [&'static str], (Option<ContentCoding>, bool));
        let table: [EncodingCase; 24] = [
            (&[], (None, true)),
            (&[""], (None, true)),
            (&["gzip"], (Some(Gzip), true)),
            (&["x-gzip"], (Some(Gzip), true)),
            (&["GZIP"], (Some(Gzip), true)),
            (&["gzip, deflate, br, zstd"], (Some(Brotli), true)),
            (&["gzip, deflate"], (Some(Gzip), true)),
            (&["gzip;q=1.0, br;q=0.5"], (Some(Gzip), true)),
            (&["br;q=0, zstd ; q=0.3,gzip;q=0.2"], (Some(Zstd), true)),
            (&["gzip;q=0"], (None, true)),
            (&["gzip;q=0.5, identity"], (None, true)),
            (&["gzip;q=0.5, identity;q=0.5"], (Some(Gzip), true)),
            (&["*"], (Some(Brotli), true)),
            (&["*;q=0.1, br;q=0"], (Some(Zstd), true)),
            (&["*;q=0"], (None, false)),
            (&["*;q=0, gzip"], (Some(Gzip), false)),
            (&["*;q=0, identity"], (None, true)),
            (&["identity;q=0"], (None, false)),
            (&["identity;q=0, gzip;q=0.001"], (Some(Gzip), false)),
            (&["identity"], (None, true)),
            (&["deflate", "gzip"], (Some(Gzip), true)),
            (&["gzip;q=2, br;q=abc, zstd;x=1"], (None, true)),
            (&["gzip;q=1.001, br;q=0.1234"], (None, true)),
            (&["gzip;q=1.000"], (Some(Gzip), true)),
        ];
        for (fields, expected) in table {
            assert_eq!(choose_for(fields), expected, "{fields:?}");
        }
    }
}
