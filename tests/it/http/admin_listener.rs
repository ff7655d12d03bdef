//! `admin_listen`: which address answers which route.

use std::net::SocketAddr;

use crate::support::http_reply::{http_get, send_request};
use crate::support::test_app::TestApp;

const CONFIG: &str = "[server]\nadmin_listen = \"127.0.0.1:0\"\n[store]\npath = \"\"\n\
                      [sources.a]\nurl = \"http://127.0.0.1:9/\"\n";

const REPORTS: [&str; 3] = ["/metrics", "/salud/fuentes", "/openapi.json"];
const HEALTH: [&str; 4] = ["/salud", "/salud/listo", "/healthz", "/readyz"];
const PUBLIC: [&str; 4] = ["/", "/resumen", "/resumen?sources=a", "/panel/history.json"];

fn admin_address(app: &TestApp) -> SocketAddr {
    app.service.admin_address().unwrap().ip().unwrap()
}

#[test]
fn each_address_answers_its_routes() {
    let app = TestApp::start(CONFIG);
    let (public, admin) = (app.address.to_string(), admin_address(&app).to_string());
    app.wait_for_json("/salud/listo", |body| body["status"] == "ok");
    for path in HEALTH {
        assert_eq!(http_get(&public, path).status, 200, "{path}");
        assert_eq!(http_get(&admin, path).status, 200, "{path}");
    }
    for (paths, served, hidden) in [
        (&REPORTS[..], &admin, &public),
        (&PUBLIC[..], &public, &admin),
    ] {
        for path in paths {
            assert_eq!(http_get(served, path).status, 200, "{path}");
            let refused = http_get(hidden, path);
            assert_eq!(refused.status, 404, "{path}");
            assert_eq!(refused.json()["code"], "not_found");
            let options =
                format!("OPTIONS {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert_eq!(send_request(hidden, &options).status, 404, "{path}");
            assert_eq!(send_request(served, &options).status, 204, "{path}");
        }
    }
}

#[test]
fn unknown_path_suggests_no_hidden_route() {
    let app = TestApp::start(CONFIG);
    let unknown = app.get("/metric").json();
    assert!(!unknown["expected"].as_str().unwrap().contains("/metrics"));
    assert_ne!(unknown["suggestion"], "/metrics");
    let reply = http_get(&admin_address(&app).to_string(), "/metric").json();
    assert_eq!(reply["status"], 404);
}

#[test]
fn tokens_apply_to_reports() {
    let app = TestApp::start(&CONFIG.replace(
        "[store]",
        "[server.tokens.wall]\ntoken = \"0123456789abcdef0123\"\nroutes = [\"admin\"]\n[store]",
    ));
    let admin = admin_address(&app).to_string();
    assert_eq!(http_get(&admin, "/metrics").status, 401);
    assert_eq!(http_get(&admin, "/salud").status, 200);
    let fields = "Host: a\r\nConnection: close\r\nAuthorization: Bearer 0123456789abcdef0123";
    let request = format!("GET /metrics HTTP/1.1\r\n{fields}\r\n\r\n");
    assert_eq!(send_request(&admin, &request).status, 200);
}
