//! Bodies, headers, conditional requests and encodings of `/resumen` and other routes.

use std::io::Read;

use resumen::domain::Code;
use serde_json::{Value, json};

use crate::http::{server_with_readings, server_without_readings};
use crate::support::raw_client::{RawHttpClient, RawResponse};

/// Sends two requests until both responses have the same date and rendering.
fn request_twice(
    send: impl Fn(&mut RawHttpClient, usize) -> RawResponse,
    client: &mut RawHttpClient,
) -> (RawResponse, RawResponse) {
    let date_and_body = |response: &RawResponse| {
        (
            response.header("date").map(str::to_owned),
            response.text().to_owned(),
        )
    };
    for _ in 0..1000 {
        let pair = (send(client, 0), send(client, 1));
        if date_and_body(&pair.0) == date_and_body(&pair.1) {
            return pair;
        }
    }
    panic!("no two responses of one rendering");
}

#[test]
fn service_and_router_bytes_match() {
    let server = server_with_readings();
    let requests: [&[&str]; 6] = [
        &[],
        &["If-None-Match: \"x\""],
        &["If-None-Match: *"],
        &["Accept-Encoding: identity;q=0"],
        &["X-Request-Id: abc"],
        &[
            "Connection: keep-alive",
            "Range: bytes=0-5",
            "If-Modified-Since: garbage",
        ],
    ];
    let mut client = server.connect_client();
    for headers in requests {
        // The parameter is ignored, but only the router accepts it.
        let send = |client: &mut RawHttpClient, n: usize| {
            client.send_request("GET", ["/resumen", "/resumen?_=1"][n], headers)
        };
        let (fast, routed) = request_twice(send, &mut client);
        assert_eq!(fast, routed, "{headers:?}");
        let head = |client: &mut RawHttpClient, n: usize| {
            client.send_request("HEAD", ["/resumen", "/resumen?_=1"][n], headers)
        };
        let (fast, routed) = request_twice(head, &mut client);
        assert_eq!(fast.header_names(), routed.header_names(), "{headers:?}");
        assert_eq!(fast.status, routed.status);
    }
}

#[test]
fn snapshot_response_has_all_headers() {
    let server = server_with_readings();
    server.publish_failure("usd", Code::HttpStatus, "HTTP 503 Service Unavailable");
    let response = server.connect_client().get("/resumen");
    assert_eq!(response.status, 200);
    let body = response.json();
    assert_eq!(body["origen"], "snapshot");
    assert_eq!(body["timeout_s"], json!(4.0));
    assert_eq!(body["resultados"]["btc"]["data"], json!({"usd": 97123.45}));
    assert_eq!(body["resultados"]["usd"]["code"], "http_status");
    let version = body["version"].as_str().unwrap();
    assert_eq!(response.header("etag"), Some(&*format!("W/\"{version}\"")));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.header("content-length"),
        Some(&*response.body.len().to_string())
    );
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(
        response
            .header("cache-status")
            .unwrap()
            .starts_with("resumen; hit; ttl="),
        "{response:?}"
    );
    let cdn = response.header("cdn-cache-control").unwrap();
    assert!(cdn.starts_with("public, max-age=1"), "{cdn}");
    assert_eq!(response.header("server-timing"), None);
}

#[test]
fn head_matches_get_headers() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    for path in [
        "/resumen",
        "/resumen?sources=usd,btc",
        "/salud",
        "/salud/listo",
        "/nothing",
        "/resumen?fresh=x",
    ] {
        let (get, head) = (
            client.send_request("GET", path, &[]),
            client.send_request("HEAD", path, &[]),
        );
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header_names(), get.header_names(), "{path}");
        assert_eq!(
            head.header("content-length"),
            get.header("content-length"),
            "{path}"
        );
    }
}

#[test]
fn unchanged_etag_gives_304() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    let first = client.get("/resumen");
    let etag = first.header("etag").unwrap();
    for path in ["/resumen", "/resumen?_x"] {
        for method in ["GET", "HEAD"] {
            let unchanged =
                client.send_request(method, path, &[&format!("If-None-Match: \"a\", {etag}")]);
            assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
            let expected = [
                "etag",
                "cache-control",
                "cdn-cache-control",
                "cache-status",
                "vary",
            ];
            assert_eq!(unchanged.header_names(), expected);
        }
    }
    server.publish_reading("btc", r#"{"usd":97123.45}"#);
    // A new reading with the same data is a new version if its `fetched_at` differs.
    let changed = client.send_request("GET", "/resumen", &[&format!("If-None-Match: {etag}")]);
    let new = changed.json()["resultados"]["btc"]["fetched_at"]
        != first.json()["resultados"]["btc"]["fetched_at"];
    assert_eq!(changed.status, if new { 200 } else { 304 });
}

#[test]
fn encodings_give_same_body() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    let plain = client.get("/resumen").json();
    for path in ["/resumen", "/resumen?_", "/resumen?sources=btc,clima,usd"] {
        for coding in ["gzip", "br", "zstd"] {
            let response = client.send_request(
                "GET",
                path,
                &[&format!("Accept-Encoding: {coding}, identity;q=0")],
            );
            assert_eq!(response.header("content-encoding"), Some(coding), "{path}");
            assert_eq!(
                response.header("content-length"),
                Some(&*response.body.len().to_string())
            );
            assert_eq!(response.header("vary"), Some("Accept-Encoding"));
            let decoded: Value =
                serde_json::from_slice(&decode_body(coding, &response.body)).unwrap();
            assert_eq!(decoded["version"], plain["version"]);
            assert_eq!(
                decoded["resultados"]["usd"]["data"],
                plain["resultados"]["usd"]["data"]
            );
        }
        let refused = client.send_request("GET", path, &["Accept-Encoding: *;q=0"]);
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (406, &json!("not_acceptable"))
        );
    }
}

/// The content of a body in this coding.
pub fn decode_body(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body)
            .read_to_end(&mut text)
            .unwrap(),
        "br" => brotli::Decompressor::new(body, 4096)
            .read_to_end(&mut text)
            .unwrap(),
        _ => zstd::Decoder::new(body)
            .unwrap()
            .read_to_end(&mut text)
            .unwrap(),
    };
    text
}

#[test]
fn selected_sources_keep_order() {
    let server = server_with_readings();
    let response = server
        .connect_client()
        .get("/resumen?sources=usd,btc&timeout=0.5");
    let body = response.json();
    let names: Vec<&str> = body["resultados"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["usd", "btc"]);
    assert_eq!(body["timeout_s"], json!(0.5));
}

#[test]
fn first_wait_is_bounded() {
    let server = server_without_readings();
    server.publish_reading("btc", "1");
    let mut client = server.connect_client();
    assert_eq!(client.get("/salud/listo").json()["code"], "not_ready");
    let one = client.get("/resumen?sources=btc&timeout=9").json();
    assert_eq!(one["resultados"]["btc"]["ok"], true);
    let pending = client.get("/resumen?timeout=0.05").json();
    assert_eq!(pending["resultados"]["clima"]["code"], "pending");
    client.send("GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    server.publish_reading("clima", "2");
    server.publish_failure("usd", Code::ConnectRefused, "no listener");
    let complete = client.read_response("GET").json();
    assert_eq!(complete["resultados"]["clima"]["ok"], true);
    assert_eq!(complete["resultados"]["usd"]["code"], "connect_refused");
    assert_eq!(client.get("/salud/listo").json(), json!({"status": "ok"}));
}

#[test]
fn liveness_body_is_exact() {
    let response = server_with_readings().connect_client().get("/salud");
    assert_eq!(
        (response.status, response.text()),
        (200, r#"{"status":"ok"}"#)
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn problem_states_got_and_expected() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    let problem = client.get("/resumen?fresh=1&timeout=31");
    assert_eq!(problem.status, 400);
    assert_eq!(
        problem.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(problem.header("cache-control"), Some("no-store"));
    let body = problem.json();
    assert_eq!(
        (&body["code"], &body["param"], &body["got"]),
        (&json!("invalid_parameter"), &json!("timeout"), &json!("31"))
    );
    assert_eq!(
        client.get("/resumen?sources=bct").json()["suggestion"],
        "btc"
    );
    assert_eq!(client.get("/RESUMEN").json()["suggestion"], "/resumen");
    let delete = client.send_request("DELETE", "/salud", &[]);
    assert_eq!(
        (delete.status, delete.header("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
}

#[test]
fn other_headers_are_ignored() {
    let server = server_with_readings();
    let fields = [
        "X-Forwarded-Host: evil",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 1",
        "X-Original-URL: /salud",
        "X-Rewrite-URL: /salud",
        "Forwarded: host=evil",
        "X-Host: evil",
        "X-Real-IP: ::1",
        "X-HTTP-Method-Override: DELETE",
        "X-Method-Override: PUT",
        "X-HTTP-Method: POST",
        "User-Agent: x",
        "Cookie: a=b",
        "Authorization: Basic x",
        "Accept: text/html",
        "Accept-Language: es",
        "Referer: http://evil/",
        "Origin: http://evil",
        "Via: 1.1 x",
        "Forwarded-For: x",
        "True-Client-IP: 1",
        "CF-Connecting-IP: 1",
        "X-Cache-Key: x",
        "X-Forwarded-Scheme: nothttps",
        "X-Forwarded-Prefix: /x",
        "Cache-Control: no-cache",
        "Pragma: no-cache",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Range: bytes=0-1",
        "TE: gzip",
    ];
    let mut client = server.connect_client();
    for field in fields {
        let send = |client: &mut RawHttpClient, n: usize| {
            client.send_request(
                "GET",
                "/resumen",
                if n == 0 {
                    &[]
                } else {
                    std::slice::from_ref(&field)
                },
            )
        };
        let (plain, changed) = request_twice(send, &mut client);
        assert_eq!(plain, changed, "{field}");
    }
}

#[test]
fn safe_request_id_is_echoed() {
    let server = server_with_readings();
    let mut client = server.connect_client();
    let mut id = |sent: &str| {
        client
            .send_request("GET", "/resumen", &[&format!("X-Request-Id: {sent}")])
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(id("req-1.2_3"), "req-1.2_3");
    for bad in ["", "a b", &"x".repeat(129), &"x".repeat(10_000), "ñ"] {
        let got = id(bad);
        assert_eq!(got.len(), 16, "{bad:?} gave {got:?}");
        assert!(got.bytes().all(|b| b.is_ascii_hexdigit()));
    }
    assert_eq!(client.get("/resumen").header("x-request-id"), None);
}
