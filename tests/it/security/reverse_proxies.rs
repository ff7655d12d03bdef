//! Request smuggling behind nginx and haproxy, which reuse few connections to the service: proxy and
//! service see the same requests in the same bytes, and no response reaches another client.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::http::request_corpus;
use crate::support::child_process::ProcessGroup;
use crate::support::fake_provider::FakeProvider;
use crate::support::redis_server::unused_address;
use crate::support::requirements::require_program;
use crate::support::test_app::{TestApp, source_tables};
use crate::support::wait::wait_until;

/// Read timeout, longer than the timeouts of the proxies.
const PROXY_TIMEOUT: Duration = Duration::from_secs(20);

/// Headers that proxy and service could frame differently. The body after them contains a request.
const SMUGGLING_REQUESTS: [&str; 17] = [
    "Content-Length: {n}",
    "Content-Length: {n}\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: {n}",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: {n}",
    "Content-Length: 0\r\n Content-Length: {n}",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked\r\nContent-Length: {n}",
    "Transfer-Encoding : chunked\r\nContent-Length: {n}",
    "Transfer-Encoding: chunked, identity\r\nContent-Length: {n}",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nContent-Length: {n}",
    "Transfer-Encoding:\tchunked\r\nContent-Length: {n}",
    "Transfer-Encoding: \u{b}chunked\r\nContent-Length: {n}",
    "X: y\rTransfer-Encoding: chunked\r\nContent-Length: {n}",
    "X: y\nTransfer-Encoding: chunked\r\nContent-Length: {n}",
    "Transfer_Encoding: chunked\r\nContent-Length: {n}",
    "Expect: 100-continue\r\nContent-Length: {n}",
];

/// A proxy in front of a service.
struct ReverseProxy {
    address: SocketAddr,
    process: ProcessGroup,
    folder: TempDir,
}

impl ReverseProxy {
    /// Starts `program` with a configuration in a temporary folder.
    fn start(
        program: &str,
        configure: impl Fn(&Path, SocketAddr) -> String,
        options: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = unused_address();
        let file = folder.path().join("proxy.conf");
        fs::write(&file, configure(folder.path(), address)).unwrap();
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(folder.path().join("log"))
            .unwrap();
        let mut command = Command::new(program);
        command
            .args(options)
            .arg(&file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut proxy = Self {
            address,
            process: ProcessGroup::spawn(&mut command),
            folder,
        };
        wait_until("the proxy listens", || {
            let has_exited = proxy.process.has_exited();
            assert!(!has_exited, "{program} has exited: {}", proxy.read_log());
            TcpStream::connect(address).is_ok()
        });
        proxy
    }

    fn read_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The number of requests that the proxy has forwarded, from its log.
    fn forwarded_count(&self) -> usize {
        self.read_log()
            .lines()
            .filter(|line| line.starts_with("passed "))
            .count()
    }

    /// Sends these bytes and reads until the proxy closes.
    fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PROXY_TIMEOUT)).unwrap();
        // The proxy may have closed the connection.
        let _ = stream.write_all(bytes);
        let mut received = Vec::new();
        match stream.read_to_end(&mut received) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("{error}: {}", bytes.escape_ascii())
            }
            _ => {}
        }
        let _ = stream.shutdown(Shutdown::Both);
        received.iter().map(|byte| char::from(*byte)).collect()
    }
}

/// The request corpus, and requests with a second request in their bodies.
fn smuggling_attempts() -> Vec<(String, Vec<u8>)> {
    let mut requests: Vec<_> = request_corpus::load_cases()
        .into_iter()
        .map(|(name, case)| (name, case.bytes))
        .collect();
    let smuggled = "GET /salud HTTP/1.1\r\nHost: a\r\nX-Request-Id: smuggled\r\n\r\n";
    for method in ["GET", "POST"] {
        for fields in SMUGGLING_REQUESTS {
            for body in [
                smuggled.to_owned(),
                format!("0\r\n\r\n{smuggled}"),
                format!("1\r\nx\r\n0\r\n\r\n{smuggled}"),
            ] {
                let fields = fields.replace("{n}", &body.len().to_string());
                let bytes =
                    format!("{method} /resumen HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
                requests.push((format!("{method} {fields:?}"), bytes.into_bytes()));
            }
        }
    }
    requests
}

/// Sends each attack and then requests of other clients through the same proxy. Each must get its own
/// response.
fn assert_responses_are_not_mixed(app: &TestApp, proxy: &ReverseProxy) {
    let last = b"GET /salud/listo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut mismatches = Vec::new();
    for (number, (name, attack)) in smuggling_attempts().into_iter().enumerate() {
        let responses = proxy.send_raw(&[&attack, &last[..]].concat());
        let failed = ["500", "502", "503", "504"]
            .into_iter()
            .find(|code| responses.contains(&format!("HTTP/1.1 {code} ")));
        if let Some(code) = failed {
            mismatches.push(format!("{name}: {code}"));
        }
        for (path, mark) in [
            ("/resumen?_m=1", r#""origen":"snapshot""#),
            ("/salud", r#"{"status":"ok"}"#),
        ] {
            let id = format!("victim-{number}");
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: v\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
            );
            let response = proxy.send_raw(request.as_bytes());
            let is_own = response
                .to_ascii_lowercase()
                .contains(&format!("\r\nx-request-id: {id}\r\n"));
            let is_one = response.matches("HTTP/1.1 ").count() == 1;
            if !is_own
                || !is_one
                || !response.starts_with("HTTP/1.1 200 ")
                || !response.contains(mark)
            {
                mismatches.push(format!("{name}: {path} got {response:?}"));
            }
        }
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    // The service received exactly the requests that the proxy forwarded.
    wait_until("proxy and service count the same", || {
        proxy.forwarded_count() == answered_count(app)
    });
}

/// The number of responses of the service, without those of `/metrics`.
fn answered_count(app: &TestApp) -> usize {
    let page = app.get("/metrics");
    let counts = page
        .body
        .lines()
        .filter(|line| line.starts_with("resumen_http_requests_total{"));
    let others = counts.filter(|line| !line.contains("route=\"/metrics\""));
    others
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum()
}

fn start_service() -> (FakeProvider, TestApp) {
    let provider = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let app = TestApp::start(&source_tables(&[("btc", provider.url())]));
    (provider, app)
}

#[test]
fn nginx_sees_same_requests() {
    if !require_program("nginx") {
        return;
    }
    let (_provider, app) = start_service();
    let proxy = ReverseProxy::start(
        "nginx",
        |folder, address| nginx_config(folder, address, app.address),
        &["-p", ".", "-c"],
    );
    assert_responses_are_not_mixed(&app, &proxy);
}

#[test]
fn haproxy_sees_same_requests() {
    if !require_program("haproxy") {
        return;
    }
    let (_provider, app) = start_service();
    let proxy = ReverseProxy::start(
        "haproxy",
        |_, address| haproxy_config(address, app.address),
        &["-db", "-f"],
    );
    assert_responses_are_not_mixed(&app, &proxy);
}

/// Accepts as many malformed requests as nginx can, and keeps one idle connection to the service.
fn nginx_config(folder: &Path, address: SocketAddr, service: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
        events {{ worker_connections 512; }}
        http {{
            map $upstream_addr $fate {{ '' refused; default passed; }}
            log_format fate '$fate $status'; access_log {folder}/log fate;
            client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
            uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
            client_header_timeout 2s; client_body_timeout 2s; large_client_header_buffers 8 96k;
            merge_slashes off; underscores_in_headers on; ignore_invalid_headers off;
            upstream service {{ server {service}; keepalive 1; }}
            server {{
                listen {address};
                location / {{
                    proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection '';
                    proxy_request_buffering off; proxy_next_upstream off;
                }}
            }}
        }}"
    )
}

fn haproxy_config(address: SocketAddr, service: SocketAddr) -> String {
    format!(
        "global
            log stdout format raw local0
            tune.bufsize 98304
        defaults
            mode http
            log global
            log-format \"%s %ST\"
            timeout connect 5s
            timeout client 2s
            timeout server 20s
            timeout http-request 2s
            retries 0
            http-reuse always
        frontend front
            bind {address}
            default_backend back
        backend back
            server passed {service}\n"
    )
}
