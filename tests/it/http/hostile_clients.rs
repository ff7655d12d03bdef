//! Crowds of clients of every unpleasant kind, in a memory limit: the service lives, answers `/salud`
//! and a poller, and keeps its memory.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use resumen::process::Clock;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::fake_provider::FakeProvider;
use crate::support::memory_group::MemoryGroup;
use crate::support::process_usage::resident_kib;
use crate::support::raw_client::RawHttpClient;
use crate::support::service_process::{ServiceFolder, ServiceProcess};
use crate::support::tls_client::TestAuthority;

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
    /// Sends the first bytes of a handshake of TLS.
    HalfHandshake,
    /// The same as above, by TLS.
    TlsSlowReader(&'static str),
    TlsKeepAlive(&'static str),
    /// Sends many requests by HTTP/2 and allows no byte of a response.
    Http2Withheld(&'static str),
    /// Sends a request by HTTP/2, reads what comes at once, and stays.
    Http2KeepAlive(&'static str),
}

impl ClientKind {
    /// Whether the service must have a certificate.
    pub fn uses_tls(self) -> bool {
        !matches!(
            self,
            Self::SlowReader(_) | Self::Pipeliner(_) | Self::SlowHead | Self::KeepAlive(_)
        )
    }

    /// The protocol for the handshake.
    fn protocol(self) -> &'static str {
        match self {
            Self::Http2Withheld(_) | Self::Http2KeepAlive(_) => "h2",
            _ => "http/1.1",
        }
    }
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
    /// Signs the certificate of a service with TLS.
    authority: Option<TestAuthority>,
    _folder: ServiceFolder,
    _provider: FakeProvider,
}

impl CrowdedService {
    /// Starts it with TLS or without.
    pub fn start(limit_bytes: u64, data_bytes: usize, uses_tls: bool) -> Option<Self> {
        Self::start_with(limit_bytes, data_bytes, uses_tls, "")
    }

    /// The same with these lines of `[server]`. `RESUMEN_PROGRAM` names another build of the program.
    pub fn start_with(
        limit_bytes: u64,
        data_bytes: usize,
        uses_tls: bool,
        server: &str,
    ) -> Option<Self> {
        let group = MemoryGroup::with_limit(limit_bytes)?;
        let body = format!("\"{}\"", "a".repeat(data_bytes));
        let provider = FakeProvider::with_json(&body);
        let authority = uses_tls.then(|| TestAuthority::new("server authority"));
        let tls = if uses_tls {
            "[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n"
        } else {
            ""
        };
        let folder = ServiceFolder::new(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n{tls}[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\n\
             interval = \"1s\"\nmin_interval = \"1ms\"\nmax_body = \"4MiB\"\n",
            provider.url()
        ));
        if let Some(authority) = &authority {
            authority.issue().write(folder.path());
        }
        let program = std::env::var_os("RESUMEN_PROGRAM");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_resumen").into());
        let mut command = group.command(Path::new(&program));
        command
            .args(["serve", "--config"])
            .arg(folder.config_path())
            // As in the image.
            .env("MALLOC_ARENA_MAX", "2")
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .current_dir(folder.path());
        let service = ServiceProcess::start(&mut command);
        Some(Self {
            service,
            group,
            authority,
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

impl CrowdedService {
    /// The configuration of clients of a service with TLS. Each handshake is a full one.
    pub fn client_config(&self, protocol: &str) -> Option<Arc<ClientConfig>> {
        let config = self.authority.as_ref()?.client_config(None, &[protocol]);
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        Some(Arc::new(config))
    }

    /// What lets clients of `kind` begin.
    pub fn crowd(&self, kind: ClientKind) -> Crowd {
        Crowd {
            kind,
            address: self.service.address(),
            config: self.client_config(kind.protocol()),
        }
    }
}

/// A source of clients of one kind.
pub struct Crowd {
    kind: ClientKind,
    address: SocketAddr,
    config: Option<Arc<ClientConfig>>,
}

impl Crowd {
    /// Connects a client and lets it begin. Fails if the connection is not accepted.
    pub fn start_client(&self) -> io::Result<TcpStream> {
        let stream = connect_slowly_reading(self.address)?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        // The service may have closed a connection by then, which is its right.
        let _ = match &self.config {
            None => self.begin(&stream),
            Some(_) if matches!(self.kind, ClientKind::HalfHandshake) => {
                (&stream).write_all(&[0x16, 3, 1, 2, 0, 1])
            }
            Some(config) => {
                let name = ServerName::from(self.address.ip());
                let session = ClientConnection::new(Arc::clone(config), name).unwrap();
                // Dropped without an end of the session; the socket stays.
                self.begin(StreamOwned::new(session, &stream))
            }
        };
        Ok(stream)
    }

    fn begin(&self, mut stream: impl Read + Write) -> io::Result<()> {
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let read_once = |stream: &mut dyn Read| stream.read(&mut [0; 1024]).map(|_| ());
        match self.kind {
            ClientKind::HalfHandshake => unreachable!("it sends no request"),
            ClientKind::SlowReader(path) | ClientKind::TlsSlowReader(path) => {
                stream.write_all(request(path).as_bytes())
            }
            // What the server does not take within a second is not sent.
            ClientKind::Pipeliner(path) => stream.write_all(request(path).repeat(100).as_bytes()),
            ClientKind::SlowHead => {
                let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(15 << 10));
                stream.write_all(head.as_bytes())
            }
            ClientKind::KeepAlive(path) | ClientKind::TlsKeepAlive(path) => {
                stream.write_all(request(path).as_bytes())?;
                read_once(&mut stream)
            }
            ClientKind::Http2Withheld(path) => stream.write_all(&http2_requests(path, 0, 30)),
            ClientKind::Http2KeepAlive(path) => {
                stream.write_all(&http2_requests(path, 65_535, 1))?;
                // The settings of the server, then the response.
                read_once(&mut stream)?;
                read_once(&mut stream)
            }
        }
    }
}

/// The first bytes of a client of HTTP/2 with this window for each stream, and this number of requests
/// (RFC 9113 §3.4, §6.2, §6.5; RFC 7541 §6).
fn http2_requests(path: &str, window: u32, count: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    };
    let [a, b, c, d] = window.to_be_bytes();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with INITIAL_WINDOW_SIZE.
    bytes.extend(frame(4, 0, 0, &[0, 4, a, b, c, d]));
    // GET, https, and literals of `:path` and `:authority`.
    let mut fields = vec![0x82, 0x87, 0x04, path.len() as u8];
    fields.extend_from_slice(path.as_bytes());
    fields.extend([0x01, 1, b'a']);
    for number in 0..count {
        // HEADERS with END_STREAM and END_HEADERS.
        bytes.extend(frame(1, 5, 2 * number + 1, &fields));
    }
    bytes
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
    let (crowd, mut clients) = (crowded.crowd(kind), Vec::new());
    for number in 0..count {
        clients.push(crowd.start_client().unwrap());
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
    let Some(crowded) = CrowdedService::start(128 << 20, 1_000_000, false) else {
        return;
    };
    for path in [FAST, ROUTED, LIVE, STREAM] {
        assert_service_withstands(&crowded, ClientKind::SlowReader(path), 60, PAUSE);
    }
}

#[test]
fn crowds_fit_into_a_container() {
    let Some(crowded) = CrowdedService::start(128 << 20, 100_000, false) else {
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
