//! What goes wrong on request: the query of a simulated endpoint.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use url::form_urlencoded;

/// One parameter of the query: what it is called, what it takes, what it does.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) takes: &'static str,
    pub(super) does: &'static str,
    set: fn(&mut Faults, &str) -> Option<()>,
}

/// All of them, in the order of the list.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "delay",
        takes: "a duration such as 250ms",
        does: "waits this long before every answer",
        set: |faults, text| duration(text).map(|d| faults.delay = d),
    },
    Parameter {
        name: "jitter",
        takes: "a duration such as 100ms",
        does: "waits up to this much longer, at random",
        set: |faults, text| duration(text).map(|d| faults.jitter = d),
    },
    Parameter {
        name: "fail",
        takes: "a share from 0 to 1",
        does: "the faults below befall only this share of the answers, at random; alone it means status=503",
        set: |faults, text| share(text).map(|s| faults.fail = Some(s)),
    },
    Parameter {
        name: "outage",
        takes: "two durations such as 20s/60s",
        does: "the faults below befall only the last 20 s of every 60 s since the start; alone it means status=503",
        set: |faults, text| outage(text).map(|o| faults.outage = Some(o)),
    },
    Parameter {
        name: "status",
        takes: "a status from 200 to 599",
        does: "answers with it",
        set: |faults, text| status(text).map(|s| faults.status = Some(s)),
    },
    Parameter {
        name: "retry_after",
        takes: "seconds or a date, or anything that a header may hold",
        does: "sends it as Retry-After; without a status, with 429",
        set: |faults, text| {
            HeaderValue::from_str(text)
                .ok()
                .map(|v| faults.retry_after = Some(v))
        },
    },
    Parameter {
        name: "location",
        takes: "a URL",
        does: "sends it as Location; without a status, with 302",
        set: |faults, text| {
            HeaderValue::from_str(text)
                .ok()
                .map(|v| faults.location = Some(v))
        },
    },
    Parameter {
        name: "body",
        takes: "html, empty, truncated, huge, garbage, deep, null or refusal",
        does: "a login page, nothing, half of it, a gigabyte, no UTF-8, 30,000 brackets, null, {\"success\":false}",
        set: |faults, text| Body::named(text).map(|b| faults.body = Some(b)),
    },
    Parameter {
        name: "drip",
        takes: "a duration such as 100ms",
        does: "sends the body one byte at a time, this far apart",
        set: |faults, text| duration(text).map(|d| faults.drip = Some(d)),
    },
    Parameter {
        name: "close",
        takes: "head or body",
        does: "closes the connection instead of a head, or in the middle of the body",
        set: |faults, text| Close::named(text).map(|c| faults.close = Some(c)),
    },
];

/// What one request asks to go wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Faults {
    /// Before every answer.
    pub(super) delay: Duration,
    /// On top of it, at most.
    pub(super) jitter: Duration,
    /// The share of answers that the rest befalls.
    fail: Option<f64>,
    /// When the rest befalls them.
    outage: Option<Outage>,
    /// Instead of 200.
    pub(super) status: Option<StatusCode>,
    /// A header.
    pub(super) retry_after: Option<HeaderValue>,
    /// A header.
    pub(super) location: Option<HeaderValue>,
    /// Instead of the JSON.
    pub(super) body: Option<Body>,
    /// Between two bytes of the body.
    pub(super) drip: Option<Duration>,
    /// Where the connection ends.
    pub(super) close: Option<Close>,
}

/// The last part of every period.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Outage {
    lasts: Duration,
    every: Duration,
}

/// What stands in for the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Html,
    Empty,
    Truncated,
    Huge,
    Garbage,
    Deep,
    Null,
    Refusal,
}

/// Where the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    Head,
    Body,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) param: String,
    pub(super) got: String,
    /// What the parameter takes; none if there is no such parameter.
    pub(super) expected: Option<&'static str>,
}

impl Faults {
    /// Reads a query.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut faults = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let parameter = PARAMETERS.iter().find(|p| p.name == name);
            if parameter
                .and_then(|p| (p.set)(&mut faults, &value))
                .is_none()
            {
                let expected = parameter.map(|p| p.takes);
                return Err(Refusal {
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
    pub(super) fn befall(self, since: Duration, chance: f64) -> Self {
        let unlucky = self.fail.is_none_or(|share| chance < share);
        let out = self.outage.is_none_or(|outage| outage.holds(since));
        if !(unlucky && out) {
            return Self {
                delay: self.delay,
                jitter: self.jitter,
                ..Self::default()
            };
        }
        let bare = self.status.is_none()
            && self.body.is_none()
            && self.close.is_none()
            && self.drip.is_none();
        let implied = match () {
            () if self.retry_after.is_some() => Some(StatusCode::TOO_MANY_REQUESTS),
            () if self.location.is_some() => Some(StatusCode::FOUND),
            () if bare && (self.fail.is_some() || self.outage.is_some()) => {
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

impl Outage {
    fn holds(self, since: Duration) -> bool {
        let into = Duration::from_millis((since.as_millis() % self.every.as_millis()) as u64);
        into + self.lasts >= self.every
    }
}

impl Body {
    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "html" => Self::Html,
            "empty" => Self::Empty,
            "truncated" => Self::Truncated,
            "huge" => Self::Huge,
            "garbage" => Self::Garbage,
            "deep" => Self::Deep,
            "null" => Self::Null,
            "refusal" => Self::Refusal,
            _ => return None,
        })
    }
}

impl Close {
    fn named(text: &str) -> Option<Self> {
        match text {
            "head" => Some(Self::Head),
            "body" => Some(Self::Body),
            _ => None,
        }
    }
}

/// At most an hour: a longer wait is a slip of the finger.
fn duration(text: &str) -> Option<Duration> {
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

fn share(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
}

fn outage(text: &str) -> Option<Outage> {
    let (lasts, every) = text.split_once('/')?;
    let outage = Outage {
        lasts: duration(lasts)?,
        every: duration(every)?,
    };
    (!outage.every.is_zero() && outage.lasts <= outage.every).then_some(outage)
}

fn status(text: &str) -> Option<StatusCode> {
    text.parse()
        .ok()
        .filter(|status: &StatusCode| (200..=599).contains(&status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn befallen(query: &str, since: u64, chance: f64) -> Faults {
        Faults::parse(query)
            .unwrap()
            .befall(Duration::from_secs(since), chance)
    }

    #[test]
    fn every_parameter_takes_what_it_says_and_nothing_else() {
        let good = "delay=250ms&jitter=1s&fail=0.2&outage=20s/60s&status=503&retry_after=30&location=/x&body=html\
                    &drip=100ms&close=body";
        assert!(Faults::parse(good).is_ok());
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
            assert!(Faults::parse(bad).unwrap_err().expected.is_some(), "{bad}");
        }
        for bad in [
            "outage=0s/0s",
            "status=99",
            "status=600",
            "body=x",
            "close=now",
            "retry_after=a%0Ab",
        ] {
            assert!(Faults::parse(bad).unwrap_err().expected.is_some(), "{bad}");
        }
        let unknown = Refusal {
            param: "dely".into(),
            got: "1s".into(),
            expected: None,
        };
        assert_eq!(Faults::parse("dely=1s"), Err(unknown));
    }

    #[test]
    fn faults_befall_their_share_and_waiting_befalls_all() {
        assert_eq!(
            befallen("fail=0.2", 0, 0.19).status,
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(befallen("fail=0.2", 0, 0.2).status, None);
        assert_eq!(befallen("fail=0", 0, 0.0).status, None);
        let lucky = befallen("fail=0.2&delay=1s&body=html", 0, 0.9);
        assert_eq!((lucky.delay, lucky.body), (Duration::from_secs(1), None));
        assert_eq!(befallen("fail=0.2&body=html", 0, 0.1).status, None);
    }

    #[test]
    fn an_outage_is_the_end_of_its_period() {
        let down = |since| befallen("outage=20s/60s", since, 0.5).status.is_some();
        assert_eq!(
            [0, 39, 40, 59, 60, 100].map(down),
            [false, false, true, true, false, true]
        );
    }

    #[test]
    fn headers_imply_their_usual_status() {
        assert_eq!(
            befallen("retry_after=5", 0, 0.0).status,
            Some(StatusCode::TOO_MANY_REQUESTS)
        );
        assert_eq!(
            befallen("retry_after=5&status=503", 0, 0.0).status,
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(
            befallen("location=/x", 0, 0.0).status,
            Some(StatusCode::FOUND)
        );
    }
}
