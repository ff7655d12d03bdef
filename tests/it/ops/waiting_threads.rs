//! Waiting requests add no threads: the measurement in the README.
//!
//! `cargo test --test it waiting_threads -- --nocapture` prints it for your machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::service_process::{ServiceFolder, ServiceProcess, start_simulator};
use crate::support::wait::WAIT_LIMIT;

/// Number of concurrent live requests.
const WAITING_CLIENTS: usize = 1_000;

/// Threads that start with or without requests: the configuration watch, a name lookup and a filter.
const OTHER_THREADS: usize = 3;

#[test]
fn waiting_adds_no_thread() {
    // The default limit may be 1,024 descriptors. The service inherits the limit of this process.
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let (_simulator, simulator_url) = start_simulator();
    let folder = ServiceFolder::new(&format!(
        "[store]\npath = \"\"\n[sources.slow]\ninterval = \"1h\"\ntimeout = \"20s\"\n\
         url = \"{simulator_url}/btc?delay=4s\"\n"
    ));
    let service = folder.serve();
    assert_eq!(service.get("/salud").status, 200);
    let (workers, flights) = (niceness(&service, "serve-"), niceness(&service, "flights"));
    assert!(workers < flights, "workers have the higher priority");

    let before = thread_count(&service);
    let clients: Vec<TcpStream> = (0..WAITING_CLIENTS)
        .map(|_| send_live_request(service.address()))
        .collect();
    service.wait_for_metric("resumen_http_connections", |open| {
        open >= WAITING_CLIENTS as f64
    });
    let during = thread_count(&service);
    println!("threads: {before} before, {during} while {WAITING_CLIENTS} live requests wait");
    assert!(during <= before + OTHER_THREADS, "{before} {during}");
    for mut stream in clients {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let is_live = response.contains("\"origen\":\"live\"");
        assert!(
            response.starts_with("HTTP/1.1 200") && is_live,
            "{response}"
        );
    }
    assert!(thread_count(&service) <= before + OTHER_THREADS);
}

fn send_live_request(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    let fields = "Host: localhost\r\nConnection: close";
    let request = format!("GET /resumen?fresh=1&timeout=20 HTTP/1.1\r\n{fields}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn threads(service: &ServiceProcess) -> fs::ReadDir {
    fs::read_dir(format!("/proc/{}/task", service.process.pid())).unwrap()
}

fn thread_count(service: &ServiceProcess) -> usize {
    threads(service).count()
}

/// The nice value of all threads whose names begin with `name`.
fn niceness(service: &ServiceProcess, name: &str) -> i32 {
    let stats = threads(service)
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
    let nice = |stat: String| {
        let fields = stat.rsplit(')').next().unwrap();
        fields.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    let name = format!("({name}");
    let mut values: Vec<i32> = stats
        .filter(|stat| stat.contains(&name))
        .map(nice)
        .collect();
    values.dedup();
    assert_eq!(values.len(), 1, "threads {name}: {values:?}");
    values[0]
}
