//! A line of the access log (`server.access_log`): one JSON object for each answered request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::domain::Time;

/// Maximum length of a path, a query and a user agent, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// Parameters whose values are logged; others may be secrets.
const LOGGED_PARAMETERS: [&str; 6] = ["fresh", "timeout", "max_age", "sources", "format", "event"];

/// What is logged of a request and its response.
pub(super) struct AccessRecord<'r> {
    /// When the request's head was complete, on the wall clock.
    pub(super) time: Time,
    pub(super) client: Option<IpAddr>,
    pub(super) method: &'r str,
    pub(super) path: &'r str,
    pub(super) query: Option<&'r str>,
    pub(super) status: StatusCode,
    /// Length of the body; `None` for a stream.
    pub(super) body_length: Option<u64>,
    pub(super) duration: Duration,
    pub(super) request_id: Option<&'r [u8]>,
    pub(super) user_agent: Option<&'r [u8]>,
    /// The name of the token.
    pub(super) token: Option<&'r str>,
}

/// The members of the JSON object, in this order.
#[derive(Serialize)]
struct AccessLine<'r> {
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    method: &'r str,
    path: Cow<'r, str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'r str>,
}

impl AccessRecord<'_> {
    /// The line without its end.
    pub(super) fn to_json(&self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.time.as_millis());
        let time = time.unwrap_or(jiff::Timestamp::MAX);
        let text = |bytes| truncate(String::from_utf8_lossy(bytes));
        let path = truncate(self.path.into());
        let line = AccessLine {
            access: format!("{time:.3}"),
            client: self.client.map(|client| client.to_canonical()),
            method: self.method,
            path: match self.query {
                Some(query) => format!("{path}?{}", redact_query(query)).into(),
                None => path,
            },
            status: self.status.as_u16(),
            bytes: self.body_length,
            ms: self.duration.as_micros() as f64 / 1e3,
            request_id: self.request_id.map(text),
            user_agent: self.user_agent.map(text),
            token: self.token,
        };
        // Serialising texts and numbers cannot fail.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// The query with the values of unknown parameters replaced.
fn redact_query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if LOGGED_PARAMETERS.contains(&name) => pair.into(),
        Some((name, _)) => format!("{name}=***").into(),
        None if pair.is_empty() => Cow::from(pair),
        None => Cow::from("***"),
    });
    truncate(pairs.collect::<Vec<_>>().join("&").into()).into_owned()
}

fn truncate(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            time: Time::from_millis(1_795_330_510_734),
            client: Some("::ffff:192.0.2.7".parse().unwrap()),
            method: "GET",
            path: "/resumen",
            query: Some("fresh=1&sources=btc&key=hunter2&hunter2&_=7"),
            status: StatusCode::OK,
            body_length: Some(812),
            duration: Duration::from_micros(83),
            request_id: None,
            user_agent: Some(b"curl/8 \"\n\xff"),
            token: Some("wall"),
        }
    }

    #[test]
    fn line_has_members_in_order() {
        let expected = "{\"access\":\"2026-11-22T06:55:10.734Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
            \"path\":\"/resumen?fresh=1&sources=btc&key=***&***&_=***\",\"status\":200,\"bytes\":812,\"ms\":0.083,\
            \"user_agent\":\"curl/8 \\\"\\n\u{fffd}\",\"token\":\"wall\"}";
        assert_eq!(record().to_json(), expected);
    }

    #[test]
    fn long_texts_are_truncated() {
        let long = "x".repeat(9_000);
        let line = AccessRecord {
            path: &long,
            query: Some(&long),
            user_agent: Some(long.as_bytes()),
            request_id: Some(long.as_bytes()),
            ..record()
        };
        assert!(line.to_json().len() < 1_000);
    }
}
