//! Clients of a Unix socket that do not read. What the kernel holds for them counts for the service, and stays while they
//! keep their ends open.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::child_process::ProcessGroup;
use crate::support::fake_provider::FakeProvider;
use crate::support::memory_group::MemoryGroup;
use crate::support::service_process::ServiceFolder;
use crate::support::wait::{wait_for, wait_until};

const CLIENTS: usize = 1500;

/// Most memory of the service, so that its filter workers have their part of 128 MiB.
const MAX_KIB: usize = 100 << 10;

#[test]
fn unread_responses_fit_into_container() {
    let Some(group) = MemoryGroup::with_limit(128 << 20) else {
        return;
    };
    let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(900_000));
    let provider = FakeProvider::with_json(&json);
    let folder = ServiceFolder::new(&format!(
        "[server]\nlisten = \"unix:http.sock\"\nadmin_listen = \"unix:admin.sock\"\n[store]\npath = \"\"\n\
         [sources.a]\nurl = \"{}\"\ninterval = \"1h\"\ntimeout = \"30s\"\n",
        provider.url()
    ));
    let mut command = group.command(Path::new(env!("CARGO_BIN_EXE_resumen")));
    command.arg("serve").current_dir(folder.path());
    command.args(["--config", "resumen.toml"]);
    let service = ProcessGroup::spawn(&mut command);
    let socket = folder.path().join("http.sock");
    wait_until("a reading", || is_ready(&socket));
    let requests = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(9);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = wait_for("a connection", || UnixStream::connect(&socket).ok());
            // The service may have closed the connection.
            let _ = client.write_all(requests.as_bytes());
            client
        })
        .collect();
    wait_until("an answer", || is_ready(&folder.path().join("admin.sock")));
    assert_eq!(group.memory_kills(), 0);
    assert!(group.peak_kib() < MAX_KIB, "{} KiB", group.peak_kib());
    drop((clients, service));
}

fn is_ready(socket: &Path) -> bool {
    let Ok(mut client) = UnixStream::connect(socket) else {
        return false;
    };
    let request = b"GET /salud/listo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut response = String::new();
    client.write_all(request).is_ok()
        && client.read_to_string(&mut response).is_ok()
        && response.starts_with("HTTP/1.1 200")
}
