//! Prometheus text 0.0.4 and `OpenMetrics` 1.0: an array of samples.
//!
//! The lines of histograms and summaries are samples of their own. Comments, types, units and exemplars are left out.

use jaq_json::{Map, Val};

use super::super::reader::number_value;
use super::format_flaw::FormatFlaw;

/// Reads the samples: `{"name", "labels", "value", "timestamp"}`. A value is a number, or one of the texts `NaN`, `+Inf` and
/// `-Inf`; a timestamp is a number as it stands, or null.
pub(super) fn read_samples(text: &str) -> Result<Val, FormatFlaw> {
    let mut samples = Vec::new();
    let mut start = 0;
    let mut has_ended = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        let at = start + (line.len() - line.trim_start().len());
        start += line.len();
        if content.is_empty() {
            continue;
        }
        if has_ended {
            return Err(FormatFlaw::invalid("a line behind `# EOF`", at));
        }
        if content.starts_with('#') {
            has_ended = content == "# EOF";
            continue;
        }
        let mut parser = SampleParser {
            line: content,
            position: 0,
        };
        let sample = parser.parse_sample();
        samples.push(sample.map_err(|what| FormatFlaw::invalid(what, at + parser.position))?);
    }
    Ok(samples.into_iter().collect())
}

/// Parses one line.
struct SampleParser<'l> {
    line: &'l str,
    position: usize,
}

impl<'l> SampleParser<'l> {
    fn parse_sample(&mut self) -> Result<Val, &'static str> {
        let mut name = self.take_while(|c| is_name_char(c) || c == ':').to_owned();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a name that begins with a digit");
        }
        let mut labels = Map::default();
        self.skip_space();
        if self.skip('{') {
            self.parse_labels(&mut name, &mut labels)?;
        }
        if name.is_empty() {
            return Err("no name");
        }
        self.skip_space();
        let start = self.position;
        let value = sample_value(self.take_word()).inspect_err(|_| self.position = start)?;
        self.skip_space();
        let mut timestamp = Val::Null;
        if !self.is_at_exemplar() {
            let start = self.position;
            let number = json_number(self.take_word()).ok_or("a timestamp that is no number");
            timestamp = number_value(&number.inspect_err(|_| self.position = start)?);
            self.skip_space();
        }
        if !self.is_at_exemplar() {
            return Err("text behind the sample");
        }
        let members = [
            ("name", Val::utf8_str(name)),
            ("labels", Val::obj(labels)),
            ("value", value),
            ("timestamp", timestamp),
        ];
        let members = members.map(|(name, value)| (Val::utf8_str(name), value));
        Ok(Val::obj(members.into_iter().collect()))
    }

    /// Parses the labels behind `{`. A quoted text without a value is the name of the metric.
    fn parse_labels(&mut self, name: &mut String, labels: &mut Map) -> Result<(), &'static str> {
        loop {
            self.skip_space();
            if self.skip('}') {
                return Ok(());
            }
            let is_quoted = self.rest().starts_with('"');
            let label = if is_quoted {
                self.parse_quoted()?
            } else {
                self.take_while(is_name_char).to_owned()
            };
            if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit() && !is_quoted) {
                return Err("no name of a label");
            }
            self.skip_space();
            if self.skip('=') {
                self.skip_space();
                let value = Val::utf8_str(self.parse_quoted()?);
                if labels.insert(Val::utf8_str(label), value).is_some() {
                    return Err("a label that is written twice");
                }
            } else if is_quoted && name.is_empty() {
                *name = label;
            } else {
                return Err("no `=` behind the name of a label");
            }
            self.skip_space();
            if !self.skip(',') && !self.rest().starts_with('}') {
                return Err("no `,` or `}` behind a label");
            }
        }
    }

    /// Parses a text in quotation marks, with `\\`, `\"` and `\n`.
    fn parse_quoted(&mut self) -> Result<String, &'static str> {
        if !self.skip('"') {
            return Err("no quotation mark");
        }
        let mut text = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.position += at + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, escaped @ ('\\' | '"'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err("a quotation mark that is not closed")
    }

    /// Whether nothing is left, or an exemplar of `OpenMetrics`.
    fn is_at_exemplar(&self) -> bool {
        self.rest().is_empty() || self.rest().starts_with('#')
    }

    fn rest(&self) -> &'l str {
        &self.line[self.position..]
    }

    fn skip(&mut self, c: char) -> bool {
        let is_next = self.rest().starts_with(c);
        self.position += if is_next { c.len_utf8() } else { 0 };
        is_next
    }

    fn skip_space(&mut self) {
        self.take_while(|c| c == ' ' || c == '\t');
    }

    fn take_word(&mut self) -> &'l str {
        self.take_while(|c| c != ' ' && c != '\t')
    }

    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'l str {
        let rest = self.rest();
        let end = rest.find(|c| !accepts(c)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn sample_value(word: &str) -> Result<Val, &'static str> {
    let lower = word.to_ascii_lowercase();
    Ok(match lower.as_str() {
        "nan" => Val::utf8_str("NaN"),
        "inf" | "+inf" | "infinity" | "+infinity" => Val::utf8_str("+Inf"),
        "-inf" | "-infinity" => Val::utf8_str("-Inf"),
        _ => number_value(&json_number(word).ok_or("a value that is no number")?),
    })
}

/// Returns a number as JSON writes it, with all of its digits: `+5`, `.5`, `5.` and `007` are none of JSON.
fn json_number(word: &str) -> Option<String> {
    let (sign, number) = match word.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, exponent) = match number.find(['e', 'E']) {
        Some(at) => number.split_at(at),
        None => (number, ""),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let power = exponent.trim_start_matches(['e', 'E']);
    let power = power.strip_prefix(['+', '-']).unwrap_or(power);
    if !is_digits(whole)
        || !is_digits(fraction)
        || !is_digits(power)
        || (whole.is_empty() && fraction.is_empty())
        || (power.is_empty() && !exponent.is_empty())
        || exponent.matches(['e', 'E']).count() > 1
    {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some([sign, whole, point, fraction, exponent].concat())
}
