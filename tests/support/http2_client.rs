//! A client of HTTP/2 over TLS. It runs in a `LocalSet`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// One connection. Its task ends with it.
pub struct Http2Client {
    requests: SendRequest<Bytes>,
    connection: Option<JoinHandle<Result<(), h2::Error>>>,
}

impl Http2Client {
    /// Connects with this window for each stream. `config` offers HTTP/2.
    pub async fn connect(address: SocketAddr, config: &Arc<ClientConfig>, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake(stream.await.unwrap())
            .await
            .unwrap();
        Self {
            requests,
            connection: Some(tokio::task::spawn_local(connection)),
        }
    }

    /// Another sender on the same connection.
    pub fn share(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            connection: None,
        }
    }

    /// Sends a request without a body as soon as the connection may have one more.
    pub async fn send_request(&self, request: Request<()>) -> ResponseFuture {
        let mut ready = self.requests.clone().ready().await.unwrap();
        ready.send_request(request, true).unwrap().0
    }

    pub async fn send(&mut self, method: &str, path: &str) -> ResponseFuture {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .body(())
            .unwrap();
        self.send_request(request).await
    }

    pub async fn get(&mut self, path: &str) -> (Response<()>, Vec<u8>) {
        let response = self.send("GET", path).await.await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = read_body(body).await.unwrap();
        (Response::from_parts(head, ()), bytes)
    }

    /// Whether the server has ended the connection.
    pub fn has_ended(&self) -> bool {
        self.connection.as_ref().unwrap().is_finished()
    }

    /// Whether the server ends the connection in time.
    pub async fn ends_within(self, limit: Duration) -> bool {
        timeout(limit, self.connection.unwrap()).await.is_ok()
    }
}

/// Reads a body to its end.
pub async fn read_body(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        let _ = body.flow_control().release_capacity(part.len());
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
