//! A provider that does whatever a script says: raw bytes over TCP or TLS, pauses, drips, floods, resets, and counters
//! of what it saw and sent. A scenario is a few lines of TOML (`tests/corpus/faults`); `script` tells the language.

mod certificate;
mod play;
mod scenario;
mod script;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use certificate::{Kind, authority_pem};
pub use scenario::{Lookup, Scenario, all};
pub use script::{Script, Step};

/// A running fault server on loopback; dropping it closes everything.
pub struct FaultServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it saw and sent.
    pub seen: Arc<Seen>,
    _tasks: JoinSet<()>,
    _sockets: Vec<Socket>,
}

/// Counters of one server.
#[derive(Default)]
pub struct Seen {
    connections: AtomicU64,
    open: AtomicU64,
    sent: AtomicU64,
    heads: Mutex<Vec<String>>,
    turned: AtomicBool,
}

/// How a server plays its scripts.
#[derive(Clone, Default)]
pub struct Playbook {
    /// What each connection plays, in the order of arrival; the last one again for all that follow.
    pub scripts: Vec<Script>,
    /// TLS with this kind of certificate; none for plain TCP.
    pub tls: Option<Kind>,
    /// What every connection plays until [`FaultServer::turn`].
    pub prelude: Option<Script>,
}

impl FaultServer {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(book: Playbook) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, book, Arc::clone(&seen)));
        Self {
            address,
            seen,
            _tasks: tasks,
            _sockets: Vec::new(),
        }
    }

    /// Ends the prelude.
    pub fn turn(&self) {
        self.seen.turned.store(true, Ordering::SeqCst);
    }

    /// A port that is taken but that nobody listens on.
    pub fn closed() -> Self {
        let socket = bound();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self {
            address,
            seen: Arc::default(),
            _tasks: JoinSet::new(),
            _sockets: vec![socket],
        }
    }

    /// A port that answers no SYN: its queue of connections is full and nobody accepts.
    pub fn black_hole() -> Self {
        let listener = bound();
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
            seen: Arc::default(),
            _tasks: JoinSet::new(),
            _sockets: fillers,
        }
    }
}

impl Seen {
    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    /// Bytes that the kernel took, before TLS.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// The heads of all requests, as they came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    socket
}

async fn accept(listener: TcpListener, book: Playbook, seen: Arc<Seen>) {
    let acceptor = book
        .tls
        .map(|kind| TlsAcceptor::from(certificate::server(kind)));
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
            .filter(|_| !seen.turned.load(Ordering::SeqCst));
        let script = prelude.or_else(|| scripts.next()).unwrap_or(&last).clone();
        let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
        connections.spawn(async move {
            seen.open.fetch_add(1, Ordering::SeqCst);
            // Whatever ends a connection, the client's view of it is what a test looks at.
            let _ = serve(stream, acceptor, &script, &seen).await;
            seen.open.fetch_sub(1, Ordering::SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    script: &Script,
    seen: &Seen,
) -> io::Result<()> {
    SockRef::from(&stream).set_tcp_nodelay(true)?;
    match tls {
        None => play::play(stream, script, seen).await,
        Some(acceptor) => play::play(acceptor.accept(stream).await?, script, seen).await,
    }
}
