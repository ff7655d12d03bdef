//! A provider that does whatever a script says: raw bytes over TCP or TLS, pauses, drips, floods, resets, and counters
//! of what it saw and sent. A scenario is a few lines of TOML (`tests/corpus/faults`); `script` tells the language.

pub mod fault_scenario;
pub mod fault_script;
pub mod http2_player;
pub mod script_player;
pub mod test_certificates;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use fault_scenario::load_scenarios;
pub use fault_script::FaultScript;
pub use test_certificates::{CertificateKind, test_ca_pem};

/// A running fault server on loopback; dropping it closes everything.
pub struct FaultyProvider {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it saw and sent.
    pub counters: Arc<FaultCounters>,
    _tasks: JoinSet<()>,
    _sockets: Vec<Socket>,
}

/// Counters of one server.
#[derive(Default)]
pub struct FaultCounters {
    connections: AtomicU64,
    open_connections: AtomicU64,
    sent_bytes: AtomicU64,
    request_heads: Mutex<Vec<String>>,
    is_prelude_over: AtomicBool,
}

/// How a server plays its scripts.
#[derive(Clone, Default)]
pub struct FaultPlan {
    /// What each connection plays, in the order of arrival; the last one again for all that follow.
    pub scripts: Vec<FaultScript>,
    /// TLS with this kind of certificate; none for plain TCP.
    pub tls: Option<CertificateKind>,
    /// Whether it negotiates HTTP/2, so that scripts send frames.
    pub is_http2: bool,
    /// What every connection plays until [`FaultServer::turn`].
    pub prelude: Option<FaultScript>,
}

impl FaultyProvider {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(book: FaultPlan) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<FaultCounters>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_connections(listener, book, Arc::clone(&seen)));
        Self {
            address,
            counters: seen,
            _tasks: tasks,
            _sockets: Vec::new(),
        }
    }

    /// Ends the prelude.
    pub fn end_prelude(&self) {
        self.counters.is_prelude_over.store(true, Ordering::SeqCst);
    }

    /// A port that is taken but that nobody listens on.
    pub fn with_closed_port() -> Self {
        let socket = bind_without_listening();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self {
            address,
            counters: Arc::default(),
            _tasks: JoinSet::new(),
            _sockets: vec![socket],
        }
    }

    /// A port that answers no SYN: its queue of connections is full and nobody accepts.
    pub fn with_unanswered_syn() -> Self {
        let listener = bind_without_listening();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = vec![listener];
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            fillers.push(filler);
        }
        Self {
            address,
            counters: Arc::default(),
            _tasks: JoinSet::new(),
            _sockets: fillers,
        }
    }
}

impl FaultCounters {
    /// Connections accepted.
    pub fn connection_count(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open_connection_count(&self) -> u64 {
        self.open_connections.load(Ordering::SeqCst)
    }

    /// Bytes that the kernel took, before TLS.
    pub fn sent_byte_count(&self) -> u64 {
        self.sent_bytes.load(Ordering::SeqCst)
    }

    /// The heads of all requests, as they came.
    pub fn request_heads(&self) -> Vec<String> {
        self.request_heads.lock().unwrap().clone()
    }
}

fn bind_without_listening() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    socket
}

async fn accept_connections(listener: TcpListener, book: FaultPlan, seen: Arc<FaultCounters>) {
    let acceptor = book
        .tls
        .map(|kind| TlsAcceptor::from(test_certificates::tls_server_config(kind, book.is_http2)));
    let mut connections = JoinSet::new();
    let mut scripts = book.scripts.iter();
    let last = book.scripts.last().cloned().unwrap_or_default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let prelude = book
            .prelude
            .as_ref()
            .filter(|_| !seen.is_prelude_over.load(Ordering::SeqCst));
        let script = prelude.or_else(|| scripts.next()).unwrap_or(&last).clone();
        let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
        connections.spawn(async move {
            seen.open_connections.fetch_add(1, Ordering::SeqCst);
            // Whatever ends a connection, the client's view of it is what a test looks at.
            let _ = serve_connection(stream, acceptor, &script, &seen).await;
            seen.open_connections.fetch_sub(1, Ordering::SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    script: &FaultScript,
    seen: &FaultCounters,
) -> io::Result<()> {
    SockRef::from(&stream).set_tcp_nodelay(true)?;
    match tls {
        None => script_player::play_script(stream, script, seen).await,
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return http2_player::play_script(stream, script, seen).await;
            }
            script_player::play_script(stream, script, seen).await
        }
    }
}
