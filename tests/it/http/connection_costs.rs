//! What a connection of each kind takes at most, as `docs/limits.md` says.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::hostile_clients::{ClientKind, CrowdedService, FAST, ROUTED, STREAM};
use crate::support::child_process::TestProcess;
use crate::support::http_reply::unix_get;
use crate::support::markdown::{MarkdownSection, markdown_sections};
use crate::support::memory_group::MemoryGroup;
use crate::support::process_usage::resident_kib;
use crate::support::raw_client::RawHttpClient;
use crate::support::service_process::ServiceFolder;
use crate::support::wait::wait_until;

/// Memory and send budget that no crowd of these tests exceeds.
const AMPLE_LIMIT: u64 = 16 << 30;
const AMPLE_BUDGET: &str = "send_budget = \"4GiB\"";

const CLIENTS: usize = 400;

/// The kernel's buffers of a connection, in KiB. They are no memory of the process.
const KERNEL_KIB: usize = 128;

/// What may come to the documented figure: pages that are made once, the allocator, and the larger state of a
/// debug build.
const SLACK_BYTES: usize = 3 << 10;

/// Rows of the document, and the kinds of clients that they stand for.
const ROWS: [(&str, &[ClientKind]); 10] = [
    (
        "idle, after any request",
        &[
            ClientKind::KeepAlive(FAST),
            ClientKind::KeepAlive(ROUTED),
            ClientKind::KeepAlive("/salud"),
        ],
    ),
    ("sends a request's head slowly", &[ClientKind::SlowHead]),
    (
        "reads nothing",
        &[ClientKind::SlowReader(FAST), ClientKind::SlowReader(ROUTED)],
    ),
    (
        "sends requests and reads nothing",
        &[ClientKind::Pipeliner(FAST), ClientKind::Pipeliner(ROUTED)],
    ),
    ("event stream", &[ClientKind::SlowReader(STREAM)]),
    (
        "idle by TLS",
        &[
            ClientKind::TlsKeepAlive(FAST),
            ClientKind::TlsKeepAlive(ROUTED),
        ],
    ),
    (
        "TLS, with an unfinished handshake or record",
        &[ClientKind::HalfHandshake],
    ),
    (
        "reads nothing by TLS",
        &[
            ClientKind::TlsSlowReader(FAST),
            ClientKind::TlsSlowReader(ROUTED),
            ClientKind::TlsSlowReader(STREAM),
        ],
    ),
    ("HTTP/2, idle", &[ClientKind::Http2KeepAlive(FAST)]),
    (
        "HTTP/2, allows no byte of its responses",
        &[
            ClientKind::Http2Withheld(FAST),
            ClientKind::Http2Withheld(STREAM),
        ],
    ),
];

/// The numbers of KiB in a cell.
fn kib_of(cell: &str) -> usize {
    let words: Vec<&str> = cell.split_whitespace().collect();
    let numbers = words.windows(2).filter(|pair| pair[1].starts_with("KiB"));
    numbers.map(|pair| pair[0].parse::<usize>().unwrap()).sum()
}

/// What the document allows the process for a connection of this row, in KiB.
fn documented_kib(row: &str) -> usize {
    let sections = markdown_sections("limits.md");
    let rows = sections.iter().flat_map(MarkdownSection::table_rows);
    let cells = rows.into_iter().find(|cells| cells[0] == row);
    let cells = cells.unwrap_or_else(|| panic!("docs/limits.md has no row `{row}`"));
    let budget = kib_of(&cells[2]);
    kib_of(&cells[1])
        + if budget >= KERNEL_KIB {
            budget - KERNEL_KIB
        } else {
            budget
        }
}

/// The growth of the process for each of `count` clients of this kind, in bytes, and that of its memory
/// group.
fn measure_kind(kind: ClientKind, count: usize, data_bytes: usize) -> Option<(usize, usize)> {
    let tls = kind.uses_tls();
    let crowded = CrowdedService::start_with(AMPLE_LIMIT, data_bytes, tls, AMPLE_BUDGET)?;
    let (pid, crowd) = (crowded.service.process.pid(), crowded.crowd(kind));
    // What each route makes once.
    let first: Vec<_> = (0..20).map(|_| crowd.start_client().unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let before = (resident_kib(pid), crowded.group.used_kib());
    let clients: Vec<_> = (0..count).map(|_| crowd.start_client().unwrap()).collect();
    let mut latest = 0;
    wait_until("memory that no longer grows", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = resident_kib(pid);
        now <= std::mem::replace(&mut latest, now)
    });
    let after = (resident_kib(pid), crowded.group.used_kib());
    drop((first, clients));
    let per_client = |before: usize, after: usize| (after.saturating_sub(before) << 10) / count;
    Some((per_client(before.0, after.0), per_client(before.1, after.1)))
}

#[test]
#[allow(clippy::print_stderr, reason = "prints measurements")]
fn each_kind_keeps_its_documented_cost() {
    let mut missed = Vec::new();
    for (row, kinds) in ROWS {
        let allowed = documented_kib(row) << 10;
        for kind in kinds {
            let Some((resident, group)) = measure_kind(*kind, CLIENTS, 2_000) else {
                return;
            };
            let line = format!("{kind:?}: {resident} of {allowed} bytes, in the group {group}");
            eprintln!("{line}");
            if resident > allowed + SLACK_BYTES {
                missed.push(line);
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn default_cap_adapts_without_warning() {
    for (server, warns) in [("", false), ("max_connections = 9999", true)] {
        let Some(group) = MemoryGroup::with_limit(128 << 20) else {
            return;
        };
        let folder = ServiceFolder::new("");
        let socket = folder.path().join("http.sock");
        folder.write_config(&format!(
            "[server]\nlisten = \"unix:{}\"\n{server}\n[store]\npath = \"\"\n\
             [sources.a]\nurl = \"http://127.0.0.1:9/\"\n",
            socket.display()
        ));
        let mut command = group.command(Path::new(env!("CARGO_BIN_EXE_resumen")));
        command
            .args(["serve", "--config"])
            .arg(folder.config_path());
        let process = TestProcess::start(&mut command);
        wait_until("a socket", || socket.exists());
        assert_eq!(unix_get(&socket, "/salud").status, 200);
        process.send_signal(Signal::TERM);
        let log = process.wait_for_exit().stderr;
        assert_eq!(log.contains("connection limit lowered"), warns, "{log}");
    }
}

/// Streams leave half of the connections to other clients, also where the container allows fewer than configured.
#[test]
fn streams_leave_places_in_container() {
    let Some(crowded) = CrowdedService::start(128 << 20, 100, false) else {
        return;
    };
    let stream = || {
        let mut client = RawHttpClient::connect(crowded.service.address());
        client.send(format!("GET {STREAM} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client
    };
    let mut clients: Vec<_> = (0..512).map(|_| stream()).collect();
    for client in &mut clients {
        assert_eq!(client.read_head().0, 200);
    }
    assert_eq!(stream().read_response("GET").status, 503);
    let mut poller = RawHttpClient::connect(crowded.service.address());
    assert_eq!(poller.get(FAST).status, 200);
}

/// Ten thousand idle connections take at most 24 MiB.
#[test]
#[ignore = "a measurement: takes 10,100 descriptors"]
#[allow(clippy::print_stderr, reason = "prints measurements")]
fn ten_thousand_idle_connections_are_small() {
    let mut costs = Vec::new();
    for kind in [
        ClientKind::KeepAlive(FAST),
        ClientKind::TlsKeepAlive(FAST),
        ClientKind::Http2KeepAlive(FAST),
    ] {
        let Some((resident, group)) = measure_kind(kind, 9_900, 2_000) else {
            return;
        };
        let mib = |bytes: usize| bytes as f64 * 10_000.0 / f64::from(1 << 20);
        eprintln!(
            "10,000 {kind:?}: {:.1} MiB resident, {:.1} MiB in the group",
            mib(resident),
            mib(group)
        );
        costs.push(mib(resident));
    }
    assert!(costs[0] <= 24.0, "{costs:?}");
}
