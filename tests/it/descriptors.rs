//! A process that may have few descriptors, and clients that would take them all.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::program::{LIMIT, Program, command, get};
use crate::support::stub::Stub;

/// Clients that connect and say nothing; many more than there is room for.
const CROWD: usize = 60;

/// What a few calls may cost, in hundredths of a second. A loop that spins takes that within a second or two.
const CHEAP: u64 = 50;

/// The service under `starter`, asking `stub` every second, and where it listens.
fn start(stub: &Stub, starter: &[&str]) -> (Program, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("resumen.toml");
    let text =
        "[store]\npath = \"\"\n[defaults]\ninterval = \"1s\"\ntimeout = \"1s\"\n[sources.btc]\n";
    fs::write(&config, format!("{text}url = \"{}\"\n", stub.url())).unwrap();
    let plain = command(
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
    let program = Program::start(&mut whole);
    let line = program.err_line("listens");
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
fn spent(program: &Program) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn crowd(address: &str) -> Vec<TcpStream> {
    (0..CROWD)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect()
}

fn await_calls(stub: &Stub, more: usize) {
    let wanted = stub.calls() + more;
    for _ in 0..2 * LIMIT.as_millis() / 20 {
        if stub.calls() >= wanted {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("no more calls than {}, {wanted} were wanted", stub.calls());
}

#[test]
fn with_64_descriptors_a_silent_crowd_costs_nothing_and_fetches_and_health_checks_go_on() {
    let stub = Stub::json("1");
    let (program, address, _folder) = start(&stub, &["prlimit", "--nofile=64:64"]);
    let silent = crowd(&address);
    let before = spent(&program);
    await_calls(&stub, 5);
    let took = spent(&program) - before;
    assert!(
        took <= CHEAP,
        "{took} hundredths of a second for five calls"
    );
    // Behind the crowd in the kernel's queue.
    assert_eq!(get(&address, "/salud").status, 200);
    drop(silent);
}

#[test]
fn running_out_of_descriptors_is_said_once_survived_without_spinning_and_over_when_there_are_some()
{
    let stub = Stub::json("1");
    let (program, address, _folder) = start(&stub, &["env"]);
    assert_eq!(get(&address, "/salud").status, 200);
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
    let mut waiting = crowd(&address);
    program.err_line("cannot accept connections for now");
    let before = spent(&program);
    sleep(Duration::from_secs(3));
    let took = spent(&program) - before;
    assert!(took <= CHEAP, "{took} hundredths of a second for waiting");
    limit(enough).unwrap();
    assert_eq!(get(&address, "/salud").status, 200);
    // Nobody who waited was turned away.
    let is_open = |client: &mut TcpStream| {
        client.set_nonblocking(true).unwrap();
        client
            .read(&mut [0])
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    assert!(waiting.iter_mut().all(is_open));
}
