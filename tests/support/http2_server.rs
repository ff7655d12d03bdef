//! A provider that speaks real HTTP/2 over TLS and answers its streams concurrently.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use h2::server::SendResponse;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::fake_provider::provider_runtime;
use super::fake_provider::test_certificates::{CertificateKind, tls_server_config};

/// Time until a response, unless the path is `/delay/MILLISECONDS`.
const DELAY: Duration = Duration::from_millis(30);

/// The server; dropping it ends it.
pub struct Http2Server {
    pub address: SocketAddr,
    counts: Arc<ServerCounts>,
    acceptor: AbortHandle,
}

#[derive(Debug, Default)]
struct ServerCounts {
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    requests: AtomicUsize,
}

impl Http2Server {
    /// Starts a server. Each connection serves `max_streams` requests, then ends with GOAWAY.
    pub fn start(max_streams: usize) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<ServerCounts>::default();
        let accepting = Arc::clone(&counts);
        let acceptor = provider_runtime().spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            accept_connections(listener, accepting, max_streams).await;
        });
        Self {
            address,
            counts,
            acceptor: acceptor.abort_handle(),
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// Returns the number of connections accepted so far.
    pub fn connection_count(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    /// Returns the number of open connections.
    pub fn open_connection_count(&self) -> usize {
        self.counts.open.load(SeqCst)
    }

    /// Returns the largest number of connections that were open at a time.
    pub fn most_open_connections(&self) -> usize {
        self.counts.most_open.load(SeqCst)
    }

    /// Returns the number of requests so far.
    pub fn call_count(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept_connections(listener: TcpListener, counts: Arc<ServerCounts>, max_streams: usize) {
    let tls = TlsAcceptor::from(tls_server_config(CertificateKind::Good, true));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        counts.connections.fetch_add(1, SeqCst);
        let open = counts.open.fetch_add(1, SeqCst) + 1;
        counts.most_open.fetch_max(open, SeqCst);
        let (tls, counts) = (tls.clone(), Arc::clone(&counts));
        connections.spawn(async move {
            // An error ends the connection; tests look at the client's side of it.
            let _ = serve_connection(stream, &tls, &counts, max_streams).await;
            counts.open.fetch_sub(1, SeqCst);
        });
    }
}

async fn serve_connection(
    stream: TcpStream,
    tls: &TlsAcceptor,
    counts: &ServerCounts,
    max_streams: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut connection = h2::server::handshake(tls.accept(stream).await?).await?;
    let mut responses = JoinSet::new();
    let mut streams = 0;
    while let Some(accepted) = connection.accept().await {
        let (request, response) = accepted?;
        counts.requests.fetch_add(1, SeqCst);
        responses.spawn(respond(request, response));
        streams += 1;
        if streams == max_streams {
            connection.graceful_shutdown();
        }
    }
    Ok(())
}

/// Responds with the path and the `Host` of the request.
async fn respond(
    request: http::Request<h2::RecvStream>,
    mut response: SendResponse<bytes::Bytes>,
) -> Result<(), h2::Error> {
    let delay = request.uri().path().strip_prefix("/delay/");
    let delay = delay.map_or(DELAY, |millis| {
        Duration::from_millis(millis.parse().unwrap())
    });
    tokio::time::sleep(delay).await;
    let host = request.headers().get("host").map(|host| host.to_str());
    let body = serde_json::json!({"path": request.uri().path(), "host": host.unwrap().unwrap()});
    let mut body_sender = response.send_response(http::Response::new(()), false)?;
    body_sender.send_data(body.to_string().into(), true)
}
