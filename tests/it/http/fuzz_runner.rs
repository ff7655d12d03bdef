//! A client that sends generated requests and compares the responses with the oracle.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;

use super::fuzz_generator::RequestGenerator;
use super::fuzz_oracle::{ExpectedResponse, ResponseOracle};
use super::fuzz_parser::{ParsedInput, parse_input};
use super::fuzz_transport::FuzzTransport;
use super::response_headers::decode_body;

/// Counters of a run.
#[derive(Debug, Default)]
pub struct FuzzTally {
    /// Requests with a response, malformed ones included.
    pub requests: u64,
    pub connections: u64,
    /// Connections whose responses were compared between the fast path and hyper.
    pub compared_connections: u64,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// One client.
pub struct FuzzRunner {
    address: SocketAddr,
    transport: FuzzTransport,
    generator: RequestGenerator,
    oracle: ResponseOracle,
    tally: FuzzTally,
}

/// One response.
#[derive(Debug, PartialEq, Eq)]
struct FuzzResponse {
    status: u16,
    /// The header lines, without the value of `date`.
    head: Vec<String>,
    body: Vec<u8>,
}

/// The expected responses of a connection.
struct ExpectedResponses {
    expected: Vec<ExpectedResponse>,
    /// The statuses of one more response that is optional.
    optional_statuses: &'static [u16],
}

impl FuzzRunner {
    pub fn new(
        address: SocketAddr,
        transport: FuzzTransport,
        generator: RequestGenerator,
        oracle: ResponseOracle,
    ) -> Self {
        Self {
            address,
            transport,
            generator,
            oracle,
            tally: FuzzTally::default(),
        }
    }

    /// Sends connections until `is_enough`.
    pub fn run_until(mut self, is_enough: impl Fn(&FuzzTally) -> bool) -> FuzzTally {
        while !is_enough(&self.tally) {
            let bytes = self.generator.generate_connection();
            if let Some(plan) = self.plan_responses(&bytes) {
                self.run_connection(&bytes, &plan);
            }
        }
        self.tally
    }

    fn run_connection(&mut self, bytes: &[u8], plan: &ExpectedResponses) {
        let cuts = self.generator.generate_cuts(bytes.len());
        let responses = self.send_split(bytes, &cuts, plan);
        assert_expected(bytes, plan, &responses);
        self.tally.connections += 1;
        self.tally.requests += responses.len() as u64;
        for response in &responses {
            *self.tally.statuses.entry(response.status).or_default() += 1;
        }
        let fast_starts: [&[u8]; 3] = [b"GET /resumen", b"GET /valor/", b"GET /insignia/"];
        if fast_starts.iter().any(|start| bytes.starts_with(start)) {
            self.compare_paths(bytes, plan, &responses);
        }
    }

    /// Sends the connection again after an empty line, which only hyper skips.
    fn compare_paths(&mut self, bytes: &[u8], plan: &ExpectedResponses, fast: &[FuzzResponse]) {
        let whole = [b"\r\n", bytes].concat();
        let slow = self.send_split(&whole, &[whole.len()], plan);
        if let Some(difference) = find_difference(plan, fast, &slow) {
            panic!(
                "the fast path and hyper differ: {difference}\n{}",
                bytes.escape_ascii()
            );
        }
        self.tally.compared_connections += 1;
    }

    /// The expected responses. `None` if they depend on timing or are endless.
    fn plan_responses(&self, bytes: &[u8]) -> Option<ExpectedResponses> {
        let mut plan = ExpectedResponses {
            expected: Vec::new(),
            optional_statuses: &[],
        };
        let mut rest = bytes;
        loop {
            match parse_input(rest) {
                ParsedInput::Empty => return Some(plan),
                ParsedInput::Ambiguous => return None,
                ParsedInput::Incomplete => {
                    plan.optional_statuses = &[400, 431];
                    return Some(plan);
                }
                ParsedInput::Malformed(statuses) => {
                    let malformed = ExpectedResponse {
                        statuses: statuses.to_vec(),
                        closes_connection: true,
                        ..ExpectedResponse::default()
                    };
                    plan.expected.push(malformed);
                    return Some(plan);
                }
                ParsedInput::Request(head) => {
                    let expected = self.oracle.expected_response(&head);
                    if expected.is_endless && !expected.closes_connection {
                        return None;
                    }
                    let closes = expected.closes_connection;
                    plan.expected.push(expected);
                    if closes {
                        return Some(plan);
                    }
                    rest = &rest[head.length..];
                }
            }
        }
    }

    fn send_split(
        &self,
        bytes: &[u8],
        cuts: &[usize],
        plan: &ExpectedResponses,
    ) -> Vec<FuzzResponse> {
        let received = self.transport.exchange(self.address, bytes, cuts);
        let received = received.unwrap_or_else(|error| panic!("{error}\n{}", bytes.escape_ascii()));
        parse_responses(&received, plan).unwrap_or_else(|error| {
            panic!(
                "{error}\nsent: {}\nreceived: {}",
                bytes.escape_ascii(),
                received.escape_ascii()
            );
        })
    }
}

/// Parses responses strictly.
fn parse_responses(
    mut received: &[u8],
    plan: &ExpectedResponses,
) -> Result<Vec<FuzzResponse>, String> {
    let mut responses = Vec::new();
    while !received.is_empty() {
        let end = memchr::memmem::find(received, b"\r\n\r\n").ok_or("a head without an end")?;
        let text = std::str::from_utf8(&received[..end]).map_err(|_| "a head that is not text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
        let status = status
            .and_then(|rest| rest.get(2..5))
            .and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {text:?}"))?;
        let head: Vec<String> = lines
            .map(|line| {
                if line.starts_with("date: ") {
                    "date"
                } else {
                    line
                }
                .into()
            })
            .collect();
        received = &received[end + 4..];
        let expected = plan.expected.get(responses.len());
        let is_bodiless =
            expected.is_some_and(|expected| expected.is_bodiless) || [204, 304].contains(&status);
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = if is_bodiless {
            0
        } else {
            length
                .and_then(|text| text.parse().ok())
                .ok_or("no length")?
        };
        let body = received
            .get(..length)
            .ok_or("a body that is cut off")?
            .to_vec();
        received = &received[length..];
        responses.push(FuzzResponse { status, head, body });
    }
    Ok(responses)
}

/// Panics unless the responses are the expected ones.
fn assert_expected(bytes: &[u8], plan: &ExpectedResponses, responses: &[FuzzResponse]) {
    let fail = |what: &str| {
        let received: Vec<u16> = responses.iter().map(|response| response.status).collect();
        let expected: Vec<_> = plan
            .expected
            .iter()
            .map(|first| (&first.statuses, first.code, first.closes_connection))
            .collect();
        panic!(
            "{what}\nexpected: {expected:?} {:?}\ngot: {received:?}\n{}",
            plan.optional_statuses,
            bytes.escape_ascii()
        );
    };
    if responses.len() < plan.expected.len() {
        fail("a response is missing");
    }
    for (response, expected) in responses.iter().zip(&plan.expected) {
        if !expected.statuses.contains(&response.status) {
            fail("unexpected status");
        }
        if let Some(flaw) = find_flaw(response, expected) {
            fail(&format!("{flaw}: {response:?}"));
        }
    }
    match &responses[plan.expected.len()..] {
        [] => {}
        [first] if plan.optional_statuses.contains(&first.status) => {}
        _ => fail("one response too many"),
    }
}

fn find_flaw(response: &FuzzResponse, expected: &ExpectedResponse) -> Option<&'static str> {
    let has = |line: &str| response.head.iter().any(|known| known == line);
    if response.status >= 400 && !response.body.is_empty() {
        if !has("content-type: application/problem+json") || !has("cache-control: no-store") {
            return Some("an error without a problem body");
        }
        let code = expected.code.map(|code| format!("\"code\":\"{code}"));
        if code.is_some_and(|code| memchr::memmem::find(&response.body, code.as_bytes()).is_none())
        {
            return Some("unexpected code");
        }
    } else if response.status >= 400 && expected.code.is_some() && !expected.is_bodiless {
        return Some("an error without a body");
    }
    if !has("date") {
        return Some("no date");
    }
    (has("connection: close") && !expected.closes_connection)
        .then_some("an unexpected `Connection: close`")
}

/// The first difference between the responses of the two paths.
fn find_difference(
    plan: &ExpectedResponses,
    fast: &[FuzzResponse],
    slow: &[FuzzResponse],
) -> Option<String> {
    let mut pairs = fast.iter().zip(slow).zip(&plan.expected);
    let differs =
        |((first, second), expected): &((&FuzzResponse, &FuzzResponse), &ExpectedResponse)| {
            if expected.is_volatile {
                first.status != second.status
            } else {
                first.status != second.status || !is_equivalent(first, second)
            }
        };
    pairs
        .find(differs)
        .map(|((first, second), _)| format!("{first:?}\n{second:?}"))
}

/// Whether two responses are equal but for the order of the header fields, for a generated request id, and
/// for what depends on the time: a rendering is valid for 20 ms, so that two responses may have different
/// ones, and is sent as it is while another thread compresses it.
fn is_equivalent(first: &FuzzResponse, second: &FuzzResponse) -> bool {
    let mask_head = |response: &FuzzResponse| -> Vec<String> {
        let lines = response.head.iter();
        let mut lines: Vec<_> = lines.filter_map(|line| mask_line(line)).collect();
        lines.sort_unstable();
        lines
    };
    mask_head(first) == mask_head(second)
        && (first.body == second.body || mask_times(first) == mask_times(second))
}

/// A header line without what may differ.
fn mask_line(line: &str) -> Option<String> {
    match line.split_once(": ") {
        Some(("content-encoding", _)) => None,
        Some(("x-request-id", _)) => Some("x-request-id".to_owned()),
        Some(("age" | "content-length" | "cache-status" | "cdn-cache-control", _)) => {
            Some(line.replace(|c: char| c.is_ascii_digit(), ""))
        }
        _ => Some(line.to_owned()),
    }
}

/// A summary without its time and the ages; another body as it is.
fn mask_times(response: &FuzzResponse) -> Vec<u8> {
    let mut codings = response.head.iter();
    let coding = codings.find_map(|line| line.strip_prefix("content-encoding: "));
    let body = match coding {
        Some(coding) if !response.body.is_empty() => decode_body(coding, &response.body),
        _ => response.body.clone(),
    };
    let Ok(Value::Object(mut summary)) = serde_json::from_slice(&body) else {
        return body;
    };
    summary.remove("generated_at");
    // The ages of a flat summary.
    summary.retain(|name, _| !name.ends_with(".age_ms"));
    let results = summary.get_mut("resultados").and_then(Value::as_object_mut);
    for result in results.into_iter().flat_map(|results| results.values_mut()) {
        result.as_object_mut().unwrap().remove("age_ms");
    }
    Value::Object(summary).to_string().into_bytes()
}

impl FuzzTally {
    pub fn merge_counts(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.connections += other.connections;
        self.compared_connections += other.compared_connections;
        other
            .statuses
            .into_iter()
            .for_each(|(status, count)| *self.statuses.entry(status).or_default() += count);
        self
    }
}

impl fmt::Display for FuzzTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            connections,
            compared_connections: compared,
            statuses,
        } = self;
        write!(
            f,
            "{requests} requests on {connections} connections, {compared} of them over both paths: {statuses:?}"
        )
    }
}
