//! Waiting costs no threads: the figure in the README.
//!
//! `cargo test --test it threads -- --nocapture` prints it for your machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::child_process::{
    PROCESS_TIMEOUT, TestProcess, base_url, http_get, program_command,
};

/// Live requests that wait at the same time.
const WAITING_CLIENTS: usize = 1_000;

/// The look at the configuration's file, a name lookup and a filter may have a thread each meanwhile, crowd or not.
const OTHER_THREADS: usize = 3;

#[test]
fn waiting_adds_no_thread() {
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
    let simulator = TestProcess::start(&mut program_command(
        &["simulate", "--listen", "127.0.0.1:0"],
        &[],
    ));
    let provider = base_url(&simulator.wait_for_stdout_line("simulated providers on"));
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
    let service = TestProcess::start(&mut program_command(&arguments, &[]));
    let line = service.wait_for_stderr_line("listens");
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(http_get(address, "/salud").status, 200);
    assert!(
        thread_niceness(&service, "serve-") < thread_niceness(&service, "flights"),
        "fetches give way to answers"
    );

    let before = thread_count(&service);
    let waiting: Vec<TcpStream> = (0..WAITING_CLIENTS)
        .map(|_| send_live_request(address))
        .collect();
    wait_for_connections(address, WAITING_CLIENTS);
    let during = thread_count(&service);
    println!(
        "threads of the process: {before} before, {during} while {WAITING_CLIENTS} live requests wait"
    );
    assert!(during <= before + OTHER_THREADS, "{before} {during}");
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\"origen\":\"live\""),
            "{answer}"
        );
    }
    assert!(thread_count(&service) <= before + OTHER_THREADS);
}

fn send_live_request(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PROCESS_TIMEOUT)).unwrap();
    let request =
        "GET /resumen?fresh=1&timeout=20 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Until the service says that it holds so many connections.
fn wait_for_connections(address: &str, count: usize) {
    for _ in 0..PROCESS_TIMEOUT.as_millis() / 20 {
        let metrics = http_get(address, "/metrics").body;
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

fn thread_count(program: &TestProcess) -> usize {
    fs::read_dir(format!("/proc/{}/task", program.id()))
        .unwrap()
        .count()
}

/// The nice value of the threads whose names begin like this.
fn thread_niceness(program: &TestProcess, name: &str) -> i32 {
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
