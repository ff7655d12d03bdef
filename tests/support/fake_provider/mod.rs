//! A provider on a real socket that plays scripts: raw bytes over TCP or TLS, pauses, resets, and
//! counts of what it received and sent. Presets cover the common cases; `script` describes the
//! language.

pub mod echo;
pub mod fault_scenario;
pub mod http2_player;
pub mod script;
pub mod script_player;
pub mod test_certificates;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use script::ProviderScript;
use test_certificates::{CertificateKind, tls_server_config};

/// A provider on loopback. Dropping it closes its listener and its connections.
pub struct FakeProvider {
    pub address: SocketAddr,
    state: Arc<ProviderState>,
    acceptor: Option<Acceptor>,
    /// Sockets that hold a port without accepting.
    _sockets: Vec<Socket>,
}

/// The task that accepts connections.
struct Acceptor {
    task: AbortHandle,
    /// Disconnected once the task has dropped its listener.
    ended: Mutex<Receiver<()>>,
}

/// What the steps `respond` send. The default is an empty body with status 200.
#[derive(Debug, Clone)]
pub struct FakeResponse {
    /// Code and reason: `200 OK`.
    pub status: &'static str,
    /// Header lines, each with its CRLF, beside `Content-Length`.
    pub headers: String,
    pub body: String,
    /// Time from the request to the response.
    pub delay: Duration,
}

/// What a provider plays.
#[derive(Default)]
pub struct ProviderPlan {
    /// One script for each connection in the order of their arrival; the last is repeated.
    pub scripts: Vec<ProviderScript>,
    /// The certificate for TLS. Default: plain TCP.
    pub tls: Option<CertificateKind>,
    /// TLS with another configuration than that of a certificate.
    pub tls_config: Option<Arc<ServerConfig>>,
    /// Whether TLS negotiates HTTP/2, so that scripts send frames.
    pub is_http2: bool,
    /// The script of every connection until [`FakeProvider::end_prelude`].
    pub prelude: Option<ProviderScript>,
}

/// What the connections of a provider share.
struct ProviderState {
    response: Mutex<FakeResponse>,
    connections: AtomicUsize,
    open_connections: AtomicUsize,
    requests: AtomicUsize,
    sent_bytes: AtomicUsize,
    request_heads: Mutex<Vec<String>>,
    request_bodies: Mutex<Vec<String>>,
    is_prelude_over: AtomicBool,
    server_names: Mutex<Vec<Option<String>>>,
}

impl FakeProvider {
    /// Answers 200 with this JSON.
    pub fn with_json(body: &str) -> Self {
        Self::with_json_at(Ipv4Addr::LOCALHOST, body)
    }

    /// The same at another address of this machine.
    pub fn with_json_at(host: Ipv4Addr, body: &str) -> Self {
        let plan = ProviderPlan {
            scripts: vec![ProviderScript::parse(&["respond", "again"])],
            ..ProviderPlan::default()
        };
        let provider = Self::start_at((host, 0).into(), plan);
        provider.set_json(body);
        provider
    }

    /// Answers with this status (`503 Service Unavailable`) and `{}`.
    pub fn with_status(status: &'static str) -> Self {
        let provider = Self::with_json("{}");
        provider.set_status(status);
        provider
    }

    /// Plays this script on every connection.
    pub fn with_script(script: &[&str]) -> Self {
        Self::with_scripts(&[script])
    }

    /// Plays one script on each connection, and repeats the last.
    pub fn with_scripts(scripts: &[&[&str]]) -> Self {
        let scripts = scripts.iter().map(|lines| ProviderScript::parse(lines));
        Self::start(ProviderPlan {
            scripts: scripts.collect(),
            ..ProviderPlan::default()
        })
    }

    /// Plays this script over TLS with a good certificate.
    pub fn with_tls(script: &[&str]) -> Self {
        Self::start(ProviderPlan {
            scripts: vec![ProviderScript::parse(script)],
            tls: Some(CertificateKind::Good),
            ..ProviderPlan::default()
        })
    }

    /// Plays this script over HTTP/2 and TLS with a good certificate.
    pub fn with_http2(script: &[&str]) -> Self {
        Self::start(ProviderPlan {
            scripts: vec![ProviderScript::parse(script)],
            tls: Some(CertificateKind::Good),
            is_http2: true,
            ..ProviderPlan::default()
        })
    }

    /// Sends each request back in the part of the response that its path names (see [`echo`]).
    pub fn echoing() -> Self {
        Self::with_script(&["echo"])
    }

    /// A port that is in use but has no listener: connections are refused.
    pub fn with_closed_port() -> Self {
        Self::with_sockets(vec![bind_without_listening()])
    }

    /// A port that answers no SYN: its queue of connections is full, and nothing is accepted.
    pub fn with_unanswered_syn() -> Self {
        let listener = bind_without_listening();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address);
            sockets.push(filler);
        }
        Self::with_sockets(sockets)
    }

    fn with_sockets(sockets: Vec<Socket>) -> Self {
        Self {
            address: sockets[0].local_addr().unwrap().as_socket().unwrap(),
            state: Arc::default(),
            acceptor: None,
            _sockets: sockets,
        }
    }

    /// Listens on a free port of 127.0.0.1.
    pub fn start(plan: ProviderPlan) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), plan)
    }

    pub fn start_at(address: SocketAddr, plan: ProviderPlan) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<ProviderState>::default();
        let (sender, ended) = channel();
        let accepting = Arc::clone(&state);
        let task = provider_runtime().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            accept_connections(listener, plan, accepting).await;
            drop(sender);
        });
        let acceptor = Acceptor {
            task: task.abort_handle(),
            ended: Mutex::new(ended),
        };
        Self {
            address,
            state,
            acceptor: Some(acceptor),
            _sockets: Vec::new(),
        }
    }

    /// Answers 200 with this JSON from now on.
    pub fn set_json(&self, body: &str) {
        self.update_response(|response| {
            (response.status, response.body) = ("200 OK", body.to_owned());
        });
    }

    pub fn set_status(&self, status: &'static str) {
        self.update_response(|response| response.status = status);
    }

    pub fn set_delay(&self, delay: Duration) {
        self.update_response(|response| response.delay = delay);
    }

    /// Changes the response to requests from now on.
    pub fn update_response(&self, change: impl FnOnce(&mut FakeResponse)) {
        change(&mut self.state.response.lock().unwrap());
    }

    /// Ends the prelude: connections from now on play the scripts.
    pub fn end_prelude(&self) {
        self.state.is_prelude_over.store(true, SeqCst);
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The name that the TLS handshake of each connection sent, in order.
    pub fn server_names(&self) -> Vec<Option<String>> {
        self.state.server_names.lock().unwrap().clone()
    }

    /// Number of requests received.
    pub fn call_count(&self) -> usize {
        self.state.requests.load(SeqCst)
    }

    /// Number of connections accepted.
    pub fn connection_count(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// Number of connections that are open now.
    pub fn open_connection_count(&self) -> usize {
        self.state.open_connections.load(SeqCst)
    }

    /// Number of bytes that the kernel accepted, before TLS.
    pub fn sent_byte_count(&self) -> usize {
        self.state.sent_bytes.load(SeqCst)
    }

    /// The heads of all requests, in order.
    pub fn request_heads(&self) -> Vec<String> {
        self.state.request_heads.lock().unwrap().clone()
    }

    /// The bodies of all HTTP/1 requests, in order.
    pub fn request_bodies(&self) -> Vec<String> {
        self.state.request_bodies.lock().unwrap().clone()
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.task.abort();
            // Afterwards another program can listen on the port.
            let _ = acceptor.ended.lock().unwrap().recv();
        }
    }
}

impl Default for FakeResponse {
    fn default() -> Self {
        Self {
            status: "200 OK",
            headers: String::new(),
            body: String::new(),
            delay: Duration::ZERO,
        }
    }
}

impl FakeResponse {
    fn to_bytes(&self) -> Vec<u8> {
        let (status, headers, body) = (self.status, &self.headers, &self.body);
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
    }
}

impl Default for ProviderState {
    fn default() -> Self {
        Self {
            response: Mutex::default(),
            connections: AtomicUsize::new(0),
            open_connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            sent_bytes: AtomicUsize::new(0),
            request_heads: Mutex::default(),
            request_bodies: Mutex::default(),
            is_prelude_over: AtomicBool::new(false),
            server_names: Mutex::default(),
        }
    }
}

/// The runtime of all providers of this process, apart from the runtime that a test measures.
pub fn provider_runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("providers")
            .enable_all()
            .build()
            .unwrap()
    })
}

fn bind_without_listening() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&address.into()).unwrap();
    socket
}

async fn accept_connections(
    listener: tokio::net::TcpListener,
    plan: ProviderPlan,
    state: Arc<ProviderState>,
) {
    let by_kind = || Some(tls_server_config(plan.tls?, plan.is_http2));
    let tls = plan.tls_config.clone().or_else(by_kind);
    let tls = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    let mut scripts = plan.scripts.iter();
    let last = plan.scripts.last().cloned().unwrap_or_default();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, SeqCst);
        let prelude = plan.prelude.as_ref();
        let prelude = prelude.filter(|_| !state.is_prelude_over.load(SeqCst));
        let script = prelude.or_else(|| scripts.next()).unwrap_or(&last).clone();
        let (state, tls) = (Arc::clone(&state), tls.clone());
        connections.spawn(async move {
            state.open_connections.fetch_add(1, SeqCst);
            // An error ends the connection; tests look at the client's side of it.
            let _ = serve_connection(stream, tls, &script, &state).await;
            state.open_connections.fetch_sub(1, SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    script: &ProviderScript,
    state: &ProviderState,
) -> std::io::Result<()> {
    SockRef::from(&stream).set_tcp_nodelay(true)?;
    match tls {
        None => script_player::play_script(stream, script, state).await,
        Some(tls) => {
            let stream = tls.accept(stream).await?;
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            state.server_names.lock().unwrap().push(name);
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2_player::play_script(stream, script, state).await
            } else {
                script_player::play_script(stream, script, state).await
            }
        }
    }
}
