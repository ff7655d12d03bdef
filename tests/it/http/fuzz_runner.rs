//! A client that sends generated requests and compares the responses with the oracle.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::fuzz_generator::RequestGenerator;
use super::fuzz_oracle::{ExpectedResponse, ResponseOracle};
use super::fuzz_parser::{ParsedInput, parse_input};

/// Time limit of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of attempts to get two responses with the same rendering.
const MAX_ATTEMPTS: usize = 200;

/// Counters of a run.
#[derive(Debug, Default)]
pub struct FuzzTally {
    /// Requests with a response, malformed ones included.
    pub requests: u64,
    pub connections: u64,
    /// Connections whose bytes were compared between the fast path and hyper.
    pub compared_connections: u64,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// One client.
pub struct FuzzRunner {
    address: SocketAddr,
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
    pub fn new(address: SocketAddr, generator: RequestGenerator, oracle: ResponseOracle) -> Self {
        Self {
            address,
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
        if bytes.starts_with(b"GET /resumen HTTP/1.1\r\n") {
            self.compare_paths(bytes, &cuts, plan, responses);
        }
    }

    /// Sends the connection again after an empty line, which only hyper skips.
    fn compare_paths(
        &mut self,
        bytes: &[u8],
        cuts: &[usize],
        plan: &ExpectedResponses,
        mut fast: Vec<FuzzResponse>,
    ) {
        let whole = [b"\r\n", bytes].concat();
        for attempt in 1..=MAX_ATTEMPTS {
            let slow = self.send_split(&whole, &[whole.len()], plan);
            let difference = find_difference(plan, &fast, &slow);
            let Some(difference) = difference else { break };
            assert!(
                attempt < MAX_ATTEMPTS,
                "the fast path and hyper differ: {difference}\n{}",
                bytes.escape_ascii()
            );
            // A rendering is valid for 20 ms: two responses may have different ones.
            fast = self.send_split(bytes, cuts, plan);
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
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        let mut start = 0;
        for end in cuts {
            // The server may have closed the connection.
            let _ = stream.write_all(&bytes[start..*end]);
            start = *end;
        }
        let _ = stream.shutdown(Shutdown::Write);
        let mut received = Vec::with_capacity(16 * 1024);
        match stream.read_to_end(&mut received) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("{error}\n{}", bytes.escape_ascii())
            }
            _ => {}
        }
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

/// Whether two responses are equal but for a generated request id.
fn is_equivalent(first: &FuzzResponse, second: &FuzzResponse) -> bool {
    let is_id = |line: &String| line.starts_with("x-request-id: ");
    let heads = first
        .head
        .iter()
        .zip(&second.head)
        .all(|(a, b)| a == b || (is_id(a) && is_id(b)));
    heads && first.head.len() == second.head.len() && first.body == second.body
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
