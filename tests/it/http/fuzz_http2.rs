//! A client that sends generated requests by HTTP/2, several at a time, and compares the responses with
//! the oracle.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use tokio::task::LocalSet;
use tokio_rustls::rustls::ClientConfig;

use super::fuzz_generator::RequestGenerator;
use super::fuzz_oracle::{ExpectedResponse, ResponseOracle};
use super::fuzz_parser::{ParsedInput, ParsedRequestHead, parse_input};
use super::fuzz_runner::FuzzTally;
use crate::support::http2_client::{Http2Client, read_body};

/// Number of requests that are sent before the first response is read.
const REQUESTS_AT_ONCE: usize = 12;

/// Number of requests on one connection.
const REQUESTS_PER_CONNECTION: usize = 120;

/// Fields that HTTP/2 does not have (RFC 9113 §8.2.2), or which `:authority` replaces.
const HTTP1_FIELDS: [HeaderName; 6] = [
    HOST,
    http::header::CONNECTION,
    http::header::UPGRADE,
    http::header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Sends requests until `is_enough`.
pub fn run_http2_client(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    mut generator: RequestGenerator,
    oracle: &ResponseOracle,
    is_enough: impl Fn(&FuzzTally) -> bool,
) -> FuzzTally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let run = async {
        let mut tally = FuzzTally::default();
        while !is_enough(&tally) {
            let client = Http2Client::connect(address, config, 65_535).await;
            tally.connections += 1;
            for _ in 0..REQUESTS_PER_CONNECTION / REQUESTS_AT_ONCE {
                let heads = std::iter::repeat_with(|| generator.generate_valid());
                let heads: Vec<Vec<u8>> = heads.take(REQUESTS_AT_ONCE).collect();
                exchange(&client, &heads, oracle, &mut tally).await;
            }
        }
        tally
    };
    LocalSet::new().block_on(&runtime, run)
}

/// Sends requests, then reads the responses.
async fn exchange(
    client: &Http2Client,
    heads: &[Vec<u8>],
    oracle: &ResponseOracle,
    tally: &mut FuzzTally,
) {
    let mut waiting = Vec::new();
    for bytes in heads {
        let ParsedInput::Request(head) = parse_input(bytes) else {
            panic!("not a request: {}", bytes.escape_ascii());
        };
        let expected = oracle.expected_response(&head);
        let response = client.send_request(to_http2(&head)).await;
        waiting.push((bytes, expected, response));
    }
    for (bytes, expected, response) in waiting {
        let sent = bytes.escape_ascii();
        let response = response
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sent}"));
        let (head, body) = response.into_parts();
        let body = read_body(body)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{sent}\n{head:?}"));
        *tally.statuses.entry(head.status.as_u16()).or_default() += 1;
        tally.requests += 1;
        if let Some(flaw) = find_flaw(&head, &body, &expected) {
            panic!("{flaw}, expected {expected:?}\n{sent}\n{head:?}");
        }
    }
}

/// The same request by HTTP/2.
fn to_http2(head: &ParsedRequestHead) -> Request<()> {
    let mut uri = head.uri.clone().into_parts();
    uri.scheme.get_or_insert(http::uri::Scheme::HTTPS);
    uri.authority
        .get_or_insert(http::uri::Authority::from_static("test:8080"));
    let mut request = Request::builder()
        .method(&*head.method)
        .uri(Uri::from_parts(uri).unwrap());
    for (name, value) in &head.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        if !HTTP1_FIELDS.contains(&name) {
            request = request.header(name, HeaderValue::from_bytes(value).unwrap());
        }
    }
    request.body(()).unwrap()
}

fn find_flaw(
    head: &http::response::Parts,
    body: &[u8],
    expected: &ExpectedResponse,
) -> Option<String> {
    let status = head.status.as_u16();
    if !expected.statuses.contains(&status) {
        return Some(format!("unexpected status {status}"));
    }
    let field = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
    if HTTP1_FIELDS
        .iter()
        .any(|name| head.headers.contains_key(name))
    {
        return Some("a field of HTTP/1".to_owned());
    }
    if expected.is_bodiless || [204, 304].contains(&status) {
        return (!body.is_empty()).then(|| "an unexpected body".to_owned());
    }
    if field("content-length") != Some(body.len().to_string().as_bytes()) {
        return Some("a wrong length".to_owned());
    }
    if status < 400 {
        return None;
    }
    if field("content-type") != Some(b"application/problem+json")
        || field("cache-control") != Some(b"no-store")
    {
        return Some("an error without a problem body".to_owned());
    }
    let code = format!("\"code\":\"{}", expected.code.unwrap_or_default());
    let has_code = memchr::memmem::find(body, code.as_bytes()).is_some();
    (!has_code).then(|| "unexpected code".to_owned())
}
