//! Waiting costs no threads: the figure in the README.
//!
//! `cargo test --test it threads -- --nocapture` prints it for your machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::program::{LIMIT, Program, base, command, get};

/// Live requests that wait at the same time.
const CROWD: usize = 1_000;

/// The look at the configuration's file, a name lookup and a filter may have a thread each meanwhile, crowd or not.
const OTHERS: usize = 3;

#[test]
fn a_thousand_waiting_live_requests_add_no_thread() {
    // Some systems allow 1,024 descriptors unless asked; the service inherits what is allowed here.
    let files = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            ..files
        },
    )
    .unwrap();
    let simulator = Program::start(&mut command(&["simulate", "--listen", "127.0.0.1:0"], &[]));
    let provider = base(&simulator.out_line("simulated providers on"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("resumen.toml");
    let url = format!("{provider}/btc?delay=4s");
    let text = format!(
        "[store]\npath = \"\"\n[sources.slow]\ninterval = \"1h\"\ntimeout = \"20s\"\nurl = \"{url}\"\n"
    );
    fs::write(&config, text).unwrap();
    let arguments = [
        "--config",
        config.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let service = Program::start(&mut command(&arguments, &[]));
    let line = service.err_line("listens");
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(get(address, "/salud").status, 200);
    assert!(
        niceness(&service, "serve-") < niceness(&service, "flights"),
        "fetches give way to answers"
    );

    let before = threads(&service);
    let waiting: Vec<TcpStream> = (0..CROWD).map(|_| ask(address)).collect();
    await_connections(address, CROWD);
    let during = threads(&service);
    println!("threads of the process: {before} before, {during} while {CROWD} live requests wait");
    assert!(during <= before + OTHERS, "{before} {during}");
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\"origen\":\"live\""),
            "{answer}"
        );
    }
    assert!(threads(&service) <= before + OTHERS);
}

fn ask(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request =
        "GET /resumen?fresh=1&timeout=20 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Until the service says that it holds so many connections.
fn await_connections(address: &str, count: usize) {
    for _ in 0..LIMIT.as_millis() / 20 {
        let metrics = get(address, "/metrics").body;
        let gauge = metrics
            .lines()
            .find_map(|line| line.strip_prefix("resumen_http_connections "));
        if gauge.unwrap().parse::<f64>().unwrap() >= count as f64 {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("the connections are not there");
}

fn threads(program: &Program) -> usize {
    fs::read_dir(format!("/proc/{}/task", program.id()))
        .unwrap()
        .count()
}

/// The nice value of the threads whose names begin like this.
fn niceness(program: &Program, name: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let stats = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    let mut values: Vec<i32> = stats
        .filter(|stat| stat.contains(&format!("({name}")))
        .map(|stat| {
            stat.rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .nth(16)
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    values.dedup();
    assert_eq!(values.len(), 1, "threads called {name}: {values:?}");
    values[0]
}
