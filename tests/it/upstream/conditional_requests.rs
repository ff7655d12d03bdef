//! Cache headers of providers: a 304 is a new reading with the data of the one before, and a response can delay the next
//! attempt.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resumen::domain::parse_rfc3339;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::login_server::{LoginRequest, LoginServer, response};
use crate::support::test_app::{TestApp, parse_test_config};
use crate::support::wait::wait_until;

const LIVE: &str = "/resumen?fresh=1&timeout=10";

/// A server with one version of its data, which it does not repeat to who has it.
fn versioned_server() -> LoginServer {
    LoginServer::start(|request| {
        if request.header("if-none-match") == Some("\"v1\"") {
            response("304 Not Modified", "ETag: \"v1\"\r\n", "")
        } else {
            let validators = "ETag: \"v1\"\r\nLast-Modified: Sat, 28 Nov 2026 08:00:00 GMT\r\n";
            response("200 OK", validators, r#"{"n":1}"#)
        }
    })
}

fn start_app(providers: &str) -> TestApp {
    TestApp::start(&format!(
        "[store]\npath = \"\"\n[sources.a]\ninterval = \"1h\"\ntimeout = \"10s\"\nmin_interval = \"1ms\"\n{providers}"
    ))
}

/// The condition of each request: its entity tag and its date.
fn conditions(server: &LoginServer) -> Vec<[Option<String>; 2]> {
    let condition = |request: &LoginRequest| {
        ["if-none-match", "if-modified-since"].map(|name| request.header(name).map(str::to_owned))
    };
    server.requests_for("/").iter().map(condition).collect()
}

fn live_result(app: &TestApp) -> Value {
    app.get_json(LIVE)["resultados"]["a"].clone()
}

#[test]
fn unchanged_response_is_a_new_reading() {
    let server = versioned_server();
    let app = start_app(&format!(
        "url = \"{}\"\nextract = \".n\"\n",
        server.url("/")
    ));
    let first = app.wait_for_json("/resumen", |body| {
        body["resultados"]["a"]["data"] == json!(1)
    });
    let mut before = first["resultados"]["a"]["fetched_at"].clone();
    for _ in 0..2 {
        let live = live_result(&app);
        assert_eq!(
            (&live["data"], &live["ok"]),
            (&json!(1), &json!(true)),
            "{live}"
        );
        assert!(live["fetched_at"].as_str() > before.as_str(), "{live}");
        before = live["fetched_at"].clone();
    }
    let conditional = [
        Some("\"v1\"".to_owned()),
        Some("Sat, 28 Nov 2026 08:00:00 GMT".to_owned()),
    ];
    let expected = [[None, None], conditional.clone(), conditional];
    assert_eq!(conditions(&server), expected);
}

#[test]
fn reading_of_another_provider_makes_no_condition() {
    let is_failing = Arc::new(AtomicBool::new(false));
    let preferred = LoginServer::start({
        let is_failing = Arc::clone(&is_failing);
        move |request| {
            if is_failing.load(Ordering::Relaxed) {
                response("500 Internal Server Error", "", "")
            } else if request.header("if-none-match").is_some() {
                response("304 Not Modified", "", "")
            } else {
                response("200 OK", "ETag: \"v1\"\r\n", "1")
            }
        }
    });
    let fallback = LoginServer::start(|_| response("200 OK", "ETag: \"v1\"\r\n", "2"));
    let app = start_app(&format!(
        "[[sources.a.providers]]\nname = \"p\"\nurl = \"{}\"\n[[sources.a.providers]]\nname = \"q\"\nurl = \"{}\"\n",
        preferred.url("/"),
        fallback.url("/")
    ));
    app.wait_for_json("/resumen", |body| {
        body["resultados"]["a"]["data"] == json!(1)
    });
    // A live request may still join the flight whose reading has just been published.
    let wait_for_live = |data: i32| {
        app.wait_for_json(LIVE, |body| body["resultados"]["a"]["data"] == json!(data));
    };
    is_failing.store(true, Ordering::Relaxed);
    wait_for_live(2);
    is_failing.store(false, Ordering::Relaxed);
    wait_for_live(1);
    app.wait_for_json(LIVE, |_| conditions(&preferred).len() == 4);
    let is_conditional = |[etag, _]: [Option<String>; 2]| etag.is_some();
    let asked: Vec<bool> = conditions(&preferred)
        .into_iter()
        .map(is_conditional)
        .collect();
    // The second request is the one that fails; the third follows the reading of the fallback.
    assert_eq!(asked, [false, true, false, true]);
    assert_eq!(conditions(&fallback), [[None, None]]);
}

#[test]
fn refused_condition_is_not_repeated() {
    // The second status may have another cause, so it takes two of them.
    for (status, refused) in [("400 Bad Request", 1), ("500 Internal Server Error", 2)] {
        let server = LoginServer::start(move |request| {
            if request.header("if-none-match").is_some() {
                response(status, "", "")
            } else {
                response("200 OK", "ETag: \"v1\"\r\n", "1")
            }
        });
        let app = start_app(&format!("url = \"{}\"\n", server.url("/")));
        app.wait_for_json("/resumen", |body| {
            body["resultados"]["a"]["data"] == json!(1)
        });
        for _ in 0..6 {
            live_result(&app);
        }
        let is_conditional = |[etag, _]: &[Option<String>; 2]| etag.is_some();
        let asked = conditions(&server)
            .iter()
            .filter(|c| is_conditional(c))
            .count();
        assert_eq!(asked, refused, "{status}");
        assert_eq!(live_result(&app)["code"], Value::Null, "{status}");
    }
}

#[test]
fn unasked_304_is_a_failure() {
    let server = LoginServer::start(|_| response("304 Not Modified", "ETag: \"v1\"\r\n", ""));
    let app = start_app(&format!("url = \"{}\"\n", server.url("/")));
    assert_eq!(live_result(&app)["code"], json!("http_status"));
    assert!(conditions(&server).iter().flatten().all(Option::is_none));
}

/// A source of `server` with an interval of a second and a `ttl` of 10 s.
fn start_obeying_app(server: &LoginServer, keys: &str) -> TestApp {
    TestApp::start(&format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\ninterval = \"1s\"\nttl = \"10s\"\nmin_interval = \"1ms\"\n{keys}",
        server.url("/")
    ))
}

#[test]
fn obeyed_lifetime_delays_attempts() {
    let server = LoginServer::start(|_| response("200 OK", "Cache-Control: max-age=3600\r\n", "1"));
    let app = start_obeying_app(&server, "upstream_cache = \"obey\"\n");
    app.wait_for_json("/resumen", |body| {
        body["resultados"]["a"]["data"] == json!(1)
    });
    for _ in 0..3 {
        let live = live_result(&app);
        assert_eq!(
            (&live["data"], &live["ok"]),
            (&json!(1), &json!(true)),
            "{live}"
        );
    }
    assert_eq!(server.requests_for("/").len(), 1);
    let check = app.get_json("/salud/fuentes")["checks"]["a"][0].clone();
    assert_eq!(check["ttl_ms"], json!(10_000 + 3_599_000), "{check}");
    let wait = |member: &Value| {
        parse_rfc3339(member.as_str().unwrap())
            .unwrap()
            .since(app.service.core.clock.now())
    };
    let wait = wait(&check["next_attempt"]);
    assert!(
        wait > Duration::from_secs(3_500) && wait <= Duration::from_secs(3_600),
        "{check}"
    );
}

#[test]
fn lifetime_is_ignored_by_default() {
    let server = LoginServer::start(|_| response("200 OK", "Cache-Control: max-age=3600\r\n", "1"));
    let app = start_obeying_app(&server, "");
    app.wait_for_json("/resumen", |body| {
        body["resultados"]["a"]["data"] == json!(1)
    });
    wait_until("a second request", || server.requests_for("/").len() >= 2);
    let check = app.get_json("/salud/fuentes")["checks"]["a"][0].clone();
    assert_eq!(check["ttl_ms"], json!(10_000));
}

#[test]
fn unchanged_response_renews_the_lifetime() {
    let server = LoginServer::start(|request| {
        if request.header("if-none-match").is_some() {
            response("304 Not Modified", "Cache-Control: max-age=3600\r\n", "")
        } else {
            response("200 OK", "ETag: \"v1\"\r\n", "1")
        }
    });
    let app = start_obeying_app(&server, "upstream_cache = \"obey\"\n");
    app.wait_for_json("/salud/fuentes", |report| {
        report["checks"]["a"][0]["ttl_ms"] == json!(10_000 + 3_599_000)
    });
    live_result(&app);
    assert_eq!(server.requests_for("/").len(), 2);
}

/// A server whose path `/new` has other data than the rest.
fn server_of_two_paths() -> LoginServer {
    LoginServer::start(|request| {
        let body = if request.is_for("/new") { "2" } else { "1" };
        let headers = "Cache-Control: max-age=3600\r\nETag: \"v1\"\r\n";
        response("200 OK", headers, body)
    })
}

fn obeying_config(store: &Path, url: &str) -> String {
    format!(
        "[store]\npath = \"{}\"\n[sources.a]\nurl = \"{url}\"\ninterval = \"1s\"\nmin_interval = \"1ms\"\nupstream_cache = \"obey\"\n",
        store.display()
    )
}

fn wait_for_data(app: &TestApp, data: &Value) {
    app.wait_for_json("/resumen", |body| body["resultados"]["a"]["data"] == *data);
}

#[test]
fn changed_url_is_fetched_at_once() {
    let server = server_of_two_paths();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("state.json");
    let [old, new] = ["/old", "/new"].map(|path| obeying_config(&store, &server.url(path)));
    let (old, new) = (parse_test_config(&old), parse_test_config(&new));
    let app = TestApp::start_with_config(&old);
    wait_for_data(&app, &json!(1));
    app.service.reloader().reload(&old, &new).unwrap();
    wait_for_data(&app, &json!(2));
    let condition = |request: &LoginRequest| request.header("if-none-match").map(str::to_owned);
    let requests = server.requests_for("/new");
    assert_eq!(requests.iter().map(condition).collect::<Vec<_>>(), [None]);
    // The state file has no URL, so a restart cannot know that the request is another one.
    app.service.stop(&CancellationToken::new());
    let app = TestApp::start_with_config(&old);
    wait_for_data(&app, &json!(1));
    assert_eq!(server.requests_for("/old").len(), 2);
}

#[test]
fn moved_provider_ends_a_pause() {
    let limited =
        LoginServer::start(|_| response("429 Too Many Requests", "Retry-After: 800\r\n", ""));
    let working = LoginServer::start(|_| response("200 OK", "", "2"));
    let config_at = |server: &LoginServer| {
        let url = server.url("/");
        parse_test_config(&format!(
            "[store]\npath = \"\"\n[sources.a]\nurl = \"{url}\"\nmin_interval = \"1ms\"\n"
        ))
    };
    let (old, new) = (config_at(&limited), config_at(&working));
    let app = TestApp::start_with_config(&old);
    app.wait_for_json("/resumen", |body| {
        body["resultados"]["a"]["code"] == "rate_limited"
    });
    app.service.reloader().reload(&old, &new).unwrap();
    wait_for_data(&app, &json!(2));
    assert_eq!(limited.requests_for("/").len(), 1);
}
