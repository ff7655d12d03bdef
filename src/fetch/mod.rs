//! Requests to providers: the [`Fetch`] trait and its implementation with reqwest.
//!
//! The module sends a request, limits and decodes the response, and gives every failure a code.
//! Responses are not cached, and nothing is logged. A request is repeated once if a pooled connection was
//! already dead, to answer a Digest challenge, and to follow a redirect of the same host.
//!
//! A request passes through these files in order:
//!
//! | file | step |
//! |---|---|
//! | `http_fetch` | runs the attempt and redacts its failure |
//! | `request` | builds the request |
//! | `request_sender` | sends it, and what its answers require |
//! | `call_limiter` | waits for one of `max_per_host` permits of the host and port |
//! | `endpoints` | selects the client, and closes idle connections |
//! | `client` | builds a client for a set of connection settings |
//! | `connector` | resolves names, applies the address policy, notes the phase |
//! | `exchange` | sends one request with one client and waits for the response head |
//! | `challenges`, `digest`, `redirects` | change the request that must be sent again |
//! | `response_head`, `response_body` | check the head, read and decode the body |
//! | `validators` | makes requests conditional |
//! | `cache_lifetime` | how long a response stays valid |
//! | `body_memory` | waits for the memory of a body, which is held until its evaluation has ended |
//! | `refusal`, `page_text`, `challenge_note`, `rate_limit`, `retry_after` | of a response that refuses: its reason, what it asks for, and how long to hold the provider back |
//! | `tls`, `certificate_verifier` | configure TLS, check the certificate of the server |
//! | `transport_error`, `tls_failure` | map the errors of reqwest, hyper, h2 and rustls to codes |
//!
//! Connections run on a separate runtime (`connection_runtime`): a provider that floods a connection
//! occupies a thread of that runtime, never one that checks deadlines.

mod body_memory;
mod cache_lifetime;
mod call_limiter;
mod certificate_facts;
mod certificate_verifier;
mod challenge_note;
mod challenges;
mod client;
mod connection_runtime;
mod connector;
mod credentials;
mod deadline;
mod digest;
mod endpoints;
mod exchange;
mod fetch_trait;
mod http_fetch;
mod ip_policy;
mod page_text;
mod rate_limit;
mod redirects;
mod refusal;
mod request;
mod request_sender;
mod resolver;
mod response_body;
mod response_head;
mod retry_after;
mod tls;
mod tls_failure;
mod trace;
mod transport_error;
mod validators;

pub use client::Endpoint;
pub use fetch_trait::{
    CallPriority, Fetch, FetchContext, FetchError, FetchFuture, Payload, RefusedResponse,
};
pub use http_fetch::HttpFetch;
pub use resolver::ResolveFn;
pub use retry_after::parse_retry_after;
pub use validators::Validators;
