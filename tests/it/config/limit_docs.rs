//! `docs/limits.md`: each limit has the value of its constant in `src`, and each key is documented.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::ops::log_docs::rust_files;
use crate::support::markdown::{MarkdownSection, assert_lists_exactly, markdown_sections};

/// Rows of the document: limit, value, name of the constant, value of the constant in the source.
const CONSTANTS: &[[&str; 4]] = &[
    ["request head", "16 KiB", "MAX_BUFFER", "16 * 1024"],
    ["request header fields", "64", "MAX_HEADERS", "64"],
    [
        "client that reads nothing of its response",
        "10 s",
        "WRITE_STALL_TIMEOUT",
        "Duration::from_secs(10)",
    ],
    [
        "new connections started per loop iteration of a serving thread",
        "32",
        "MAX_STARTS_PER_ROUND",
        "32",
    ],
    [
        "requests of an HTTP/2 connection that are answered at a time",
        "32",
        "MAX_STREAMS",
        "32",
    ],
    [
        "part of an HTTP/2 response that waits for the client's window",
        "16 KiB",
        "PART_BYTES",
        "16 << 10",
    ],
    [
        "the same part of an HTTP/2 response waits for its client",
        "10 s",
        "WRITE_STALL_TIMEOUT",
        "Duration::from_secs(10)",
    ],
    [
        "bytes of TLS received without any of a request: an unfinished handshake or record",
        "32 KiB",
        "MAX_KEPT_BYTES",
        "32 << 10",
    ],
    [
        "plain text that a TLS connection keeps encrypted for its client",
        "16 KiB",
        "MAX_BUFFERED",
        "16 << 10",
    ],
    [
        "connections in the reserve",
        "128, or an eighth of what the descriptors allow, at least 4",
        "MAX_RESERVE",
        "128",
    ],
    [
        "request head in the reserve",
        "1 s",
        "RESERVED_HEAD_TIMEOUT",
        "Duration::from_secs(1)",
    ],
    [
        "the same while the reserve is full",
        "25 ms, 5 ms once a part of the head has arrived",
        "MIN_RESERVED_STALL",
        "Duration::from_millis(25)",
    ],
    [
        "request in the reserve that is no health check",
        "waits 1.5 s for a regular place; half of the reserve may wait",
        "MAX_PLACE_WAIT",
        "Duration::from_millis(1500)",
    ],
    [
        "live answer that is compressed",
        "128 KiB",
        "LARGE_BODY_BYTES",
        "128 << 10",
    ],
    [
        "summary that is rendered on a serving thread",
        "128 KiB",
        "LARGE_BODY_BYTES",
        "128 << 10",
    ],
    [
        "body that is compressed on a serving thread, but for `/resumen` without parameters",
        "16 KiB",
        "MAX_INLINE_CODING_BYTES",
        "16 << 10",
    ],
    [
        "different answers that wait for a background thread: renderings, live answers, pages, compressed bodies",
        "64 of each",
        "MAX_QUEUED_WORK",
        "64",
    ],
    [
        "rendering of a large live answer after its deadline",
        "20 ms",
        "LIVE_RENDER_GRACE",
        "Duration::from_millis(20)",
    ],
    [
        "page of metrics or of the health of the sources that is made anew for each request",
        "64 KiB",
        "LARGE_PAGE_BYTES",
        "64 << 10",
    ],
    [
        "renderings of selections that are kept for their lifetime",
        "64",
        "MAX_SELECTIONS",
        "64",
    ],
    [
        "bodies of these renderings",
        "1 MiB, and the newest one",
        "MAX_SELECTION_BYTES",
        "1 << 20",
    ],
    [
        "flat members of a source",
        "16 times its data and 64 KiB",
        "MAX_GROWTH",
        "16",
    ],
    [
        "paths that a misspelt one is compared with",
        "256",
        "MAX_COMPARED_PATHS",
        "256",
    ],
    [
        "text on each side of a badge",
        "48 characters",
        "MAX_BADGE_CHARS",
        "48",
    ],
    [
        "clients of the stream",
        "half of the connections that are allowed",
        "STREAM_PART",
        "2",
    ],
    [
        "heartbeat of a stream",
        "15 s",
        "HEARTBEAT_INTERVAL",
        "Duration::from_secs(15)",
    ],
    [
        "quoted input in a problem",
        "80 characters",
        "MAX_ECHOED_CHARS",
        "80",
    ],
    [
        "`X-Request-Id`",
        "128 bytes",
        "MAX_REQUEST_ID_LENGTH",
        "128",
    ],
    [
        "inactivity of the refresher",
        "10 s",
        "LIVENESS_TIMEOUT",
        "Duration::from_secs(10)",
    ],
    [
        "lifetime of a rendering",
        "20 ms",
        "RENDERING_LIFETIME",
        "Duration::from_millis(20)",
    ],
    ["response head", "64 KiB", "MAX_HEAD_BYTES", "64 * 1024"],
    ["response header fields", "100", "MAX_HEADERS", "100"],
    ["zstd window", "8 MiB", "ZSTD_WINDOW_LOG", "23"],
    ["nesting of JSON and XML", "64 levels", "MAX_DEPTH", "64"],
    ["columns of CSV", "10,000", "MAX_COLUMNS", "10_000"],
    [
        "text and HTML of the matches of `select`",
        "4 MiB, or the size of the page if larger",
        "MAX_MATCH_BYTES",
        "4 << 20",
    ],
    [
        "`Retry-After`",
        "15 min",
        "MAX_RETRY_AFTER",
        "Duration::from_secs(15 * 60)",
    ],
    [
        "first retry after a failure, doubled each time",
        "5 s",
        "INITIAL_BACKOFF",
        "Duration::from_secs(5)",
    ],
    [
        "concurrent name lookups",
        "64, one per host",
        "MAX_CONCURRENT_LOOKUPS",
        "64",
    ],
    ["addresses tried per name", "16", "MAX_ADDRESSES", "16"],
    [
        "idle connection to a provider",
        "1 s; longer if a call there is due within 5 s and none runs",
        "IDLE_TIME",
        "Duration::from_secs(1)",
    ],
    [
        "quotation of a provider's text",
        "120 characters",
        "MAX_QUOTE_CHARS",
        "120",
    ],
    ["filter text", "64 KiB", "MAX_TEXT_BYTES", "64 << 10"],
    ["filter nesting", "64", "MAX_NESTING", "64"],
    [
        "words and operators of a filter in a row",
        "16,384",
        "MAX_WORDS_IN_A_ROW",
        "16_384",
    ],
    [
        "filter result",
        "1 MiB, or the size of the body if larger",
        "MAX_RESULT_BYTES",
        "1 << 20",
    ],
    [
        "digits of a number in a result",
        "4,000",
        "MAX_DIGITS",
        "4000",
    ],
    [
        "filter workers",
        "2, and 1 for filters that did not end",
        "WORKERS",
        "2",
    ],
    [
        "memory of an evaluation",
        "64 MiB; in a container a third of what half of its limit leaves (the service has at least 48 MiB), at least 16 MiB",
        "DEFAULT_MEMORY_BYTES",
        "64 << 20",
    ],
    [
        "memory for each byte of a body beyond 1 MiB",
        "64 bytes",
        "MEMORY_PER_BODY_BYTE",
        "64",
    ],
    [
        "size that a byte of CSV, XML, HTML, JSON lines or Prometheus text counts as",
        "3 bytes",
        "JSON_PER_BODY_BYTE",
        "3",
    ],
    [
        "stack of an evaluation",
        "64 MiB of its memory",
        "STACK_BYTES",
        "64 << 20",
    ],
    [
        "descriptors of a filter worker",
        "4, all in use",
        "MAX_DESCRIPTORS",
        "4",
    ],
    [
        "processor time of an evaluation while others wait",
        "50 ms",
        "QUICK_TIME",
        "Duration::from_millis(50)",
    ],
    [
        "processor time of a long evaluation while others wait",
        "500 ms",
        "LONG_TIME",
        "Duration::from_millis(500)",
    ],
    [
        "evaluations that overtake one that waits",
        "1,000 for each rank",
        "MAX_OVERTAKING",
        "1000",
    ],
    [
        "all bodies of more than 16 KiB, from reception to the end of their filter",
        "256 MiB, in a container an eighth of its memory limit, at least 4 MiB",
        "DEFAULT_BYTES",
        "256 << 20",
    ],
    [
        "of these, bodies whose filter did not end last time",
        "a quarter",
        "ENDLESS_PART",
        "4",
    ],
    [
        "one body in a container",
        "three quarters of the memory of all bodies",
        "ENDLESS_PART",
        "4",
    ],
    [
        "all readings in a container",
        "a sixteenth of its memory limit, at least 2 MiB",
        "CONTAINER_PART",
        "16",
    ],
    [
        "time that a client may take for its next step, reading or sending, while `server.send_budget` is exceeded",
        "50 ms; from its second request on, or after it has read 32 KiB while the kernel's buffers were full, 400 ms; above twice the budget 0 and 50 ms",
        "MIN_CLIENT_WAIT",
        "Duration::from_millis(50)",
    ],
    [
        "kernel's buffers of a connection",
        "96 KiB to send, 32 KiB received; a Unix socket 16 KiB; a stream's 32 KiB to send",
        "SEND_BUFFER",
        "48 << 10",
    ],
    [
        "unread bytes of a closed connection in the kernel",
        "30 s",
        "UNREAD_TIMEOUT",
        "Duration::from_secs(30)",
    ],
    [
        "derived sources computed concurrently",
        "8",
        "MAX_CONCURRENT",
        "8",
    ],
    [
        "time of a derived source's filter",
        "500 ms",
        "COMPUTE_TIMEOUT",
        "Duration::from_millis(500)",
    ],
    [
        "numbers per source that are looked at",
        "10,000",
        "MAX_NUMBERS",
        "10_000",
    ],
    [
        "paths per source at first",
        "1,000",
        "INITIAL_PATHS",
        "1000",
    ],
    [
        "further paths per source",
        "100 in an hour",
        "HOURLY_PATHS",
        "100",
    ],
    [
        "path without a number",
        "1 day",
        "PATH_MEMORY",
        "Duration::from_secs(24 * 3600)",
    ],
    ["path of a series", "256 bytes", "MAX_PATH_BYTES", "256"],
    [
        "series of a source's own metrics",
        "10,000; those with labels are admitted like paths",
        "MAX_SERIES",
        "10_000",
    ],
    [
        "label of an own metric",
        "1,024 bytes",
        "MAX_LABEL_BYTES",
        "1024",
    ],
    [
        "time of a source's own metrics, for a reading",
        "2 s for all; if that fails, 500 ms for each eighth, then for each eighth of that; no further one after 5 s",
        "PROGRAM_TIMEOUT",
        "Duration::from_secs(2)",
    ],
    [
        "such a metric, with the next readings",
        "500 ms, after the others; of several, one for each reading",
        "PART_TIMEOUT",
        "Duration::from_millis(500)",
    ],
    ["configuration file", "8 MiB", "MAX_CONFIG_BYTES", "8 << 20"],
    [
        "file of `${file:…}`, `ca_file`, `cert_file`, `key_file` or `redis_ca_file`",
        "64 KiB",
        "MAX_FILE_BYTES",
        "64 << 10",
    ],
    [
        "duration",
        "3650 days",
        "MAX_DURATION",
        "Duration::from_secs(3650 * 86_400)",
    ],
    ["name", "64 characters", "MAX", "64"],
    ["shortest masked secret", "8 characters", "MIN_CHARS", "8"],
    [
        "saves of the state file",
        "one per second, and one at the end",
        "SAVE_INTERVAL",
        "Duration::from_secs(1)",
    ],
    ["state file", "64 MiB", "MAX_STATE_FILE_BYTES", "64 << 20"],
    [
        "state of a source in Redis",
        "4 MiB",
        "MAX_STORED_STATE_BYTES",
        "4 << 20",
    ],
    [
        "failure message from a store",
        "2,000 characters",
        "MAX_MESSAGE_CHARS",
        "2000",
    ],
    ["readings per sparkline", "120", "MAX_READINGS", "120"],
    ["sparklines per source", "12", "MAX_COLUMNS", "12"],
    ["sources with sparklines", "500", "MAX_SOURCES", "500"],
];

/// Limits that follow from a key, not from a constant.
const DERIVED_FROM_KEYS: [&str; 2] = [
    "accepted connection that waits for a serving thread",
    "time of a fetched source's filter",
];

const CONFIGURED: &str = "Set in the configuration";

const CONTAINER: &str = "Memory in a container";

#[test]
fn documented_constants_match() {
    let sources: Vec<String> = rust_files(Path::new("src"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for [limit, _, name, value] in CONSTANTS {
        let is_definition = |line: &str| {
            line.contains(&format!("const {name}: ")) && line.ends_with(&format!(" = {value};"))
        };
        let mut lines = sources.iter().flat_map(|text| text.lines());
        assert!(
            lines.any(is_definition),
            "{limit}: no `const {name}: … = {value};` in src"
        );
    }
}

#[test]
fn documented_limits_are_complete() {
    let parts = markdown_sections("limits.md");
    let rows = parts
        .iter()
        .filter(|part| part.heading != CONFIGURED && part.heading != CONTAINER)
        .flat_map(MarkdownSection::table_rows)
        .filter(|row| !DERIVED_FROM_KEYS.contains(&row[0].as_str()));
    let listed: BTreeSet<String> = rows.map(|row| format!("{}: {}", row[0], row[1])).collect();
    let known = CONSTANTS
        .iter()
        .map(|[limit, value, ..]| format!("{limit}: {value}"))
        .collect();
    assert_lists_exactly("docs/limits.md", &listed, &known);
}

#[test]
fn parts_of_container_add_up() {
    let parts = markdown_sections("limits.md");
    let container = parts.iter().find(|part| part.heading == CONTAINER).unwrap();
    let sum = |column: usize| -> u64 {
        let rows = container.table_rows().into_iter();
        rows.filter_map(|row| row.get(column)?.parse::<u64>().ok())
            .sum()
    };
    assert_eq!([sum(1), sum(2)], [128, 512]);
}

#[test]
fn documented_limit_keys_exist() {
    let reference = fs::read_to_string("docs/configuration.md").unwrap();
    let parts = markdown_sections("limits.md");
    let configured = parts
        .iter()
        .find(|part| part.heading == CONFIGURED)
        .unwrap();
    for row in configured.table_rows() {
        let key = row[2]
            .trim_matches('`')
            .trim_start_matches("server.")
            .trim_start_matches("defaults.");
        assert!(reference.contains(&format!("| `{key} = ")), "{key}");
    }
}
