//! `server.access_log`: one JSON line a request on standard error, without secrets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::child_process::ProcessGroup;
use crate::support::fake_provider::FakeProvider;
use crate::support::raw_client::RawHttpClient;
use crate::support::service_process::ServiceFolder;
use crate::support::wait::{WAIT_LIMIT, wait_for, wait_until};

const TOKEN: &str = "wall-0123456789abcdef";

#[test]
fn each_request_has_one_line() {
    let provider = FakeProvider::with_json("1");
    let config = |access_log: bool| {
        format!(
            "[server]\naccess_log = {access_log}\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
            [server.tokens.wall]\ntoken = \"{TOKEN}\"\nroutes = [\"data\", \"stream\"]\n\
            [store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\n",
            provider.url()
        )
    };
    let logged = requests_of(&config(true));
    let [first, second, third, query, refused, head, stream, health] = &logged[..] else {
        panic!("{logged:#?}");
    };
    for line in [first, second, third] {
        assert_eq!(
            (&line["path"], &line["status"]),
            (&"/resumen".into(), &200.into())
        );
        assert_eq!(
            (&line["method"], &line["token"]),
            (&"GET".into(), &"wall".into())
        );
        assert!(line["bytes"].as_u64().unwrap() > 100 && line["ms"].is_number());
        assert!(
            line["access"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
        assert_eq!(line["user_agent"], "poller \"1\"");
    }
    assert_eq!(first["client"], "192.0.2.7");
    assert_eq!(query["path"], "/resumen?sources=a&_key=***");
    assert_eq!(query["request_id"], "id-7");
    assert_eq!(
        (&refused["status"], &refused["token"]),
        (&401.into(), &Value::Null)
    );
    assert_eq!(
        (&head["method"], &head["bytes"]),
        (&"HEAD".into(), &0.into())
    );
    assert_eq!(
        (&stream["path"], &stream["bytes"]),
        (&"/resumen/stream".into(), &Value::Null)
    );
    assert_eq!(
        (&health["path"], &health["client"]),
        (&"/salud".into(), &"127.0.0.1".into())
    );
    assert!(requests_of(&config(false)).is_empty());
}

/// The lines of the access log after requests on both paths.
fn requests_of(config: &str) -> Vec<Value> {
    let folder = ServiceFolder::new(config);
    let service = folder.serve();
    let mut client = RawHttpClient::connect(service.address());
    let fields = format!(
        "Host: a\r\nUser-Agent: poller \"1\"\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nAuthorization: Bearer {TOKEN}\r\n"
    );
    let head = |line: &str| format!("{line} HTTP/1.1\r\n{fields}\r\n");
    client.send(head("GET /resumen").repeat(3));
    (0..3).for_each(|_| assert_eq!(client.read_response("GET").status, 200));
    client.send(
        head("GET /resumen?sources=a&_key=hunter2").replace("Host", "X-Request-Id: id-7\r\nHost"),
    );
    assert_eq!(client.read_response("GET").status, 200);
    client.send(
        head(&format!("GET /resumen?token={TOKEN}"))
            .replace(&format!("Bearer {TOKEN}"), "Bearer x"),
    );
    assert_eq!(client.read_response("GET").status, 401);
    client.send(head("HEAD /resumen"));
    assert_eq!(client.read_response("HEAD").status, 200);
    client.send(head("GET /resumen/stream"));
    assert_eq!(client.read_head().0, 200);
    RawHttpClient::connect(service.address()).get("/salud");
    let output = service.stop();
    assert!(!output.stderr.contains("0123456789abcdef") && !output.stderr.contains("hunter2"));
    let lines = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("{\"access\""));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn requests_without_place_are_logged() {
    let folder = ServiceFolder::new(
        "[server]\naccess_log = true\nmax_connections = 1\n[store]\npath = \"\"\n\
         [sources.a]\nurl = \"http://127.0.0.1:9/\"\n",
    );
    let service = folder.serve();
    let connect = || RawHttpClient::connect(service.address());
    let mut stream = connect();
    stream.send("GET /resumen/stream HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(stream.read_head().0, 200);
    // Most of them are refused as soon as they are accepted.
    let mut clients: Vec<_> = (0..200).map(|_| connect()).collect();
    for client in &mut clients {
        client.send("GET /resumen?_key=hunter2 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read_response("GET").status, 503);
    }
    let output = service.stop();
    let refused = |line: &&str| {
        line.starts_with("{\"access\"")
            && line.contains("\"client\":\"127.0.0.1\",\"method\":\"GET\",\"path\":\"/resumen?_key=***\",\"status\":503,\"bytes\":153")
    };
    let lines = output.stderr.lines().filter(refused);
    assert_eq!(lines.count(), 200, "{}", output.stderr);
}

/// Both logs share standard error, whose reader has stopped.
#[test]
fn full_pipe_does_not_stop_service() {
    let folder = ServiceFolder::new(
        "[server]\nlisten = \"unix:http.sock\"\naccess_log = true\nshutdown_grace = \"1s\"\n\
         [store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:9/\"\n",
    );
    let (unread, stderr) = std::io::pipe().unwrap();
    let mut command = folder.command("serve", &[]);
    command.stdout(Stdio::null()).stderr(stderr);
    let mut service = ProcessGroup::spawn(&mut command);
    drop(command);
    let socket = folder.path().join("http.sock");
    let mut client = wait_for("the socket", || UnixStream::connect(&socket).ok());
    client.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    // About 100 bytes each, and a pipe holds 64 KiB.
    for _ in 0..2000 {
        client
            .write_all(b"HEAD /salud HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            response.push(byte[0]);
        }
        assert!(response.starts_with(b"HTTP/1.1 200 OK"));
    }
    service.send_signal(Signal::TERM);
    wait_until("the end of the service", || service.has_exited());
    drop(unread);
}
