//! A process that may have few descriptors, and clients that would take them all.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::support::child_process::{PROCESS_TIMEOUT, TestProcess, http_get, program_command};
use crate::support::fake_provider::FakeProvider;

/// Clients that connect and say nothing; many more than there is room for.
const IDLE_CLIENTS: usize = 60;

/// What a few calls may cost, in hundredths of a second. A loop that spins takes that within a second or two.
const CPU_LIMIT_MS: u64 = 50;

/// The service under `starter`, asking `stub` every second, and where it listens.
fn start_limited_process(stub: &FakeProvider, starter: &[&str]) -> (TestProcess, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("resumen.toml");
    let text =
        "[store]\npath = \"\"\n[defaults]\ninterval = \"1s\"\ntimeout = \"1s\"\n[sources.btc]\n";
    fs::write(&config, format!("{text}url = \"{}\"\n", stub.url())).unwrap();
    let plain = program_command(
        &[
            "--config",
            config.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
        ],
        &[],
    );
    let mut whole = Command::new(starter[0]);
    whole
        .args(&starter[1..])
        .arg(plain.get_program())
        .args(plain.get_args());
    plain.get_envs().for_each(|(name, _)| {
        whole.env_remove(name);
    });
    whole
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let program = TestProcess::start(&mut whole);
    let line = program.wait_for_stderr_line("listens");
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .trim()
        .to_owned();
    (program, address, folder)
}

/// Processor time so far, in hundredths of a second.
fn cpu_time_ms(program: &TestProcess) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn connect_idle_clients(address: &str) -> Vec<TcpStream> {
    (0..IDLE_CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect()
}

fn wait_for_calls(stub: &FakeProvider, more: usize) {
    let wanted = stub.call_count() + more;
    for _ in 0..2 * PROCESS_TIMEOUT.as_millis() / 20 {
        if stub.call_count() >= wanted {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!(
        "no more calls than {}, {wanted} were wanted",
        stub.call_count()
    );
}

#[test]
fn idle_clients_leave_fds_for_fetches() {
    let stub = FakeProvider::with_json("1");
    let (program, address, _folder) = start_limited_process(&stub, &["prlimit", "--nofile=64:64"]);
    let silent = connect_idle_clients(&address);
    let before = cpu_time_ms(&program);
    wait_for_calls(&stub, 5);
    let took = cpu_time_ms(&program) - before;
    assert!(
        took <= CPU_LIMIT_MS,
        "{took} hundredths of a second for five calls"
    );
    // Behind the crowd in the kernel's queue.
    assert_eq!(http_get(&address, "/salud").status, 200);
    drop(silent);
}

#[test]
fn fd_exhaustion_is_logged_once() {
    let stub = FakeProvider::with_json("1");
    let (program, address, _folder) = start_limited_process(&stub, &["env"]);
    assert_eq!(http_get(&address, "/salud").status, 200);
    let pid = Pid::from_raw(program.id().try_into().unwrap());
    let open = fs::read_dir(format!("/proc/{}/fd", program.id()))
        .unwrap()
        .count() as u64;
    let (few, enough) = (open + 4, 4096);
    let limit = |current| {
        prlimit(
            pid,
            Resource::Nofile,
            Rlimit {
                current: Some(current),
                maximum: Some(enough),
            },
        )
    };
    limit(few).unwrap();
    let mut waiting = connect_idle_clients(&address);
    program.wait_for_stderr_line("accepting connections paused");
    let before = cpu_time_ms(&program);
    sleep(Duration::from_secs(3));
    let took = cpu_time_ms(&program) - before;
    assert!(
        took <= CPU_LIMIT_MS,
        "{took} hundredths of a second for waiting"
    );
    limit(enough).unwrap();
    assert_eq!(http_get(&address, "/salud").status, 200);
    // Nobody who waited was turned away.
    let is_open = |client: &mut TcpStream| {
        client.set_nonblocking(true).unwrap();
        client
            .read(&mut [0])
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    assert!(waiting.iter_mut().all(is_open));
}
