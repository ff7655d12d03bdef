//! Which content coding a client takes (RFC 9110 §12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::render::ContentCoding;

/// What a client takes, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EncodingChoice {
    /// The coding that it likes best; none if it is content with the plain body.
    pub(crate) coding: Option<ContentCoding>,
    /// Whether it takes the plain body at all.
    pub(crate) allows_identity: bool,
}

/// A coding's name on the wire.
pub(crate) const fn coding_name(coding: ContentCoding) -> HeaderValue {
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

    /// Reads all `Accept-Encoding` fields; elements that are no weighted coding are passed over.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        if fields.peek().is_none() {
            return Self::IDENTITY;
        }
        let mut wishes = EncodingWeights::default();
        fields
            .filter_map(|field| field.to_str().ok())
            .for_each(|field| wishes.parse_field(field));
        wishes.choose_encoding()
    }
}

/// Weights in thousandths, where they were told.
#[derive(Default)]
struct EncodingWeights {
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
            } else if let Some(at) = ContentCoding::ALL
                .into_iter()
                .position(|coding| is_coding_name(coding, name))
            {
                self.codings[at] = Some(weight);
            }
        }
    }

    fn choose_encoding(&self) -> EncodingChoice {
        let weight = |at: usize| self.codings[at].or(self.wildcard).unwrap_or(0);
        // The first of the heaviest; a plain body is taken unless it is refused, but only liked if that is said.
        let best = (0..3)
            .rev()
            .max_by_key(|at| weight(*at))
            .filter(|at| weight(*at) > 0);
        let plain = self.identity.or(self.wildcard) != Some(0);
        let coding = best
            .filter(|at| !plain || weight(*at) >= self.identity.unwrap_or(0))
            .map(|at| ContentCoding::ALL[at]);
        EncodingChoice {
            coding,
            allows_identity: plain,
        }
    }
}

/// `q=` and a number from 0 to 1 with at most three decimals.
fn parse_weight(parameter: &str) -> Option<u16> {
    let text = parameter.trim_matches([' ', '\t']);
    let text = text
        .strip_prefix("q=")
        .or_else(|| text.strip_prefix("Q="))?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
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
        let EncodingChoice {
            coding,
            allows_identity: plain,
        } = EncodingChoice::from_headers(&headers);
        (coding, plain)
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
