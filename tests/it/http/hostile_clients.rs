//! Crowds of clients of every unpleasant kind, in a memory limit: the service lives, answers `/salud`
//! and a poller, and keeps its memory.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use resumen::process::Clock;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::fake_provider::FakeProvider;
use crate::support::memory_group::MemoryGroup;
use crate::support::process_usage::resident_kib;
use crate::support::raw_client::RawHttpClient;
use crate::support::service_process::{ServiceFolder, ServiceProcess};

/// What a client of a crowd does.
#[derive(Debug, Clone, Copy)]
pub enum ClientKind {
    /// Sends a request and reads nothing.
    SlowReader(&'static str),
    /// Sends many requests and reads nothing.
    Pipeliner(&'static str),
    /// Sends a head of 16 KiB without its end.
    SlowHead,
    /// Sends a request, reads the response, and stays.
    KeepAlive(&'static str),
}

pub const FAST: &str = "/resumen";
pub const ROUTED: &str = "/resumen?sources=a";
pub const LIVE: &str = "/resumen?fresh=1&timeout=5";
pub const STREAM: &str = "/resumen/stream";

/// How long the tests wait between two clients: longer than the life of a rendering.
const PAUSE: Duration = Duration::from_millis(25);

/// A service in a memory limit, whose source has `data_bytes` of data.
pub struct CrowdedService {
    pub service: ServiceProcess,
    pub group: MemoryGroup,
    _folder: ServiceFolder,
    _provider: FakeProvider,
}

impl CrowdedService {
    pub fn start(limit_bytes: u64, data_bytes: usize) -> Option<Self> {
        let group = MemoryGroup::with_limit(limit_bytes)?;
        let body = format!("\"{}\"", "a".repeat(data_bytes));
        let provider = FakeProvider::with_json(&body);
        let folder = ServiceFolder::new(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\n\
             interval = \"1s\"\nmin_interval = \"1ms\"\nmax_body = \"4MiB\"\n",
            provider.url()
        ));
        let mut command = group.command(Path::new(env!("CARGO_BIN_EXE_resumen")));
        command
            .args(["serve", "--config"])
            .arg(folder.config_path())
            .current_dir(folder.path());
        let service = ServiceProcess::start(&mut command);
        Some(Self {
            service,
            group,
            _folder: folder,
            _provider: provider,
        })
    }
}

/// A client with small segments: loopback's large ones would hide what a slow reader costs.
fn connect_slowly_reading(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_mss(1400)?;
    socket.set_recv_buffer_size(4096)?;
    socket.connect_timeout(&address.into(), Duration::from_secs(2))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Connects a client and lets it begin. Fails if the connection is not accepted.
pub fn start_client(address: SocketAddr, kind: ClientKind) -> io::Result<TcpStream> {
    let mut stream = connect_slowly_reading(address)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    // The service may have closed a connection by then, which is its right.
    let _ = match kind {
        ClientKind::SlowReader(path) => stream.write_all(request(path).as_bytes()),
        ClientKind::Pipeliner(path) => {
            stream.set_nonblocking(true).unwrap();
            stream.write_all(request(path).repeat(100).as_bytes())
        }
        ClientKind::SlowHead => {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(15 << 10));
            stream.write_all(head.as_bytes())
        }
        ClientKind::KeepAlive(path) => stream
            .write_all(request(path).as_bytes())
            .and_then(|()| stream.read(&mut [0; 1024]).map(|_| ())),
    };
    Ok(stream)
}

/// What was seen beside a crowd.
#[derive(Debug, Default)]
struct CrowdWatch {
    slowest_health: Duration,
    most_resident_kib: usize,
}

impl CrowdWatch {
    /// Asks for `/salud` on a new connection.
    fn observe(&mut self, service: &ServiceProcess, clock: Clock) {
        let asked_at = clock.instant();
        let health = RawHttpClient::connect(service.address()).get("/salud");
        assert_eq!(health.status, 200);
        self.slowest_health = self.slowest_health.max(clock.instant() - asked_at);
        self.most_resident_kib = self
            .most_resident_kib
            .max(resident_kib(service.process.pid()));
    }
}

/// Lets `count` clients of `kind` in, one after the other.
#[allow(clippy::print_stderr, reason = "prints measurements")]
fn assert_service_withstands(
    crowded: &CrowdedService,
    kind: ClientKind,
    count: usize,
    pause: Duration,
) {
    let clock = Clock::start();
    let service = &crowded.service;
    let mut poller = RawHttpClient::connect(service.address());
    let mut watch = CrowdWatch::default();
    let before = resident_kib(service.process.pid());
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(start_client(service.address(), kind).unwrap());
        if number % 50 == 0 {
            assert_eq!(poller.get("/resumen?sources=a").status, 200);
            watch.observe(service, clock);
        }
        std::thread::sleep(pause);
    }
    eprintln!("{kind:?}: {count} clients, {before} KiB before, {watch:?}");
    assert_eq!(crowded.group.memory_kills(), 0, "{kind:?}: {watch:?}");
    assert!(
        watch.most_resident_kib < before + (40 << 10),
        "{kind:?}: {before} KiB before, {watch:?}"
    );
}

#[test]
fn slow_readers_share_a_budget() {
    let Some(crowded) = CrowdedService::start(128 << 20, 1_000_000) else {
        return;
    };
    for path in [FAST, ROUTED, LIVE, STREAM] {
        assert_service_withstands(&crowded, ClientKind::SlowReader(path), 60, PAUSE);
    }
}

#[test]
fn crowds_fit_into_a_container() {
    let Some(crowded) = CrowdedService::start(128 << 20, 100_000) else {
        return;
    };
    for kind in [
        ClientKind::SlowHead,
        ClientKind::Pipeliner(FAST),
        ClientKind::Pipeliner(ROUTED),
        ClientKind::KeepAlive(ROUTED),
        ClientKind::KeepAlive("/salud"),
        ClientKind::SlowReader(STREAM),
    ] {
        assert_service_withstands(&crowded, kind, 1000, Duration::ZERO);
    }
}
