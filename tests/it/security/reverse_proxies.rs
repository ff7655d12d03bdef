//! Behind Debian's nginx and haproxy, with every request on as few connections to us as the proxy can: whatever a
//! client sends, proxy and service see the same requests in the same bytes, and no answer reaches another client.
//!
//! A proxy that is missing is said and skipped; `RESUMEN_REQUIRE_ALL=1` makes that a failure.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use resumen::process::Clock;
use tempfile::TempDir;

use crate::http::request_corpus;
use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, WAIT_LIMIT, source_tables};

/// Longer than a proxy waits for the rest of a request.
const PROXY_TIMEOUT: Duration = Duration::from_secs(20);

/// Heads that a front and a back could divide differently, before a body that would then be a request.
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

/// A proxy in front of a service, killed when dropped.
struct ReverseProxy {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl ReverseProxy {
    /// Starts `program` with a configuration in a folder of its own.
    fn start(
        program: &str,
        configure: impl Fn(&Path, SocketAddr) -> String,
        options: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
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
            .stdin(Stdio::null());
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut proxy = Self {
            address,
            child,
            folder,
        };
        wait_until("the proxy listens", || {
            assert!(
                proxy.child.try_wait().unwrap().is_none(),
                "{program} ended: {}",
                proxy.read_log()
            );
            TcpStream::connect(address).is_ok()
        });
        proxy
    }

    fn read_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// How many requests it has passed on, by its own log.
    fn forwarded_count(&self) -> usize {
        self.read_log()
            .lines()
            .filter(|line| line.starts_with("passed "))
            .count()
    }

    /// What comes for these bytes, until the proxy ends the connection.
    fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PROXY_TIMEOUT)).unwrap();
        // It may have closed already.
        let _ = stream.write_all(bytes);
        let mut got = Vec::new();
        match stream.read_to_end(&mut got) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("{error}: {}", bytes.escape_ascii())
            }
            _ => {}
        }
        let _ = stream.shutdown(Shutdown::Both);
        got.iter().map(|byte| char::from(*byte)).collect()
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    let by = clock.instant() + WAIT_LIMIT * 2;
    while !is_so() {
        assert!(clock.instant() < by, "{what}: never");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the program is there; otherwise says so.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn is_installed(program: &str) -> bool {
    let is_there = Command::new(program)
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(
        is_there || !required,
        "{program} is missing (Debian's package of that name)"
    );
    if !is_there {
        eprintln!("skipped: {program} is missing (Debian's package of that name)");
    }
    is_there
}

/// What attackers send: the corpus, and requests with a second one hidden in their bodies.
fn smuggling_attempts() -> Vec<(String, Vec<u8>)> {
    let mut attacks: Vec<_> = request_corpus::load_cases()
        .into_iter()
        .map(|(name, case)| (name, case.bytes))
        .collect();
    let hidden = "GET /salud HTTP/1.1\r\nHost: a\r\nX-Request-Id: smuggled\r\n\r\n";
    for method in ["GET", "POST"] {
        for fields in SMUGGLING_REQUESTS {
            for body in [
                hidden.to_owned(),
                format!("0\r\n\r\n{hidden}"),
                format!("1\r\nx\r\n0\r\n\r\n{hidden}"),
            ] {
                let fields = fields.replace("{n}", &body.len().to_string());
                let bytes =
                    format!("{method} /resumen HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
                attacks.push((format!("{method} {fields:?}"), bytes.into_bytes()));
            }
        }
    }
    attacks
}

/// After each attack others come by the same proxy, each of whom must get the answer to its own question.
fn assert_responses_are_not_mixed(served: &TestApp, proxy: &ReverseProxy) {
    let last = b"GET /salud/listo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut wrong = Vec::new();
    for (number, (name, attack)) in smuggling_attempts().into_iter().enumerate() {
        let answers = proxy.send_raw(&[&attack, &last[..]].concat());
        let failed = ["500", "502", "503", "504"]
            .into_iter()
            .find(|code| answers.contains(&format!("HTTP/1.1 {code} ")));
        if let Some(code) = failed {
            wrong.push(format!("{name}: {code}"));
        }
        for (path, mark) in [
            ("/resumen?_m=1", r#""origen":"snapshot""#),
            ("/salud", r#"{"status":"ok"}"#),
        ] {
            let id = format!("victim-{number}");
            let question = format!(
                "GET {path} HTTP/1.1\r\nHost: v\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
            );
            let answer = proxy.send_raw(question.as_bytes());
            let is_own = answer
                .to_ascii_lowercase()
                .contains(&format!("\r\nx-request-id: {id}\r\n"));
            let is_one = answer.matches("HTTP/1.1 ").count() == 1;
            if !is_own || !is_one || !answer.starts_with("HTTP/1.1 200 ") || !answer.contains(mark)
            {
                wrong.push(format!("{name}: {path} was answered {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Each request that the proxy believes to have passed on was one request to us, and there were no others.
    wait_until("proxy and service count the same", || {
        proxy.forwarded_count() == answered_count(served)
    });
}

/// How many answers the service has given, but for those to this question.
fn answered_count(served: &TestApp) -> usize {
    let page = served.get("/metrics");
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let counts = page
        .lines()
        .filter(|line| line.starts_with("resumen_http_requests_total{"));
    let others = counts.filter(|line| !line.contains("route=\"/metrics\""));
    others
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum()
}

fn start_service() -> (FakeProvider, TestApp) {
    let stub = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let served = TestApp::start(&source_tables(&[("btc", stub.url())]));
    (stub, served)
}

#[test]
fn nginx_sees_same_requests() {
    if !is_installed("nginx") {
        return;
    }
    let (_stub, served) = start_service();
    let proxy = ReverseProxy::start(
        "nginx",
        |folder, address| nginx_config(folder, address, served.address),
        &["-p", ".", "-c"],
    );
    assert_responses_are_not_mixed(&served, &proxy);
}

#[test]
fn haproxy_sees_same_requests() {
    if !is_installed("haproxy") {
        return;
    }
    let (_stub, served) = start_service();
    let proxy = ReverseProxy::start(
        "haproxy",
        |_, address| haproxy_config(address, served.address),
        &["-db", "-f"],
    );
    assert_responses_are_not_mixed(&served, &proxy);
}

/// As lenient as it can be made, and with one idle connection to us for all clients.
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
