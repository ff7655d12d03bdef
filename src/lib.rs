//! resumen: one fast, honest answer from many slow, unreliable APIs. This page is the map of the house, for the person
//! who carries it on.
//!
//! # The idea in five sentences
//!
//! A pure core ([`domain`]) knows sources, readings, failures, freshness and snapshots, and how they merge; it never
//! waits and never asks the time. A *flight* ([`flight`]) is one attempt at one source: its providers raced in order,
//! bytes capped, decoded and extracted under one deadline; at most one per source is in the air, and it lands by
//! publishing its outcome. One cell ([`cache`]) holds an immutable snapshot and its rendered bytes in an `ArcSwap`.
//! The refresher ([`refresh`]) and a live request ([`live`]) do the same thing, ask for flights and wait for them; what
//! differs is who waits and how long. Stores are one more publisher and one more subscriber of the same cell.
//!
//! # Why it holds: newest wins
//!
//! A snapshot keeps, per source, the reading with the latest `fetched_at` and the failure with the latest `at`: two
//! maxima. Merging is therefore commutative, associative and idempotent; flights, restored files and other replicas may
//! publish in any order, twice, or late. No replica leads, and nothing is fenced. A failure never removes a reading, only age does. Counters and `failing_since`
//! are diagnostics beside the two maxima. A derived source is not merged at all: it is a function of its inputs,
//! computed again at each swap that touches one, and as stale as the oldest reading that went into it.
//!
//! # Rendered once, true at any moment
//!
//! [`render`] gives bytes and `valid_until`, at most 20 ms later and never past the next fresh→stale→missing edge; ages
//! are written as of that instant, so they are never understated. [`cache::Cache::current`] hands the same bytes to
//! everybody until then: some fifty renderings a second at any load, none at rest.
//!
//! # Floors
//!
//! Imports point down only; `tests/it/layers.rs` reads the sources and fails on a new arrow.
//!
//! | floor | module | what it is | it never |
//! |---|---|---|---|
//! | 0 | [`domain`] | words and rules: source, provider, reading, failure, outcome, freshness, snapshot, merge, pace | waits, reads a clock, serialises |
//! | 0 | [`clock`] | wall time at start and what has passed since, sleep included; deadlines | steps |
//! | 1 | [`extract`] | bytes → JSON → jq → data, within depth and size limits | does I/O |
//! | 1 | [`render`] | (snapshot, now) → body, version, headers; the only owner of the wire names | does I/O |
//! | 2 | [`config`] | text → raw types → validated types; every problem at once with its place | opens a socket |
//! | 2 | [`fetch`] | the `Fetch` port and HTTP behind it: addresses guarded, bytes capped, errors coded | retries, caches |
//! | 2 | [`store`] | readings outside the process: the state file, and Redis for what replicas share | fails a request |
//! | 3 | [`fleet`] | this replica among others: leave before a flight, word after it | connects, merges, keeps anybody waiting for a dead store |
//! | 3 | [`flight`] | the race of one source's providers; the table of flights; when the next may start | waits for clients |
//! | 3 | [`cache`] | the cell | reads a clock |
//! | 4 | [`refresh`] | the background task on its schedule | fetches by itself |
//! | 4 | [`mod@derive`] | the background task that computes derived sources | fetches |
//! | 4 | [`save`] | the background task that keeps the state file | is in a reader's way |
//! | 4 | [`share`] | the background task that keeps the store of the replicas open and takes in what they tell | is in a reader's way |
//! | 4 | [`live`] | a fan-out under a deadline: flights asked, waited for, told apart | publishes |
//! | 4 | [`http`] | accept loop, guards, routes, representations, stream, metrics, panel, the document of it all (`http/openapi`) | asks a provider |
//! | 5 | [`app`] | builds it all from a configuration, runs, reloads, drains | parses arguments |
//! | 6 | [`cli`] | arguments, tables, exit codes | |
//! | – | [`shutdown`], [`supervise`], [`telemetry`], [`simulator`], `priority` | signals → tokens; tasks started again; log lines through a mask; simulated providers; threads that give way | |
//!
//! # A provider's byte on its way
//!
//! `bytes → Payload (capped) → Value → data → Reading → Outcome → Snapshot (newest wins) → Rendering → response | event
//! | metric | state file | Redis`. In files: `fetch/http.rs` reads it under the deadline, `fetch/body.rs` decodes and counts it,
//! `extract` checks and filters it, `flight/race.rs` makes it a reading, `flight/table.rs` lands it, `app/engine.rs`
//! publishes it into `cache.rs`, plans the next attempt and tells a change of health, `render` writes it, `http/express.rs`
//! sends it (`http/front.rs` and the routes whatever is not a plain `GET /resumen`). One direction; a live answer walks the same way and is rendered from the snapshot after the wait, so it can
//! never show less than the cached path does a moment later.
//!
//! # A configuration value on its way
//!
//! `config/raw.rs` reads it with its place, `config/expand.rs` fills in `${…}`, `config/validate` makes it a [`domain`]
//! type or a problem, `app` hands it to whom it concerns. After that nobody looks at the configuration again.
//!
//! # Where it runs
//!
//! Flights, the refresher and the other background tasks run on a small runtime of their own; filters in
//! worker processes; the serving threads only serve, and where they share a processor the others give way. A live request takes the table's lock for the moment of its wish and then
//! waits on a token; the cached path takes no lock at all.
//!
//! # Several replicas
//!
//! With `store.redis`, a flight asks the fleet for its source's lease before it calls anybody (`fleet/board.rs`, the
//! scripts in `store/redis/scripts.rs`). The answer is one of four: it is yours, call; somebody calls now, wait for what
//! that brings or for the lease to end; somebody just called, rest; or here is a newer outcome than you know, which to
//! the schedule is as good. After the race the outcome goes the usual way into the cell, its waiters wake, and only then
//! is the fleet told: one script that compares the token, writes what is known if it is newer, leaves the lease standing
//! for what is left of `min_interval`, and tells everybody that there is news. Others fetch it, and it takes the way of
//! any outcome: merged newest-wins, planned from, told to the streams (`Flights::hear`, `app/engine.rs`). So the plan of
//! every replica follows from the fleet's newest outcome, and no key has to live for an interval.
//!
//! Nobody ever waits for a store that is known to be gone: from the first operation that fails on nobody asks it, while
//! `share.rs` tries the session once again, then opens another, at once and then every second. Until one works a replica
//! calls by itself, and once the second try has failed its pauses are stretched by the number of replicas seen last
//! (`domain/schedule.rs`). The same logic runs under paused time over a simulated store, through thousands of random lives
//! of a fleet (`tests/it/fleet_schedules.rs`); that a lease must outlast `min_interval` was found there.
//!
//! Instants in the store are on the store's own clock. A start sets the program's clock by it, so that replicas date a
//! reading alike to the millisecond and give it the same version; a clock that could not be set is translated
//! (`fleet/skew.rs`). What replicas write to each other, and what follows from reading it, is in
//! `store/shared/protocol.rs`; docs/replicas.md tells an operator what to expect.
//!
//! # Where this differs from the plan
//!
//! - HTTP to providers is hyper's connection under our own connect path rather than reqwest: the phase in which a
//!   deadline passed, the address really connected to, the size of a head and the reuse of a connection must be seen.
//! - Live requests reach the table of flights through a mutex held for a map lookup, not through a channel: simpler, and
//!   the cached path never meets it.
//! - The plan of the next attempt is part of a source's entry, set in the same swap as the outcome it follows from:
//!   whoever reads a snapshot can tell when the next one comes, and the refresher needs no rules of its own.
//! - A filter runs in a worker process with limits of the kernel: jq itself can be neither interrupted nor bounded.
//! - What a reading belongs to is one value, [`domain::Identity`], a digest of a source's name and filters; restarts,
//!   reloads and flights that land late all ask it and nothing else.

pub mod aggregate;
pub mod api;
pub mod app;
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
