//! The addresses of `listen`, and the life of a Unix socket.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use rustix::process::Signal;

use crate::support::child_process::TestProcess;
use crate::support::http_reply::{http_get, unix_get};
use crate::support::service_process::{ServiceFolder, SimulatorFixture, listening_url};

const LISTENING: &str = "address=unix:http.sock";

/// A folder whose service listens on the Unix socket `http.sock` in it.
fn unix_folder() -> ServiceFolder {
    ServiceFolder::new(
        "[server]\nlisten = \"unix:http.sock\"\n[store]\npath = \"\"\n\
         [sources.a]\nurl = \"http://127.0.0.1:9/\"\n",
    )
}

fn start(folder: &ServiceFolder) -> TestProcess {
    let process = TestProcess::start(&mut folder.command("serve", &[]));
    process.wait_for_stderr_line(LISTENING);
    process
}

#[test]
fn unix_socket_serves_and_is_removed() {
    let folder = unix_folder();
    let socket = folder.path().join("http.sock");
    let first = start(&folder);
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert_eq!(unix_get(&socket, "/salud").body, "{\"status\":\"ok\"}");
    assert_eq!(unix_get(&socket, "/resumen").status, 200);

    let second = folder.run("serve", &[]);
    assert_eq!(second.exit_code, Some(1));
    assert!(
        second.stderr.contains("another process listens"),
        "{}",
        second.stderr
    );
    assert_eq!(unix_get(&socket, "/salud").status, 200);

    first.send_signal(Signal::KILL);
    first.wait_for_exit();
    assert!(socket.exists(), "a killed process leaves its socket");
    let third = start(&folder);
    assert_eq!(unix_get(&socket, "/salud").status, 200);
    third.send_signal(Signal::TERM);
    let output = third.wait_for_exit();
    assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
    assert!(!socket.exists());
}

#[test]
fn regular_file_is_no_stale_socket() {
    let folder = unix_folder();
    let path = folder.path().join("http.sock");
    fs::write(&path, "data").unwrap();
    let output = folder.run("serve", &[]);
    assert_eq!(output.exit_code, Some(1));
    assert!(
        output.stderr.contains("is not a socket"),
        "{}",
        output.stderr
    );
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[test]
fn port_alone_serves_both_families() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[("btc", "/btc")]);
    let mut command = fixture.folder.command("serve", &[("RESUMEN_LISTEN", ":0")]);
    let process = TestProcess::start(&mut command);
    let url = listening_url(&process);
    let port = url.rsplit(':').next().unwrap();
    assert_eq!(http_get(&format!("127.0.0.1:{port}"), "/salud").status, 200);
    if TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(http_get(&format!("[::1]:{port}"), "/salud").status, 200);
    }
}
