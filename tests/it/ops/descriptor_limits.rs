//! A process with few file descriptors, and clients that use them up.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::child_process::command_through;
use crate::support::fake_provider::FakeProvider;
use crate::support::service_process::{ServiceFolder, ServiceProcess};
use crate::support::wait::wait_until;

/// Number of clients that connect and send nothing, more than the descriptors.
const IDLE_CLIENTS: usize = 60;

/// Maximum CPU time in clock ticks of 10 ms. A busy loop uses it within a second.
const MAX_CPU_TICKS: u64 = 50;

/// A configuration with an interval of one second.
fn config(provider: &FakeProvider) -> ServiceFolder {
    let url = provider.url();
    let defaults = "[defaults]\ninterval = \"1s\"\ntimeout = \"1s\"\n";
    ServiceFolder::new(&format!(
        "[store]\npath = \"\"\n{defaults}[sources.btc]\nurl = \"{url}\"\n"
    ))
}

/// CPU time of the process in clock ticks.
fn cpu_ticks(service: &ServiceProcess) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", service.process.pid())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn connect_idle_clients(address: SocketAddr) -> Vec<TcpStream> {
    (0..IDLE_CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect()
}

#[test]
fn idle_clients_leave_fds_for_fetches() {
    let provider = FakeProvider::with_json("1");
    let folder = config(&provider);
    let starter = ["prlimit", "--nofile=64:64"];
    let mut command = command_through(&starter, &folder.serve_command(&[]));
    let service = ServiceProcess::start(&mut command);
    let _idle = connect_idle_clients(service.address());
    let (before, calls) = (cpu_ticks(&service), provider.call_count());
    wait_until("five calls", || provider.call_count() >= calls + 5);
    let used = cpu_ticks(&service) - before;
    assert!(used <= MAX_CPU_TICKS, "{used} ticks for five calls");
    // This connection waits behind the idle ones in the queue of the kernel.
    assert_eq!(service.get("/salud").status, 200);
}

#[test]
fn fd_exhaustion_is_logged_once() {
    let provider = FakeProvider::with_json("1");
    let folder = config(&provider);
    let service = folder.serve();
    assert_eq!(service.get("/salud").status, 200);
    let pid = service.process.pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let (few, enough) = (open + 4, 4096);
    let set_limit = |current| {
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(enough),
        };
        prlimit(Pid::from_raw(pid.cast_signed()), Resource::Nofile, limit).unwrap();
    };
    set_limit(few);
    let mut clients = connect_idle_clients(service.address());
    service.wait_for_log("accepting connections paused");
    let before = cpu_ticks(&service);
    // The period of the measurement.
    sleep(Duration::from_secs(3));
    let used = cpu_ticks(&service) - before;
    assert!(used <= MAX_CPU_TICKS, "{used} ticks without work");
    set_limit(enough);
    assert_eq!(service.get("/salud").status, 200);
    let is_open = |client: &mut TcpStream| {
        client.set_nonblocking(true).unwrap();
        let read = client.read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    assert!(
        clients.iter_mut().all(is_open),
        "a waiting client was closed"
    );
}
