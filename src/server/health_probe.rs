//! One health request to a listener of this machine, as `resumen healthcheck` sends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};

use crate::config::ListenAddress;

const REQUEST: &[u8] = b"GET /salud HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The part of the response that is read, in bytes: more than the longest problem.
const MAX_RESPONSE: u64 = 4096;

/// Sends `GET /salud` to the service that listens on `address`, by TLS if `uses_tls` and the address is
/// no Unix socket. Fails unless the response is 200. Has no time limit.
///
/// The certificate is not checked: its name is not that of this machine's loopback address.
pub async fn probe_health(address: &ListenAddress, uses_tls: bool) -> anyhow::Result<()> {
    let ip = match address {
        ListenAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            return exchange(stream).await;
        }
        ListenAddress::Ip(ip) => *ip,
    };
    let stream = connect(ip).await?;
    if !uses_tls {
        return exchange(stream).await;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnListener))
        .with_no_client_auth();
    let name = ServerName::from(ip.ip());
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    exchange(stream.await.context("the TLS handshake failed")?).await
}

/// Connects to an address to listen on. A wildcard is reached through the loopback addresses.
async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let loopback = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => [Ipv4Addr::LOCALHOST.into(); 2],
        // Without IPv6 in the kernel, it listens on IPv4.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
        }
        ip => [ip; 2],
    };
    let candidates = loopback.map(|ip| SocketAddr::new(ip, address.port()));
    TcpStream::connect(&candidates[..]).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    stream.write_all(REQUEST).await?;
    let mut response = Vec::new();
    // A connection that ends without `close_notify` has still answered.
    let read = stream.take(MAX_RESPONSE).read_to_end(&mut response).await;
    let response = String::from_utf8_lossy(&response);
    match response.split(' ').nth(1) {
        Some("200") if response.starts_with("HTTP/1.1 ") => Ok(()),
        Some(status) => bail!("HTTP {status}"),
        None => {
            read.context("no response")?;
            bail!("no response")
        }
    }
}

/// Accepts every certificate.
#[derive(Debug)]
struct OwnListener;

impl ServerCertVerifier for OwnListener {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
