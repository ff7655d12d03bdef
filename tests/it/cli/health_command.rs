//! `healthcheck` without `--url`: it finds the listener of the service in the configuration.

use std::fs;

use crate::support::child_process::{ProcessOutput, TestProcess};
use crate::support::service_process::{ServiceFolder, ServiceProcess};
use crate::support::tls_client::TestAuthority;

const SOURCE: &str = "[store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:9/\"\n";
const TLS: &str = "[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";
const ADMIN: &str = "admin_listen = \"unix:admin.sock\"\n";

/// A folder whose configuration has these lines after `[server]`.
fn folder(server: &str) -> ServiceFolder {
    let folder = ServiceFolder::new(&format!("[server]\n{server}{SOURCE}"));
    let authority = TestAuthority::new("authority");
    authority.issue().write(folder.path());
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    folder
}

/// Runs `healthcheck` with the address of `service` in `RESUMEN_LISTEN`.
fn check_health(folder: &ServiceFolder, service: &ServiceProcess) -> ProcessOutput {
    let listen = service.address().to_string();
    let variables = [("RESUMEN_LISTEN", listen.as_str())];
    TestProcess::start(&mut folder.command("healthcheck", &variables)).wait_for_exit()
}

#[test]
fn healthcheck_finds_each_listener() {
    for (server, asked) in [
        ("", "127.0.0.1:"),
        (ADMIN, "unix:admin.sock"),
        (TLS, "127.0.0.1:"),
        (&format!("{ADMIN}{TLS}"), "unix:admin.sock"),
        (
            &format!("{ADMIN}{TLS}client_ca_file = \"ca.pem\"\n"),
            "unix:admin.sock",
        ),
    ] {
        let folder = folder(server);
        let service = folder.serve();
        let output = check_health(&folder, &service);
        assert_eq!(output.exit_code, Some(0), "{server}\n{}", output.stderr);
        assert!(output.stdout.contains(asked), "{}", output.stdout);
        service.kill();
        let output = folder.run("healthcheck", &["--listen", "127.0.0.1:9"]);
        assert_eq!(output.exit_code, Some(1), "{server}\n{}", output.stdout);
    }
}

#[test]
fn unix_listener_is_asked() {
    let folder = folder("listen = \"unix:http.sock\"\n");
    let service = TestProcess::start(&mut folder.command("serve", &[]));
    service.wait_for_stderr_line("listening");
    let output = folder.run("healthcheck", &[]);
    assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
    assert_eq!(output.stdout, "ok: unix:http.sock\n");
}

#[test]
fn required_certificate_has_remedy() {
    let folder = folder(&format!("{TLS}client_ca_file = \"ca.pem\"\n"));
    let service = folder.serve();
    let output = check_health(&folder, &service);
    assert_eq!(output.exit_code, Some(1));
    assert!(output.stderr.contains("admin_listen"), "{}", output.stderr);
}

#[test]
fn broken_config_does_not_fail_check() {
    let folder = folder(TLS);
    let service = folder.serve();
    folder.write_config(&format!(
        "[server]\nnonsense = 1\n{TLS}[sources.a]\nurl = \"x\"\n"
    ));
    let output = check_health(&folder, &service);
    assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
}
