//! TLS of the server: its configuration, and the handshake with a client.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::{Ticketer, default_provider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::config::ServerTls;
use crate::process::SendBudget;

use super::client_stream::ClientStream;
use super::connection_state::ConnectionState;
use super::tls_socket::TlsSocket;

/// The protocol names of ALPN.
const HTTP2: &[u8] = b"h2";
const HTTP11: &[u8] = b"http/1.1";

/// Maximum bytes of plain text that a connection keeps encrypted while its client does not read: one
/// record.
const MAX_BUFFERED: usize = 16 << 10;

/// The first byte of a handshake's record (RFC 8446 §5.1). No HTTP request begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What a handshake has agreed on.
pub(super) enum Handshake {
    Http1(ClientStream),
    Http2(ClientStream),
    /// The client does not speak TLS.
    PlainText(ClientStream),
}

/// Builds the configuration of TLS. Fails if rustls does not support a certificate.
pub(super) fn build_server_config(settings: &ServerTls) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = read_certificates(&settings.chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(settings.key_pem.as_bytes())
        .context("the private key cannot be read")?;
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .context("no version of TLS is available")?;
    let builder = match &settings.client_ca_pem {
        Some(pem) => builder.with_client_cert_verifier(build_client_verifier(pem)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .context("the certificate is not supported")?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP11.to_vec()];
    // Sessions are resumed by tickets that clients keep. Another configuration has other keys, so that a
    // client must show its certificate to the new authorities.
    config.ticketer = Ticketer::new().context("no randomness for tickets")?;
    Ok(Arc::new(config))
}

fn build_client_verifier(pem: &str) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(pem)? {
        roots
            .add(certificate)
            .context("an authority of clients is not supported")?;
    }
    let provider = Arc::new(default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .context("the authorities of clients are not supported")
}

fn read_certificates(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    certificates
        .collect::<Result<_, _>>()
        .context("a certificate cannot be read")
}

/// Performs the handshake. Its time counts as that of the first request's head.
pub(super) async fn accept_client(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    connection: &Arc<ConnectionState>,
    budget: &Arc<SendBudget>,
) -> io::Result<Handshake> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
        return Ok(Handshake::PlainText(ClientStream::Tcp(stream)));
    }
    let limit_buffer = |session: &mut tokio_rustls::rustls::ServerConnection| {
        session.set_buffer_limit(Some(MAX_BUFFERED));
    };
    let stream = TlsSocket::new(stream, Arc::clone(connection), Arc::clone(budget));
    let accepted = TlsAcceptor::from(config).accept_with(stream, limit_buffer);
    let stream = Box::new(accepted.await?);
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    let stream = ClientStream::Tls(stream);
    Ok(if is_http2 {
        Handshake::Http2(stream)
    } else {
        Handshake::Http1(stream)
    })
}
