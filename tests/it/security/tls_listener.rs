//! `[server.tls]`: HTTPS by HTTP/1.1 and HTTP/2, client certificates, deadlines, reloads.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

use crate::support::fake_provider::FakeProvider;
use crate::support::http_reply::{HttpReply, exchange, send_request};
use crate::support::service_process::ServiceFolder;
use crate::support::test_app::TestApp;
use crate::support::tls_client::{CertificateFiles, TestAuthority, connect_tls};
use crate::support::wait::wait_until;

/// A service with TLS and the authority of its certificate.
pub(super) struct TlsFixture {
    pub(super) authority: TestAuthority,
    pub(super) app: TestApp,
    folder: TempDir,
    _provider: FakeProvider,
}

impl TlsFixture {
    /// Starts a service whose source `a` has this JSON. `server` and `tls` are lines of `[server]` and
    /// `[server.tls]`.
    pub(super) fn start(json: &str, server: &str, tls: &str) -> Self {
        let authority = TestAuthority::new("server authority");
        let folder = tempfile::tempdir().unwrap();
        authority.issue().write(folder.path());
        let provider = FakeProvider::with_json(json);
        let path = folder.path().display();
        let app = TestApp::start(&format!(
            "[server]\n{server}\n[server.tls]\ncert_file = \"{path}/cert.pem\"\n\
             key_file = \"{path}/key.pem\"\n{tls}\n[store]\npath = \"\"\n\
             [sources.a]\nurl = \"{}\"\ninterval = \"1h\"\n",
            provider.url()
        ));
        let fixture = Self {
            authority,
            app,
            folder,
            _provider: provider,
        };
        wait_until("a reading", || {
            fixture
                .app
                .service
                .core
                .cache
                .snapshot()
                .is_ready_to_answer(0)
        });
        fixture
    }

    fn client(&self) -> Arc<ClientConfig> {
        self.authority.client_config(None, &[])
    }

    fn get(&self, target: &str) -> HttpReply {
        tls_get(self.app.address, &self.client(), target)
    }
}

fn tls_get(address: SocketAddr, client: &Arc<ClientConfig>, target: &str) -> HttpReply {
    let fields = "Host: localhost\r\nConnection: close";
    let request = format!("GET {target} HTTP/1.1\r\n{fields}\r\n\r\n");
    exchange(connect_tls(address, client), &request)
}

/// The reply to a GET, or `None` if the handshake or the connection fails.
fn try_tls_get(address: SocketAddr, client: &Arc<ClientConfig>, target: &str) -> Option<String> {
    let mut stream = connect_tls(address, client);
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    // The server may close without a `close_notify`, after the response.
    let _ = stream.read_to_string(&mut reply);
    reply.starts_with("HTTP/1.1 ").then_some(reply)
}

#[test]
fn https_serves_every_path() {
    let fixture = TlsFixture::start(r#"{"n":1}"#, "", "");
    for target in ["/resumen", "/resumen?sources=a", "/salud", "/metrics"] {
        assert_eq!(fixture.get(target).status, 200, "{target}");
    }
    let reply = fixture.get("/resumen");
    assert_eq!(reply.json()["resultados"]["a"]["data"]["n"], 1);
    assert!(reply.header("cdn-cache-control").is_some());
    assert_eq!(reply.header("strict-transport-security"), None);
    // Requests of one connection pass from the fast path to hyper and back.
    let mut stream = connect_tls(fixture.app.address, &fixture.client());
    for target in ["/resumen", "/salud", "/resumen", "/resumen?sources=a"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 15];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK", "{target}");
        read_rest(&mut stream);
    }
}

/// Reads the rest of a head and the body, by its length.
fn read_rest(stream: &mut impl std::io::Read) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).unwrap();
}

#[test]
fn large_response_arrives_whole() {
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(900_000));
    let fixture = TlsFixture::start(&json, "", "");
    let body = fixture.get("/resumen").json();
    let text = body["resultados"]["a"]["data"]["text"].as_str().unwrap();
    assert_eq!(text.len(), 900_000);
}

#[test]
fn curl_speaks_both_versions() {
    let fixture = TlsFixture::start(r#"{"n":1}"#, "", "");
    let ca = fixture.folder.path().join("ca.pem");
    fs::write(&ca, fixture.authority.pem()).unwrap();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for path in ["/resumen", "/salud", "/", "/openapi.json"] {
            let output = Command::new("curl")
                .args(["-sS", option, "--cacert", ca.to_str().unwrap()])
                .args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}"])
                .arg(format!("https://{}{path}", fixture.app.address))
                .output()
                .unwrap();
            let written = String::from_utf8_lossy(&output.stdout);
            assert_eq!(written, format!("{version} 200"), "{path}: {output:?}");
        }
    }
}

#[test]
fn plain_http_gets_hint() {
    let fixture = TlsFixture::start("1", "", "");
    let address = fixture.app.address.to_string();
    let reply = send_request(&address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("https://"), "{reply:?}");
}

#[test]
fn client_certificate_is_required() {
    let clients = TestAuthority::new("client authority");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    fs::write(&ca, clients.pem()).unwrap();
    let line = format!("client_ca_file = \"{}\"", ca.display());
    let fixture = TlsFixture::start("1", "", &line);
    let address = fixture.app.address;
    let authority = &fixture.authority;
    let with = |own: &CertificateFiles| authority.client_config(Some(own), &[]);
    let reply = tls_get(address, &with(&clients.issue()), "/resumen");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cdn-cache-control"), None);
    let other = TestAuthority::new("client authority").issue();
    for refused in [fixture.client(), with(&other)] {
        for target in ["/resumen", "/salud"] {
            assert_eq!(try_tls_get(address, &refused, target), None, "{target}");
        }
    }
}

#[test]
fn endless_handshake_is_closed() {
    let fixture = TlsFixture::start("1", "header_timeout = \"400ms\"", "");
    let mut silent = TcpStream::connect(fixture.app.address).unwrap();
    let mut begun = TcpStream::connect(fixture.app.address).unwrap();
    // The first bytes of a record that announces 512 bytes.
    begun.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    for client in [&mut silent, &mut begun] {
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // A reset, or the end of the stream.
        assert!(matches!(client.read(&mut [0; 64]), Ok(0) | Err(_)));
    }
    assert_eq!(fixture.get("/salud").status, 200);
}

#[test]
fn health_beside_half_open_handshakes() {
    let fixture = TlsFixture::start("1", "max_connections = 100", "");
    let half_open: Vec<_> = (0..1000)
        .map(|_| {
            let mut client = TcpStream::connect(fixture.app.address).unwrap();
            client.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
            client
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(fixture.get("/salud").status, 200);
    }
    drop(half_open);
}

/// Polls until it is stopped, and counts the requests that failed.
struct TlsPoller {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    thread: thread::JoinHandle<usize>,
}

impl TlsPoller {
    fn start(address: SocketAddr, client: Arc<ClientConfig>) -> Self {
        let (stop, requests) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&requests));
        let thread = thread::spawn(move || {
            let mut failed = 0;
            while !stopped.load(Relaxed) {
                let reply = try_tls_get(address, &client, "/resumen");
                failed += usize::from(reply.is_none_or(|reply| !reply.contains(" 200 OK")));
                counted.fetch_add(1, Relaxed);
            }
            failed
        });
        Self {
            stop,
            requests,
            thread,
        }
    }

    /// Waits for more requests.
    fn wait_for_more(&self) {
        let before = self.requests.load(Relaxed);
        wait_until("more requests", || {
            self.requests.load(Relaxed) >= before + 5
        });
    }

    /// The number of failed requests.
    fn stop(self) -> usize {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn certificate_reloads_without_lost_request() {
    let authority = TestAuthority::new("server authority");
    let folder = ServiceFolder::new(
        "[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n[store]\npath = \"\"\n\
         [sources.a]\nurl = \"http://127.0.0.1:9/\"\n",
    );
    authority.issue().write(folder.path());
    let service = folder.serve();
    let (address, client) = (service.address(), authority.client_config(None, &[]));
    let serves = |files: &CertificateFiles| {
        let mut stream = connect_tls(address, &client);
        stream.write_all(b"\r\n").unwrap();
        let shown = stream.conn.peer_certificates().unwrap();
        shown[0] == files.der()
    };
    let poller = TlsPoller::start(address, Arc::clone(&client));
    poller.wait_for_more();

    let renewed = authority.issue();
    renewed.write(folder.path());
    wait_until("the renewed certificate", || serves(&renewed));
    poller.wait_for_more();

    let broken = CertificateFiles {
        certificate: authority.issue().certificate,
        key: renewed.key.clone(),
    };
    broken.write(folder.path());
    service.send_signal(Signal::HUP);
    service.wait_for_log("does not fit the certificate");
    service.wait_for_log("the previous configuration stays in effect");
    assert!(serves(&renewed), "the old certificate goes on");
    poller.wait_for_more();
    assert_eq!(poller.stop(), 0, "requests were lost");
}

/// A handshake's message that announces `length` bytes, of which `sent` follow, in records.
fn partial_hello(length: u32, sent: usize) -> Vec<u8> {
    let mut message = vec![1];
    message.extend_from_slice(&length.to_be_bytes()[1..]);
    message.resize(4 + sent, 0);
    let records = message.chunks(8192).map(|part| {
        let length = (part.len() as u16).to_be_bytes();
        [&[0x16, 3, 1][..], &length, part].concat()
    });
    records.collect::<Vec<_>>().concat()
}

/// Whether the server has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 64]);
    !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn oversized_handshake_is_refused() {
    let fixture = TlsFixture::start("1", "header_timeout = \"1h\"", "");
    let mut stream = TcpStream::connect(fixture.app.address).unwrap();
    // The server may reset the connection before it has all of it.
    let _ = stream.write_all(&partial_hello(65_000, 60_000));
    wait_until("the end of the connection", || is_closed(&mut stream));
}

/// rustls keeps the bytes of an unfinished handshake, and of an unfinished record after a response.
#[test]
fn unfinished_records_are_counted() {
    let server = "header_timeout = \"1h\"\nidle_timeout = \"1h\"\nsend_budget = \"256KiB\"";
    let fixture = TlsFixture::start("1", server, "");
    let (address, client) = (fixture.app.address, fixture.client());
    let begin_handshake = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&partial_hello(20_000, 8_000)).unwrap();
        stream
    };
    let begin_record = || {
        let mut connection = connect_tls(address, &client);
        let request = b"GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n";
        connection.write_all(request).unwrap();
        read_rest(&mut connection);
        let mut stream = connection.sock;
        let record = [&[0x17, 3, 3, 0x40, 0][..], &[0; 8_000]].concat();
        stream.write_all(&record).unwrap();
        stream
    };
    for begin in [&begin_handshake as &dyn Fn() -> TcpStream, &begin_record] {
        let mut streams: Vec<_> = (0..20).map(|_| begin()).collect();
        wait_until("fewer connections", || {
            let closed = streams.iter_mut().map(is_closed);
            closed.filter(|is_closed| *is_closed).count() >= 12
        });
        assert_eq!(fixture.get("/salud").status, 200);
    }
}
