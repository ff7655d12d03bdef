//! The files of the panel: caching headers and the content security policy.

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};

#[test]
fn assets_are_hashed_and_csp_is_strict() {
    let provider = FakeProvider::with_json("1");
    let app = TestApp::start(&source_tables(&[("a", provider.url())]));
    let page = app.get("/");
    assert_eq!(
        (page.status, page.header("cache-control")),
        (200, Some("no-cache"))
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    let tag = page.header("etag").unwrap();
    let head = format!("host: test\r\nconnection: close\r\nif-none-match: {tag}\r\n");
    assert_eq!(
        app.send_raw(&format!("GET / HTTP/1.1\r\n{head}\r\n"))
            .status,
        304
    );
    let script = page
        .body
        .split('"')
        .find(|part| part.ends_with("panel.js"))
        .unwrap();
    let asset = app.get(&format!("/{script}"));
    assert_eq!(
        asset.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(
        asset.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let other = app.get("/panel/0123456789abcdef/panel.js");
    assert_eq!(
        (other.status, other.header("cache-control")),
        (200, Some("no-store"))
    );
    let none = app.get("/panel/0123456789abcdef/nothing.js");
    assert_eq!(
        (none.status, none.header("content-type")),
        (404, Some("application/problem+json"))
    );
}

#[test]
fn policy_follows_configuration() {
    let provider = FakeProvider::with_json("1");
    let sources = source_tables(&[("a", provider.url())]);
    let page = |text: &str| {
        let page = TestApp::start(text).get("/");
        let header = |name| page.header(name).unwrap().to_owned();
        (header("content-security-policy"), header("etag"))
    };
    let (plain, plain_tag) = page(&sources);
    assert!(plain.contains("; img-src 'self' data:; frame-ancestors 'self'"));
    let embedded = "[server]\nframe_ancestors = [\"https://home.example.org\"]\n";
    let image = "[sources.a.paths]\nphoto = { as = \"image\" }\n";
    let (changed, changed_tag) = page(&[embedded, &sources, image].concat());
    assert!(changed.ends_with("frame-ancestors 'self' https://home.example.org"));
    assert!(changed.contains("; img-src 'self' data: https: http:; "));
    assert_ne!(
        plain_tag, changed_tag,
        "a browser that has the page asks for it again"
    );
}
