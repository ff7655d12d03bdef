//! What goes wrong on request: the query of a simulated endpoint.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use url::form_urlencoded;

/// One parameter of the query: what it is called, what it takes, what it does.
pub(super) struct FaultParameter {
    pub(super) name: &'static str,
    pub(super) accepted_values: &'static str,
    pub(super) description: &'static str,
    set_value: fn(&mut FaultSettings, &str) -> Option<()>,
}

/// All of them, in the order of the list.
pub(super) const FAULT_PARAMETERS: &[FaultParameter] = &[
    FaultParameter {
        name: "delay",
        accepted_values: "a duration such as 250ms",
        description: "waits this long before every answer",
        set_value: |faults, text| parse_duration(text).map(|d| faults.delay = d),
    },
    FaultParameter {
        name: "jitter",
        accepted_values: "a duration such as 100ms",
        description: "waits up to this much longer, at random",
        set_value: |faults, text| parse_duration(text).map(|d| faults.jitter = d),
    },
    FaultParameter {
        name: "fail",
        accepted_values: "a share from 0 to 1",
        description: "the faults below befall only this share of the answers, at random; alone it means status=503",
        set_value: |faults, text| parse_share(text).map(|s| faults.fail_share = Some(s)),
    },
    FaultParameter {
        name: "outage",
        accepted_values: "two durations such as 20s/60s",
        description: "the faults below befall only the last 20 s of every 60 s since the start; alone it means status=503",
        set_value: |faults, text| parse_outage(text).map(|o| faults.outage = Some(o)),
    },
    FaultParameter {
        name: "status",
        accepted_values: "a status from 200 to 599",
        description: "answers with it",
        set_value: |faults, text| parse_status(text).map(|s| faults.status = Some(s)),
    },
    FaultParameter {
        name: "retry_after",
        accepted_values: "seconds or a date, or anything that a header may hold",
        description: "sends it as Retry-After; without a status, with 429",
        set_value: |faults, text| {
            HeaderValue::from_str(text)
                .ok()
                .map(|v| faults.retry_after = Some(v))
        },
    },
    FaultParameter {
        name: "location",
        accepted_values: "a URL",
        description: "sends it as Location; without a status, with 302",
        set_value: |faults, text| {
            HeaderValue::from_str(text)
                .ok()
                .map(|v| faults.location = Some(v))
        },
    },
    FaultParameter {
        name: "body",
        accepted_values: "html, empty, truncated, huge, garbage, deep, null or refusal",
        description: "a login page, nothing, half of it, a gigabyte, no UTF-8, 30,000 brackets, null, {\"success\":false}",
        set_value: |faults, text| BodyFault::from_name(text).map(|b| faults.body_fault = Some(b)),
    },
    FaultParameter {
        name: "drip",
        accepted_values: "a duration such as 100ms",
        description: "sends the body one byte at a time, this far apart",
        set_value: |faults, text| parse_duration(text).map(|d| faults.byte_interval = Some(d)),
    },
    FaultParameter {
        name: "close",
        accepted_values: "head or body",
        description: "closes the connection instead of a head, or in the middle of the body",
        set_value: |faults, text| ClosePoint::from_name(text).map(|c| faults.close_point = Some(c)),
    },
];

/// What one request asks to go wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FaultSettings {
    /// Before every answer.
    pub(super) delay: Duration,
    /// On top of it, at most.
    pub(super) jitter: Duration,
    /// The share of answers that the rest befalls.
    fail_share: Option<f64>,
    /// When the rest befalls them.
    outage: Option<OutageWindow>,
    /// Instead of 200.
    pub(super) status: Option<StatusCode>,
    /// A header.
    pub(super) retry_after: Option<HeaderValue>,
    /// A header.
    pub(super) location: Option<HeaderValue>,
    /// Instead of the JSON.
    pub(super) body_fault: Option<BodyFault>,
    /// Between two bytes of the body.
    pub(super) byte_interval: Option<Duration>,
    /// Where the connection ends.
    pub(super) close_point: Option<ClosePoint>,
}

/// The last part of every period.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OutageWindow {
    duration: Duration,
    period: Duration,
}

/// What stands in for the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFault {
    Html,
    Empty,
    Truncated,
    Huge,
    Garbage,
    Deep,
    Null,
    ErrorObject,
}

/// Where the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClosePoint {
    Head,
    Body,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultQueryError {
    pub(super) param: String,
    pub(super) got: String,
    /// What the parameter takes; none if there is no such parameter.
    pub(super) expected: Option<&'static str>,
}

impl FaultSettings {
    /// Reads a query.
    pub(super) fn parse_query(query: &str) -> Result<Self, FaultQueryError> {
        let mut faults = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let parameter = FAULT_PARAMETERS.iter().find(|p| p.name == name);
            if parameter
                .and_then(|p| (p.set_value)(&mut faults, &value))
                .is_none()
            {
                let expected = parameter.map(|p| p.accepted_values);
                return Err(FaultQueryError {
                    param: name.into_owned(),
                    got: value.into_owned(),
                    expected,
                });
            }
        }
        Ok(faults)
    }

    /// What befalls one answer, `since` the simulator's start, with `chance` drawn from 0 to 1: all of it, or only the
    /// waiting.
    pub(super) fn apply_triggers(self, since: Duration, chance: f64) -> Self {
        let unlucky = self.fail_share.is_none_or(|share| chance < share);
        let out = self.outage.is_none_or(|outage| outage.is_active(since));
        if !(unlucky && out) {
            return Self {
                delay: self.delay,
                jitter: self.jitter,
                ..Self::default()
            };
        }
        let bare = self.status.is_none()
            && self.body_fault.is_none()
            && self.close_point.is_none()
            && self.byte_interval.is_none();
        let implied = match () {
            () if self.retry_after.is_some() => Some(StatusCode::TOO_MANY_REQUESTS),
            () if self.location.is_some() => Some(StatusCode::FOUND),
            () if bare && (self.fail_share.is_some() || self.outage.is_some()) => {
                Some(StatusCode::SERVICE_UNAVAILABLE)
            }
            () => None,
        };
        Self {
            status: self.status.or(implied),
            ..self
        }
    }
}

impl OutageWindow {
    fn is_active(self, since: Duration) -> bool {
        let into = Duration::from_millis((since.as_millis() % self.period.as_millis()) as u64);
        into + self.duration >= self.period
    }
}

impl BodyFault {
    fn from_name(text: &str) -> Option<Self> {
        Some(match text {
            "html" => Self::Html,
            "empty" => Self::Empty,
            "truncated" => Self::Truncated,
            "huge" => Self::Huge,
            "garbage" => Self::Garbage,
            "deep" => Self::Deep,
            "null" => Self::Null,
            "refusal" => Self::ErrorObject,
            _ => return None,
        })
    }
}

impl ClosePoint {
    fn from_name(text: &str) -> Option<Self> {
        match text {
            "head" => Some(Self::Head),
            "body" => Some(Self::Body),
            _ => None,
        }
    }
}

/// At most an hour: a longer wait is a slip of the finger.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(millis)?);
    (duration <= Duration::from_secs(3600)).then_some(duration)
}

fn parse_share(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
}

fn parse_outage(text: &str) -> Option<OutageWindow> {
    let (lasts, every) = text.split_once('/')?;
    let outage = OutageWindow {
        duration: parse_duration(lasts)?,
        period: parse_duration(every)?,
    };
    (!outage.period.is_zero() && outage.duration <= outage.period).then_some(outage)
}

fn parse_status(text: &str) -> Option<StatusCode> {
    text.parse()
        .ok()
        .filter(|status: &StatusCode| (200..=599).contains(&status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active_faults(query: &str, since: u64, chance: f64) -> FaultSettings {
        FaultSettings::parse_query(query)
            .unwrap()
            .apply_triggers(Duration::from_secs(since), chance)
    }

    #[test]
    fn parameter_values_are_validated() {
        let good = "delay=250ms&jitter=1s&fail=0.2&outage=20s/60s&status=503&retry_after=30&location=/x&body=html\
                    &drip=100ms&close=body";
        assert!(FaultSettings::parse_query(good).is_ok());
        for bad in [
            "delay=5",
            "delay=-1s",
            "delay=2h",
            "jitter=",
            "fail=1.1",
            "fail=NaN",
            "outage=60s",
            "outage=2s/1s",
        ] {
            assert!(
                FaultSettings::parse_query(bad)
                    .unwrap_err()
                    .expected
                    .is_some(),
                "{bad}"
            );
        }
        for bad in [
            "outage=0s/0s",
            "status=99",
            "status=600",
            "body=x",
            "close=now",
            "retry_after=a%0Ab",
        ] {
            assert!(
                FaultSettings::parse_query(bad)
                    .unwrap_err()
                    .expected
                    .is_some(),
                "{bad}"
            );
        }
        let unknown = FaultQueryError {
            param: "dely".into(),
            got: "1s".into(),
            expected: None,
        };
        assert_eq!(FaultSettings::parse_query("dely=1s"), Err(unknown));
    }

    #[test]
    fn fail_share_spares_delays() {
        assert_eq!(
            active_faults("fail=0.2", 0, 0.19).status,
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(active_faults("fail=0.2", 0, 0.2).status, None);
        assert_eq!(active_faults("fail=0", 0, 0.0).status, None);
        let lucky = active_faults("fail=0.2&delay=1s&body=html", 0, 0.9);
        assert_eq!(
            (lucky.delay, lucky.body_fault),
            (Duration::from_secs(1), None)
        );
        assert_eq!(active_faults("fail=0.2&body=html", 0, 0.1).status, None);
    }

    #[test]
    fn outage_ends_each_period() {
        let down = |since| active_faults("outage=20s/60s", since, 0.5).status.is_some();
        assert_eq!(
            [0, 39, 40, 59, 60, 100].map(down),
            [false, false, true, true, false, true]
        );
    }

    #[test]
    fn headers_imply_status() {
        assert_eq!(
            active_faults("retry_after=5", 0, 0.0).status,
            Some(StatusCode::TOO_MANY_REQUESTS)
        );
        assert_eq!(
            active_faults("retry_after=5&status=503", 0, 0.0).status,
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(
            active_faults("location=/x", 0, 0.0).status,
            Some(StatusCode::FOUND)
        );
    }
}
