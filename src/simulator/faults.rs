//! Faults that the query of a simulated endpoint requests.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use url::form_urlencoded;

/// One parameter of the query.
pub(super) struct FaultParameter {
    pub(super) name: &'static str,
    /// Accepted values, as text for the list and for errors.
    pub(super) accepted_values: &'static str,
    /// Effect, as text for the list.
    pub(super) description: &'static str,
    /// Parses a value into the settings; `None` if it is not accepted.
    set_value: fn(&mut FaultSettings, &str) -> Option<()>,
}

/// Every parameter, in the order of the list.
pub(super) const FAULT_PARAMETERS: &[FaultParameter] = &[
    FaultParameter {
        name: "delay",
        accepted_values: "a duration such as 250ms",
        description: "waits this long before every response",
        set_value: |faults, text| parse_duration(text).map(|d| faults.delay = d),
    },
    FaultParameter {
        name: "jitter",
        accepted_values: "a duration such as 100ms",
        description: "waits a random time up to this in addition",
        set_value: |faults, text| parse_duration(text).map(|d| faults.jitter = d),
    },
    FaultParameter {
        name: "fail",
        accepted_values: "a share from 0 to 1",
        description: "applies the faults below to this share of the responses, at random; status=503 without another fault",
        set_value: |faults, text| parse_share(text).map(|s| faults.fail_share = Some(s)),
    },
    FaultParameter {
        name: "outage",
        accepted_values: "two durations such as 20s/60s",
        description: "applies the faults below in the last 20 s of every 60 s since the start; status=503 without another fault",
        set_value: |faults, text| parse_outage(text).map(|o| faults.outage = Some(o)),
    },
    FaultParameter {
        name: "status",
        accepted_values: "a status from 200 to 599",
        description: "responds with this status",
        set_value: |faults, text| parse_status(text).map(|s| faults.status = Some(s)),
    },
    FaultParameter {
        name: "retry_after",
        accepted_values: "seconds, a date, or any valid header value",
        description: "sends this as Retry-After; with status 429 unless status is given",
        set_value: |faults, text| parse_header(text).map(|v| faults.retry_after = Some(v)),
    },
    FaultParameter {
        name: "location",
        accepted_values: "a URL",
        description: "sends this as Location; with status 302 unless status is given",
        set_value: |faults, text| parse_header(text).map(|v| faults.location = Some(v)),
    },
    FaultParameter {
        name: "body",
        accepted_values: "html, empty, truncated, huge, garbage, deep, null or refusal",
        description: "a login page, an empty body, half of the body, a gigabyte, invalid UTF-8, 30,000 brackets, null, {\"success\":false}",
        set_value: |faults, text| BodyFault::from_name(text).map(|b| faults.body_fault = Some(b)),
    },
    FaultParameter {
        name: "drip",
        accepted_values: "a duration such as 100ms",
        description: "sends the body one byte at a time, with this pause",
        set_value: |faults, text| parse_duration(text).map(|d| faults.byte_interval = Some(d)),
    },
    FaultParameter {
        name: "close",
        accepted_values: "head or body",
        description: "closes the connection before the head, or in the middle of the body",
        set_value: |faults, text| ClosePoint::from_name(text).map(|c| faults.close_point = Some(c)),
    },
];

/// The faults of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FaultSettings {
    /// Pause before every response.
    pub(super) delay: Duration,
    /// Maximum of the random pause in addition to `delay`.
    pub(super) jitter: Duration,
    /// Share of the responses with the faults below, from 0 to 1. Default: all.
    fail_share: Option<f64>,
    /// Time of the faults below. Default: always.
    outage: Option<OutageWindow>,
    /// Status. Default: 200.
    pub(super) status: Option<StatusCode>,
    /// Value of `Retry-After`.
    pub(super) retry_after: Option<HeaderValue>,
    /// Value of `Location`.
    pub(super) location: Option<HeaderValue>,
    /// Replaces the JSON of the endpoint.
    pub(super) body_fault: Option<BodyFault>,
    /// Pause between two bytes of the body.
    pub(super) byte_interval: Option<Duration>,
    /// Where the connection is closed.
    pub(super) close_point: Option<ClosePoint>,
}

/// The last `duration` of every `period` since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OutageWindow {
    duration: Duration,
    period: Duration,
}

/// A body that replaces the JSON of the endpoint.
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

/// Where the connection is closed: instead of the head, or in the middle of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClosePoint {
    Head,
    Body,
}

/// An unknown parameter or a value that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultQueryError {
    pub(super) param: String,
    pub(super) got: String,
    /// Accepted values; `None` if the parameter is unknown.
    pub(super) expected: Option<&'static str>,
}

impl FaultSettings {
    /// Parses a query. Returns an error at the first parameter that is unknown or has a bad value.
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

    /// Returns the faults of one response: all of them, or only the pauses. `uptime` is the time since the simulator's
    /// start, `chance` a random number from 0 to 1.
    pub(super) fn apply_triggers(self, uptime: Duration, chance: f64) -> Self {
        let is_drawn = self.fail_share.is_none_or(|share| chance < share);
        let is_due = self.outage.is_none_or(|outage| outage.is_active(uptime));
        if !(is_drawn && is_due) {
            // Pauses are no faults: they apply to every response.
            return Self {
                delay: self.delay,
                jitter: self.jitter,
                ..Self::default()
            };
        }
        let has_fault = self.status.is_some()
            || self.body_fault.is_some()
            || self.close_point.is_some()
            || self.byte_interval.is_some();
        let has_trigger = self.fail_share.is_some() || self.outage.is_some();
        let implied_status = if self.retry_after.is_some() {
            Some(StatusCode::TOO_MANY_REQUESTS)
        } else if self.location.is_some() {
            Some(StatusCode::FOUND)
        } else if has_trigger && !has_fault {
            Some(StatusCode::SERVICE_UNAVAILABLE)
        } else {
            None
        };
        Self {
            status: self.status.or(implied_status),
            ..self
        }
    }
}

impl OutageWindow {
    fn is_active(self, uptime: Duration) -> bool {
        let elapsed = Duration::from_millis((uptime.as_millis() % self.period.as_millis()) as u64);
        elapsed + self.duration >= self.period
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

/// Parses a duration of at most an hour; a longer one is taken for a typing error.
fn parse_duration(text: &str) -> Option<Duration> {
    let duration = crate::text::parse_duration(text).ok()?;
    (duration <= Duration::from_secs(3600)).then_some(duration)
}

fn parse_header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

fn parse_share(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
}

fn parse_outage(text: &str) -> Option<OutageWindow> {
    let (duration, period) = text.split_once('/')?;
    let outage = OutageWindow {
        duration: parse_duration(duration)?,
        period: parse_duration(period)?,
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

    fn active_faults(query: &str, uptime: u64, chance: f64) -> FaultSettings {
        FaultSettings::parse_query(query)
            .unwrap()
            .apply_triggers(Duration::from_secs(uptime), chance)
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
        let spared = active_faults("fail=0.2&delay=1s&body=html", 0, 0.9);
        assert_eq!(
            (spared.delay, spared.body_fault),
            (Duration::from_secs(1), None)
        );
        assert_eq!(active_faults("fail=0.2&body=html", 0, 0.1).status, None);
    }

    #[test]
    fn outage_ends_each_period() {
        let is_down = |uptime| {
            active_faults("outage=20s/60s", uptime, 0.5)
                .status
                .is_some()
        };
        assert_eq!(
            [0, 39, 40, 59, 60, 100].map(is_down),
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
