//! Texts of a request with references that are resolved each time the request is sent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::text::escape_json;

use super::code::Code;
use super::failure::Failure;
use super::timestamp::Time;

/// A text of a request. `Debug` prints no part of it, because it can contain secrets.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RequestText {
    segments: Vec<TextSegment>,
}

/// A part of a [`RequestText`].
#[derive(Clone, PartialEq, Eq, Hash)]
enum TextSegment {
    Literal(Arc<str>),
    Date(DateReference),
    /// `${auth.FIELD}`
    AuthField {
        name: Arc<str>,
        /// Whether the value becomes the content of a JSON string.
        is_json: bool,
    },
}

/// `${date…:FORMAT}`: a formatted time relative to the time of the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DateReference {
    /// Calendar days to add: a day can have 23 or 25 hours where clocks change.
    days: i32,
    /// Seconds to add after the days.
    seconds: i64,
    /// Format of strftime.
    format: Arc<str>,
}

/// The time of a request, from which its dates are computed.
#[derive(Debug, Clone, Copy)]
pub struct RequestTime<'z> {
    /// Time of the wall clock.
    pub now: Time,
    /// IANA name of the time zone of dates; `None` is UTC.
    pub time_zone: Option<&'z str>,
}

/// The reason why a date cannot be parsed, computed or formatted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DateError(String);

/// All characters but the unreserved ones.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Maximum offset of a date in either direction, in days: about 100 years.
const MAX_OFFSET_DAYS: i64 = 36_525;

impl DateReference {
    /// Parses the part between `date` and the end of a reference: `:FORMAT`, `+1d:FORMAT`, `-2h30m:FORMAT`. The error
    /// is a message for the operator.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let invalid = |message: &str| Err(DateError(message.into()));
        let Some((offset, format)) = text.split_once(':') else {
            return invalid("a date needs a format, such as `${date:%Y-%m-%d}`");
        };
        if format.is_empty() {
            return invalid("the format of the date is empty");
        }
        let (days, seconds) = parse_offset(offset)?;
        let reference = Self {
            days,
            seconds,
            format: format.into(),
        };
        // A format fails at the first use or never.
        reference.format_at(RequestTime {
            now: Time::from_millis(0),
            time_zone: None,
        })?;
        Ok(reference)
    }

    fn format_at(&self, time: RequestTime<'_>) -> Result<String, DateError> {
        let invalid = |error: jiff::Error| DateError(error.to_string());
        let zone = time.time_zone.map_or(Ok(TimeZone::UTC), TimeZone::get);
        let now = Timestamp::from_millisecond(time.now.as_millis()).map_err(invalid)?;
        let offset: Span = self.days.days().seconds(self.seconds);
        let date: Zoned = now
            .to_zoned(zone.map_err(invalid)?)
            .checked_add(offset)
            .map_err(invalid)?;
        jiff::fmt::strtime::format(self.format.as_bytes(), &date).map_err(invalid)
    }
}

/// Parses `+1d`, `-2h30m` or an empty text into days and seconds.
fn parse_offset(text: &str) -> Result<(i32, i64), DateError> {
    let invalid = || {
        let message = "the offset of a date is `+` or `-` and numbers with s, m, h, d or w, at most 100 years, such as \
                       `${date-2h30m:…}`";
        DateError(message.into())
    };
    let (sign, mut rest) = match text.split_at_checked(1) {
        None => return Ok((0, 0)),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return Err(invalid()),
    };
    let (mut days, mut seconds) = (0_i64, 0_i64);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| invalid())?;
        let unit = tail.chars().next().ok_or_else(invalid)?;
        let (sum, factor) = match unit {
            's' => (&mut seconds, 1),
            'm' => (&mut seconds, 60),
            'h' => (&mut seconds, 3_600),
            'd' => (&mut days, 1),
            'w' => (&mut days, 7),
            _ => return Err(invalid()),
        };
        let added = number
            .checked_mul(factor)
            .and_then(|by| sum.checked_add(by));
        *sum = added.ok_or_else(invalid)?;
        rest = &tail[1..];
    }
    if days > MAX_OFFSET_DAYS || seconds > MAX_OFFSET_DAYS * 86_400 {
        return Err(invalid());
    }
    let days = i32::try_from(sign * days).map_err(|_| invalid())?;
    Ok((days, sign * seconds))
}

/// Returns `text` as a part of a URL: all but the unreserved characters are percent-encoded (RFC 3986, section 2.3).
pub fn encode_url_part(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Returns whether this is the IANA name of a time zone.
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

impl RequestText {
    /// Appends a literal text.
    pub fn push_literal(&mut self, text: &str) {
        match self.segments.last_mut() {
            _ if text.is_empty() => {}
            Some(TextSegment::Literal(last)) => *last = [last, text].concat().into(),
            _ => self.segments.push(TextSegment::Literal(text.into())),
        }
    }

    /// Appends a date.
    pub fn push_date(&mut self, date: DateReference) {
        self.segments.push(TextSegment::Date(date));
    }

    /// Appends a field of an authentication.
    pub fn push_auth_field(&mut self, name: &str) {
        let name = name.into();
        let is_json = false;
        self.segments.push(TextSegment::AuthField { name, is_json });
    }

    /// Appends a field of an authentication whose value is escaped as the content of a JSON string.
    pub fn push_json_auth_field(&mut self, name: &str) {
        let name = name.into();
        let is_json = true;
        self.segments.push(TextSegment::AuthField { name, is_json });
    }

    /// Returns whether the text has fields of an authentication.
    pub fn has_auth_field(&self) -> bool {
        let is_field = |segment: &TextSegment| matches!(segment, TextSegment::AuthField { .. });
        self.segments.iter().any(is_field)
    }

    /// Returns the text with the values that `lookup` has for its fields of an authentication. The error is the first
    /// error of `lookup`.
    pub fn fill_auth_fields<E>(
        &self,
        lookup: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let mut filled = Self::default();
        for segment in &self.segments {
            match segment {
                TextSegment::Literal(text) => filled.push_literal(text),
                TextSegment::Date(date) => filled.push_date(date.clone()),
                TextSegment::AuthField { name, is_json } => {
                    let value = lookup(name)?;
                    filled.push_literal(&if *is_json { escape_json(&value) } else { value });
                }
            }
        }
        Ok(filled)
    }

    /// Returns the text without white space at its ends.
    #[must_use]
    pub fn trim(mut self) -> Self {
        if let Some(TextSegment::Literal(first)) = self.segments.first_mut() {
            *first = first.trim_start().into();
        }
        if let Some(TextSegment::Literal(last)) = self.segments.last_mut() {
            *last = last.trim_end().into();
        }
        self
    }

    /// Returns the text if it has no references.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.segments {
            [] => Some(""),
            [TextSegment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the parts of the text between its references.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            TextSegment::Literal(text) => Some(&**text),
            TextSegment::Date(_) | TextSegment::AuthField { .. } => None,
        })
    }

    /// Returns the text with the values of its dates at `time`. Fields of an authentication must be filled before.
    pub fn resolve(&self, time: RequestTime<'_>) -> Result<Cow<'_, str>, DateError> {
        self.resolve_dates(time, |date| date)
    }

    /// Returns the text of a URL with the values of its dates at `time`. The `+` of an offset (`%z`) is percent-encoded:
    /// servers read it as a space in a query.
    pub fn resolve_url(&self, time: RequestTime<'_>) -> Result<Cow<'_, str>, DateError> {
        self.resolve_dates(time, |date| date.replace('+', "%2B"))
    }

    fn resolve_dates(
        &self,
        time: RequestTime<'_>,
        encode: impl Fn(String) -> String,
    ) -> Result<Cow<'_, str>, DateError> {
        if let Some(text) = self.as_literal() {
            return Ok(text.into());
        }
        let mut resolved = String::new();
        for segment in &self.segments {
            match segment {
                TextSegment::Literal(text) => resolved.push_str(text),
                TextSegment::Date(date) => resolved.push_str(&encode(date.format_at(time)?)),
                TextSegment::AuthField { name, .. } => {
                    return Err(DateError(format!("`${{auth.{name}}}` has no value")));
                }
            }
        }
        Ok(resolved.into())
    }
}

impl From<DateError> for Failure {
    fn from(error: DateError) -> Self {
        Self::new(
            Code::HttpProtocol,
            format!("the request cannot be written: {error}"),
        )
    }
}

impl From<&str> for RequestText {
    fn from(text: &str) -> Self {
        let mut literal = Self::default();
        literal.push_literal(text);
        literal
    }
}

impl fmt::Debug for RequestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestText({} segments)", self.segments.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-29T00:30:00Z, half an hour before clocks change in Europe.
    const NOW: Time = Time::from_millis(1_774_744_200_000);

    fn format_date(reference: &str, time_zone: Option<&str>) -> Result<String, DateError> {
        let time = RequestTime {
            now: NOW,
            time_zone,
        };
        DateReference::parse(reference)?.format_at(time)
    }

    #[test]
    fn dates_are_relative() {
        let utc = |reference| format_date(reference, None).unwrap();
        assert_eq!(utc(":%Y-%m-%d"), "2026-03-29");
        assert_eq!(utc("+1d:%Y-%m-%d"), "2026-03-30");
        assert_eq!(utc("-2h30m:%Y-%m-%dT%H:%M:%SZ"), "2026-03-28T22:00:00Z");
        assert_eq!(utc("-1w:%d"), "22");
        assert_eq!(utc("+90s:%s"), "1774744290");
        assert_eq!(utc(":%H:%M"), "00:30");
    }

    #[test]
    fn days_are_calendar_days() {
        let madrid = |reference| format_date(reference, Some("Europe/Madrid")).unwrap();
        assert_eq!(madrid(":%H:%M %z"), "01:30 +0100");
        // The day has 23 hours.
        assert_eq!(madrid("+1d:%d %H:%M"), "30 01:30");
        assert_eq!(madrid("+24h:%d %H:%M"), "30 02:30");
    }

    #[test]
    fn invalid_dates_are_refused() {
        for reference in [
            "",
            "1d:%Y",
            "+:%Y",
            "+d:%Y",
            "+1x:%Y",
            "+1:%Y",
            ":",
            "+1d",
            "+99999999999999999999d:%Y",
            ":%\u{1}",
            "+40000d:%Y",
            "+1d ago:%Y",
        ] {
            assert!(DateReference::parse(reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn references_are_resolved() {
        let mut text = RequestText::from("/a/");
        assert_eq!(text.as_literal(), Some("/a/"));
        text.push_date(DateReference::parse(":%Y/%m").unwrap());
        text.push_literal("/b");
        let time = RequestTime {
            now: NOW,
            time_zone: None,
        };
        assert_eq!(text.resolve(time).unwrap(), "/a/2026/03/b");
        assert_eq!(text.literals().collect::<Vec<_>>(), ["/a/", "/b"]);
        text.push_date(DateReference::parse(":%z").unwrap());
        assert_eq!(text.resolve(time).unwrap(), "/a/2026/03/b+0000");
        assert_eq!(text.resolve_url(time).unwrap(), "/a/2026/03/b%2B0000");
        assert_eq!(text.as_literal(), None);
    }

    #[test]
    fn auth_fields_are_filled() {
        let mut text = RequestText::from("a=");
        text.push_auth_field("id");
        text.push_literal("&b");
        assert!(text.has_auth_field() && text.literals().eq(["a=", "&b"]));
        let time = RequestTime {
            now: NOW,
            time_zone: None,
        };
        assert!(text.resolve(time).is_err());
        let lookup = |name: &str| Ok::<_, ()>(name.to_uppercase());
        let filled = text.fill_auth_fields(lookup).unwrap();
        assert_eq!(filled.as_literal(), Some("a=ID&b"));
        assert!(text.fill_auth_fields(|_| Err("none")).is_err());
    }
}
