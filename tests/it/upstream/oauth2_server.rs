//! Tokens of a real OAuth 2.0 server: Authlib of `PyPI`, in `target/oauth2`. If it is missing, the test is skipped and prints
//! a line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::child_process::TestProcess;
use crate::support::http_reply::send_request;
use crate::support::requirements::require;
use crate::support::test_app::TestApp;
use crate::support::wait::wait_for;

/// Starts the server; `None` without Authlib. Returns the process and the address.
fn start_server() -> Option<(TestProcess, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/oauth2/bin/python");
    let what = "Authlib (`pip install authlib flask`, into target/oauth2)";
    if !require(what, python.exists()) {
        return None;
    }
    let script = root.join("tests/support/oauth2_server.py");
    let process = TestProcess::start(Command::new(python).arg(script));
    let line = process.wait_for_stdout_line("port ");
    let port = line.trim().rsplit(' ').next().unwrap().to_owned();
    Some((process, format!("127.0.0.1:{port}")))
}

/// A source for each kind of login: of a machine, of a person with refresh tokens, and with a wrong secret.
fn config_text(address: &str) -> String {
    format!(
        r#"
        [store]
        path = ""
        [defaults]
        interval = "500ms"
        min_interval = "0s"

        [auth.machine]
        url = "http://{address}/oauth/token"
        form = {{ grant_type = "client_credentials" }}
        username = "resumen"
        password = "client/secret+value"
        extract = '{{token: .access_token, expires_in}}'
        [sources.machine]
        url = "http://{address}/api"
        auth = "machine"

        [auth.person]
        url = "http://{address}/oauth/token"
        extract = '{{token: .access_token, refresh_token, expires_in}}'
        [auth.person.form]
        grant_type = "password"
        client_id = "resumen"
        client_secret = "client/secret+value"
        username = "ana"
        password = "user password"
        [auth.person.refresh]
        form = {{ grant_type = "refresh_token", refresh_token = "${{auth.refresh_token}}" }}
        [sources.person]
        url = "http://{address}/api"
        auth = "person"

        [auth.wrong]
        url = "http://{address}/oauth/token"
        form = {{ grant_type = "client_credentials", client_id = "resumen", client_secret = "another" }}
        extract = '{{token: .access_token}}'
        [sources.wrong]
        url = "http://{address}/api"
        auth = "wrong"
        "#
    )
}

#[test]
fn authlib_tokens_are_obtained_and_renewed() {
    let Some((_process, address)) = start_server() else {
        return;
    };
    let app = TestApp::start(&config_text(&address));
    let is_complete = |answer: &Value| {
        ["machine", "person"].iter().all(|name| {
            let source = &answer["resultados"][name];
            source["ok"] == true && source.get("error").is_none()
        })
    };
    let answer = app.wait_for_json("/resumen?timeout=3", is_complete);
    assert_eq!(answer["resultados"]["machine"]["data"]["user"], "resumen");
    assert_eq!(answer["resultados"]["person"]["data"]["user"], "ana");
    let refused = answer["resultados"]["wrong"]["error"].as_str().unwrap();
    assert!(
        refused.starts_with("the login of `[auth.wrong]` failed: HTTP 401 Unauthorized")
            && refused.contains("The client cannot authenticate"),
        "{refused}"
    );

    // Three lifetimes of 2 s without a failure: every token was renewed ahead of its end.
    let renewed = wait_for("three renewals", || {
        let answer = app.get_json("/resumen");
        assert!(is_complete(&answer), "{answer:#}");
        let requests = &answer["resultados"]["person"]["data"]["requests"];
        Some(answer.clone()).filter(|_| requests.as_u64().unwrap() >= 3 + 2 * 3)
    });
    assert_eq!(renewed["resultados"]["wrong"]["code"], "auth_failed");

    // The server forgets its tokens: a refused call logs in anew, also after a refused refresh.
    let restart =
        "POST /restart HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(send_request(&address, restart).body, "restarted");
    let before = &app.get_json("/resumen")["resultados"]["person"]["fetched_at"];
    app.wait_for_json("/resumen", |answer| {
        is_complete(answer) && answer["resultados"]["person"]["fetched_at"] != *before
    });
}
