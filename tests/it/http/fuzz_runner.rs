//! Sends what was made up, reads what comes, and compares.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::fuzz_generator::RequestGenerator;
use super::fuzz_oracle::{ExpectedResponse, ResponseOracle};
use super::fuzz_parser::{ParsedInput, parse_input};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often two answers may be of two renderings before they are called different.
const MAX_TRIES: usize = 200;

/// What was done.
#[derive(Debug, Default)]
pub struct FuzzTally {
    /// Requests that were sent, those that cannot be read included.
    pub requests: u64,
    /// Connections that they came on.
    pub connections: u64,
    /// Connections that were compared between the two ways.
    pub compared_connections: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// One client that asks for ever.
pub struct FuzzRunner {
    address: SocketAddr,
    generator: RequestGenerator,
    oracle: ResponseOracle,
    tally: FuzzTally,
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
struct FuzzResponse {
    status: u16,
    /// Lines of its head, but for the date's value.
    head: Vec<String>,
    body: Vec<u8>,
}

/// What must come on a connection.
struct ExpectedResponses {
    expected: Vec<ExpectedResponse>,
    /// What may come beyond: one answer of these statuses, or none.
    optional_statuses: &'static [u16],
}

impl FuzzRunner {
    pub fn new(
        address: SocketAddr,
        generator: RequestGenerator,
        knowledge: ResponseOracle,
    ) -> Self {
        Self {
            address,
            generator,
            oracle: knowledge,
            tally: FuzzTally::default(),
        }
    }

    /// Asks until that is enough.
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
        let answers = self.send_split(bytes, &cuts, plan);
        assert_expected(bytes, plan, &answers);
        self.tally.connections += 1;
        self.tally.requests += answers.len() as u64;
        for answer in &answers {
            *self.tally.statuses.entry(answer.status).or_default() += 1;
        }
        if bytes.starts_with(b"GET /resumen HTTP/1.1\r\n") {
            self.compare_paths(bytes, &cuts, plan, answers);
        }
    }

    /// Asks once more, with an empty line before, which only the library passes over.
    fn compare_paths(
        &mut self,
        bytes: &[u8],
        cuts: &[usize],
        plan: &ExpectedResponses,
        mut short: Vec<FuzzResponse>,
    ) {
        let whole = [b"\r\n", bytes].concat();
        for attempt in 1..=MAX_TRIES {
            let long = self.send_split(&whole, &[whole.len()], plan);
            let difference = find_difference(plan, &short, &long);
            let Some(difference) = difference else { break };
            assert!(
                attempt < MAX_TRIES,
                "the two ways differ: {difference}\n{}",
                bytes.escape_ascii()
            );
            // A rendering lives for some milliseconds, and two answers may be of two.
            short = self.send_split(bytes, cuts, plan);
        }
        self.tally.compared_connections += 1;
    }

    /// What must come; none if that is a matter of luck, or would never end.
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
                    let broken = ExpectedResponse {
                        statuses: statuses.to_vec(),
                        closes_connection: true,
                        ..ExpectedResponse::default()
                    };
                    plan.expected.push(broken);
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
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut begin = 0;
        for end in cuts {
            // The service may have closed already.
            let _ = stream.write_all(&bytes[begin..*end]);
            begin = *end;
        }
        let _ = stream.shutdown(Shutdown::Write);
        let mut got = Vec::with_capacity(16 * 1024);
        match stream.read_to_end(&mut got) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("{error}\n{}", bytes.escape_ascii())
            }
            _ => {}
        }
        parse_responses(&got, plan).unwrap_or_else(|error| {
            panic!(
                "{error}\nasked: {}\ngot: {}",
                bytes.escape_ascii(),
                got.escape_ascii()
            );
        })
    }
}

/// Reads the answers strictly.
fn parse_responses(mut got: &[u8], plan: &ExpectedResponses) -> Result<Vec<FuzzResponse>, String> {
    let mut answers = Vec::new();
    while !got.is_empty() {
        let end = memchr::memmem::find(got, b"\r\n\r\n").ok_or("a head without an end")?;
        let text = std::str::from_utf8(&got[..end]).map_err(|_| "a head that is no text")?;
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
        got = &got[end + 4..];
        let expected = plan.expected.get(answers.len());
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
        let body = got.get(..length).ok_or("a body that is cut off")?.to_vec();
        got = &got[length..];
        answers.push(FuzzResponse { status, head, body });
    }
    Ok(answers)
}

/// Stops the test if these are not the answers that must come.
fn assert_expected(bytes: &[u8], plan: &ExpectedResponses, answers: &[FuzzResponse]) {
    let fail = |what: &str| {
        let got: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        let expected: Vec<_> = plan
            .expected
            .iter()
            .map(|one| (&one.statuses, one.code, one.closes_connection))
            .collect();
        panic!(
            "{what}\nexpected: {expected:?} {:?}\ngot: {got:?}\n{}",
            plan.optional_statuses,
            bytes.escape_ascii()
        );
    };
    if answers.len() < plan.expected.len() {
        fail("an answer is missing");
    }
    for (answer, expected) in answers.iter().zip(&plan.expected) {
        if !expected.statuses.contains(&answer.status) {
            fail("another status");
        }
        if let Some(why) = find_flaw(answer, expected) {
            fail(&format!("{why}: {answer:?}"));
        }
    }
    match &answers[plan.expected.len()..] {
        [] => {}
        [one] if plan.optional_statuses.contains(&one.status) => {}
        _ => fail("an answer too many"),
    }
}

fn find_flaw(answer: &FuzzResponse, expected: &ExpectedResponse) -> Option<&'static str> {
    let has = |line: &str| answer.head.iter().any(|known| known == line);
    if answer.status >= 400 && !answer.body.is_empty() {
        if !has("content-type: application/problem+json") || !has("cache-control: no-store") {
            return Some("a refusal that is no problem");
        }
        let code = expected.code.map(|code| format!("\"code\":\"{code}"));
        if code.is_some_and(|code| memchr::memmem::find(&answer.body, code.as_bytes()).is_none()) {
            return Some("another code");
        }
    } else if answer.status >= 400 && expected.code.is_some() && !expected.is_bodiless {
        return Some("a refusal without a word");
    }
    if !has("date") {
        return Some("no date");
    }
    (has("connection: close") && !expected.closes_connection)
        .then_some("a goodbye without a reason")
}

/// What differs between the answers of the two ways.
fn find_difference(
    plan: &ExpectedResponses,
    short: &[FuzzResponse],
    long: &[FuzzResponse],
) -> Option<String> {
    let mut pairs = short.iter().zip(long).zip(&plan.expected);
    let differs = |((one, two), expected): &((&FuzzResponse, &FuzzResponse), &ExpectedResponse)| {
        if expected.is_volatile {
            one.status != two.status
        } else {
            one.status != two.status || !is_equivalent(one, two)
        }
    };
    pairs
        .find(differs)
        .map(|((one, two), _)| format!("{one:?}\n{two:?}"))
}

/// Whether all is equal but for an identifier that was made up.
fn is_equivalent(one: &FuzzResponse, two: &FuzzResponse) -> bool {
    let is_id = |line: &String| line.starts_with("x-request-id: ");
    let heads = one
        .head
        .iter()
        .zip(&two.head)
        .all(|(a, b)| a == b || (is_id(a) && is_id(b)));
    heads && one.head.len() == two.head.len() && one.body == two.body
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
            "{requests} requests on {connections} connections, {compared} of which by both ways: {statuses:?}"
        )
    }
}
