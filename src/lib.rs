//! resumen: one fast answer from many slow, unreliable APIs. This page is the map of the code.
//!
//! # Data flow
//!
//! ```text
//!  providers            background                          memory                       clients
//!
//!  HTTP API ──▶ fetch ──▶ extract ──▶ aggregate::race ──▶ aggregate::complete
//!                                          ▲                      │ merge (newest wins), plan, count, log
//!                                          │                      ▼
//!  aggregate::refresh ──┐             aggregate::flights     aggregate::cache ──▶ render ──▶ server::fast_path ──▶ GET /resumen, /valor
//!                       ├─ requests ──────▶│                 (ArcSwap<snapshot>)      └────▶ api (router) ───────▶ everything else
//!  aggregate::live ─────┘                                      │     ▲    │
//!                                                              ▼     │    └▶ aggregate::derived (sources computed from others)
//!                                      store (state file) ◀─ persist  └── replicas (Redis): states of other replicas
//! ```
//!
//! A *flight* is one attempt at one source, shared by all its waiters (single flight). The background refresher and a
//! live request (`?fresh=1`) do the same thing: they request flights and wait. They differ in the waiting time. The state
//! file and other replicas are one more publisher and one more subscriber of the cache.
//!
//! # Modules
//!
//! A module imports only modules above it in this table; modules of one level do not import each other. The architecture
//! test (`tests/it/architecture.rs`) fails on an import that points down, and on a cycle of files.
//!
//! | level | module | contains | never |
//! |---|---|---|---|
//! | 0 | [`text`] | durations, sizes, suggestions, quoting, depth of JSON | imports anything of the crate |
//! | 1 | [`domain`] | source, reading, failure, outcome, freshness, snapshot, merge, schedule, redaction | waits, reads a clock, serialises |
//! | 2 | [`process`] | clock, task supervision, shutdown signals, thread priority, queues of long work | |
//! | 3 | [`metrics`] | counters, histograms, collectors for the registry of `prometheus-client` | serves HTTP |
//! | 3 | [`extract`] | body (JSON, XML, CSV, …) → JSON → jq filter → data, in worker processes with limits | evaluates a filter but `.` in this process |
//! | 3 | [`render`] | (snapshot, now) → body, version, headers; the only owner of the JSON keys | does I/O |
//! | 3 | [`store`] | the state file | fails a request |
//! | 3 | [`telemetry`] | the log, written through the redactor | |
//! | 4 | [`fetch`] | the `Fetch` trait and HTTP behind it: address policy, limits, failure codes | retries, caches |
//! | 4 | [`config`] | TOML → validated types; every problem at once, with its place | opens a socket |
//! | 5 | [`auth`] | tokens and sessions: a `Fetch` that logs in, and repeats a refused call once | stores anything but a refresh token |
//! | 6 | [`aggregate`] | cache, flights, race of providers, completion, refresher, live requests, derived sources, persister | waits for clients |
//! | 7 | [`replicas`] | leases, notifications and synchronisation through Redis | blocks a request on an unreachable store |
//! | 7 | [`server`] | listener, connections, deadlines, request validation, fast path, problem responses | knows a route or a provider |
//! | 8 | [`panel`] | the web page, its assets, the history of its charts | |
//! | 9 | [`api`] | routes, handlers, query parameters, event stream, health, `OpenAPI` document | requests a provider itself |
//! | 10 | [`simulator`] | simulated providers for `demo` and `simulate` | |
//! | 11 | [`app`] | wiring and lifecycle: build, spawn, reload, drain | parses arguments |
//! | 12 | [`cli`] | arguments, commands, terminal output | |
//!
//! # Decisions that must survive a change
//!
//! - **Newest wins.** A snapshot keeps, per source, the reading with the latest `fetched_at` and the failure with the
//!   latest start: two maxima. Merging is therefore commutative, associative and idempotent. Flights, the state file and
//!   replicas may publish in any order, twice or late. A failure never removes a reading; only age does. A derived source
//!   is not merged: it is computed again when an input changes.
//! - **Rendered once.** [`aggregate::Cache`] renders a snapshot at most once in 20 ms; a rendering never outlives the next
//!   change of freshness, and ages are written as of the end of its validity, so they are never understated. All clients
//!   receive the same bytes, and the cached path takes no lock.
//! - **Flights do not run on serving threads.** Flights and background tasks run on a runtime of two threads with a lower
//!   priority. A live request locks the table of flights for one lookup and then waits for a token.
//! - **A serving thread computes nothing that takes long.** Large renderings, compression and pages are made by background
//!   threads (`process::WorkQueue`), once for all requests that wait for the same (`process::SharedWork`). The fast path
//!   leaves a large snapshot to the router.
//! - **The fast path recognises, it does not parse.** It answers requests whose bytes match exactly; any other request
//!   hands its connection to hyper, whose answers are the same. Strictness lives in `server::validate` and
//!   `server::framing` only.
//! - **A reading belongs to a [`domain::SourceIdentity`]**, a digest of the name and the filters of its source. Restarts,
//!   reloads and replicas compare it and nothing else.
//! - **No replica leads.** A lease in Redis only saves calls. When the store is unreachable, attempts proceed without one,
//!   at intervals stretched by the number of replicas that were seen last.
//!
//! # Walks
//!
//! The functions of `src/` that one value passes, in one direction. The helpers below them are left out. A file that the
//! value passes on its way there and back stands once.
//!
//! **A provider's byte** (at most 30 files): `fetch/http_fetch.rs:run_attempt` → `fetch/exchange.rs:exchange` →
//! `fetch/response_head.rs:check_head` → `fetch/response_body.rs:read_decoded` → `aggregate/race.rs:call_provider` →
//! `extract/extractor.rs:extract_body` → `extract/worker_pool.rs:evaluate` → `extract/worker_queue.rs:acquire` →
//! `extract/worker_process.rs:exchange` → `extract/worker_protocol.rs:read_frame` →
//! `extract/worker.rs:run_worker` → `extract/evaluate.rs:evaluate_body` →
//! `extract/formats/mod.rs:read_body` → `extract/json.rs:check_json` → `extract/reader.rs:read_json` → `extract/writer.rs:write_json` → back to the
//! service → `domain/reading.rs:from_checked` → `aggregate/flights.rs:complete_local` →
//! `aggregate/complete.rs:complete_flight` → `aggregate/cache.rs:publish` → `domain/snapshot.rs:merge_outcome` →
//! `domain/source_state.rs:merge_outcome`. At the next request: `server/fast_path/serve.rs:poll_exchange` →
//! `api/answer.rs:find_rendering` → `render/rendering.rs:render_summary` → `render/summary_body.rs:write_summary` →
//! `server/response.rs:respond_with_rendering` → `render/encoded_bodies.rs:get_or_encode` →
//! `server/fast_path/response_cache.rs:insert` → `server/socket.rs:poll_write`.
//!
//! **A configuration value** (at most 12 files), `server.max_connections`: `cli/serve.rs:run` →
//! `cli/load_config.rs:read_config` → `config/load.rs:load` → `config/files.rs:read_file` →
//! `config/table_reader.rs:read_root` → `config/keys/declarations.rs:find_key` → `config/table.rs:integer` →
//! `config/validate/server_rules.rs:validate_server` → `app/server.rs:with_fetch` → `server/server_context.rs:new` →
//! `server/descriptor_limit.rs:connection_limits` → `server/http_server.rs:start`. The configuration is not read afterwards.
//!
//! **A live request** (at most 14 files beside `fetch`): `server/connection.rs:run_connection` →
//! `server/fast_path/serve.rs:serve` → `server/socket.rs:poll_fill` → `server/fast_path/parse.rs:parse_head`, which does
//! not recognise it → hyper → `server/framing.rs:scan` → `server/service.rs:respond` →
//! `server/validate.rs:validate_request` → `api/routes.rs:router` → `api/answer.rs:get_answer` →
//! `api/query.rs:parse` → `aggregate/live.rs:fetch_sources` → `aggregate/flights.rs:request_live` → the wait →
//! `render/rendering.rs:render_summary` → `server/response.rs:respond_with_rendering` → hyper.
//!
//! **A counter** (at most 6 files), `resumen_source_fetches_total`: `app/server.rs:with_fetch` creates it →
//! `app/core.rs:build` → `aggregate/complete.rs:complete_flight` → `metrics/fetch_metrics.rs:record_outcome` counts;
//! `api/service_collector.rs:encode` reads it for `api/metrics_page.rs:get_metrics`.

pub mod aggregate;
pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod extract;
pub mod fetch;
pub mod metrics;
pub mod panel;
pub mod process;
pub mod render;
pub mod replicas;
pub mod server;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod text;
