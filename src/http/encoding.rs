//! Which content coding a client takes (RFC 9110 §12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::render::Coding;

/// What a client takes, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// The coding that it likes best; none if it is content with the plain body.
    pub(super) coding: Option<Coding>,
    /// Whether it takes the plain body at all.
    pub(super) plain: bool,
}

/// A coding's name on the wire.
pub(super) const fn name(coding: Coding) -> HeaderValue {
    HeaderValue::from_static(match coding {
        Coding::Br => "br",
        Coding::Zstd => "zstd",
        Coding::Gzip => "gzip",
    })
}

fn is(coding: Coding, name: &str) -> bool {
    match coding {
        Coding::Br => name.eq_ignore_ascii_case("br"),
        Coding::Zstd => name.eq_ignore_ascii_case("zstd"),
        Coding::Gzip => name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip"),
    }
}

impl Choice {
    const PLAIN: Self = Self {
        coding: None,
        plain: true,
    };

    /// Reads all `Accept-Encoding` fields; elements that are no weighted coding are passed over.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        if fields.peek().is_none() {
            return Self::PLAIN;
        }
        let mut wishes = Wishes::default();
        fields
            .filter_map(|field| field.to_str().ok())
            .for_each(|field| wishes.read(field));
        wishes.choice()
    }
}

/// Weights in thousandths, where they were told.
#[derive(Default)]
struct Wishes {
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    any: Option<u16>,
}

impl Wishes {
    fn read(&mut self, field: &str) {
        for element in field.split(',') {
            let (name, weight) = element.split_once(';').unwrap_or((element, "q=1"));
            let name = name.trim_matches([' ', '\t']);
            let Some(weight) = thousandths(weight) else {
                continue;
            };
            if name == "*" {
                self.any = Some(weight);
            } else if name.eq_ignore_ascii_case("identity") {
                self.identity = Some(weight);
            } else if let Some(at) = Coding::ALL.into_iter().position(|coding| is(coding, name)) {
                self.codings[at] = Some(weight);
            }
        }
    }

    fn choice(&self) -> Choice {
        let weight = |at: usize| self.codings[at].or(self.any).unwrap_or(0);
        // The first of the heaviest; a plain body is taken unless it is refused, but only liked if that is said.
        let best = (0..3)
            .rev()
            .max_by_key(|at| weight(*at))
            .filter(|at| weight(*at) > 0);
        let plain = self.identity.or(self.any) != Some(0);
        let coding = best
            .filter(|at| !plain || weight(*at) >= self.identity.unwrap_or(0))
            .map(|at| Coding::ALL[at]);
        Choice { coding, plain }
    }
}

/// `q=` and a number from 0 to 1 with at most three decimals.
fn thousandths(parameter: &str) -> Option<u16> {
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

    fn choice(fields: &[&'static str]) -> (Option<Coding>, bool) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(field));
        }
        let Choice { coding, plain } = Choice::of(&headers);
        (coding, plain)
    }

    #[test]
    fn weights_decide() {
        use Coding::{Br, Gzip, Zstd};
        type Row = (&'static [&'static str], (Option<Coding>, bool));
        let table: [Row; 24] = [
            (&[], (None, true)),
            (&[""], (None, true)),
            (&["gzip"], (Some(Gzip), true)),
            (&["x-gzip"], (Some(Gzip), true)),
            (&["GZIP"], (Some(Gzip), true)),
            (&["gzip, deflate, br, zstd"], (Some(Br), true)),
            (&["gzip, deflate"], (Some(Gzip), true)),
            (&["gzip;q=1.0, br;q=0.5"], (Some(Gzip), true)),
            (&["br;q=0, zstd ; q=0.3,gzip;q=0.2"], (Some(Zstd), true)),
            (&["gzip;q=0"], (None, true)),
            (&["gzip;q=0.5, identity"], (None, true)),
            (&["gzip;q=0.5, identity;q=0.5"], (Some(Gzip), true)),
            (&["*"], (Some(Br), true)),
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
            assert_eq!(choice(fields), expected, "{fields:?}");
        }
    }
}
