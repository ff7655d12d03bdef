//! The panel as a person sees it, in a real browser against the whole service.

use std::time::Duration;

use serde_json::json;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::TestApp;
use crate::support::test_browser::TestBrowser;

/// One source `a` at `stub`, asked every second, stale after two.
fn scheduled_source_config(stub: &FakeProvider) -> String {
    let timing = "interval = \"1s\"\ntimeout = \"500ms\"\nttl = \"2s\"\nmin_interval = \"100ms\"";
    format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\n{timing}\n",
        stub.url()
    )
}

/// A source at `stub` that is only asked by live rounds once the first one is over.
fn live_source_config(name: &str, stub: &FakeProvider) -> String {
    format!(
        "[sources.{name}]\nurl = \"{}\"\ninterval = \"1h\"\nmin_interval = \"1ms\"\n",
        stub.url()
    )
}

fn panel_url(served: &TestApp) -> String {
    format!("http://{}/", served.address)
}

/// The picture in the tab.
const ICON_SCRIPT: &str = "return document.querySelector('link[rel=icon]').href";

/// The texts of the elements that this selector finds.
fn texts_script(selector: &str) -> String {
    format!("[...document.querySelectorAll('{selector}')].map((found) => found.textContent)")
}

fn is_shown_script(selector: &str, text: &str) -> String {
    format!("{}.includes('{text}')", texts_script(selector))
}

#[test]
fn values_keep_digits_and_refresh() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let stub = FakeProvider::with_json(
        r#"{"z": 12345678901234567890, "2": 0.1000, "temp_c": -1.5, "none": null}"#,
    );
    let served = TestApp::start(&scheduled_source_config(&stub));
    browser.goto(&panel_url(&served));
    browser.wait_for_expression(&is_shown_script(".head", "12,345,678,901,234,567,890"));
    assert_eq!(
        browser
            .execute_script(&format!("return {}", texts_script(".row .head")))
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script("dt"))),
        json!(["z", "2", "temp", "none"]),
        "their order"
    );
    assert_eq!(
        browser.execute_script(&format!(
            "return {}",
            texts_script(".row:nth-child(3) .unit")
        )),
        json!(["°C"])
    );
    stub.set_json(r#"{"z": 1e400, "2": 0.25}"#);
    browser.wait_for_expression(&is_shown_script(".head", "1e400"));
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script("dt"))),
        json!(["z", "2"])
    );
    browser.wait_for_expression(
        "document.querySelector('.row:nth-child(2) .spark:not(.bare)') !== null",
    );
    assert_eq!(browser.execute_script("return document.title"), "resumen");
}

#[test]
fn changes_are_pushed_without_polling() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let stub = FakeProvider::with_json("1001");
    let served = TestApp::start(&format!(
        "[store]\npath = \"\"\n{}",
        live_source_config("a", &stub)
    ));
    browser.goto(&panel_url(&served));
    browser.wait_for_expression("document.body.dataset.link === 'stream'");
    browser.wait_for_expression(&is_shown_script(".head", "1001"));
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script("#link"))),
        json!(["live"])
    );
    // On a slow machine it may have asked once while it waited for the first event.
    let asked = "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/resumen')).length";
    let before = browser.execute_script(asked);
    stub.set_json("2002");
    served.get_json("/resumen?fresh=1");
    browser.wait_for_expression(&is_shown_script(".head", "2002"));
    assert_eq!(
        browser.execute_script(asked),
        before,
        "a page whose stream is open does not poll"
    );
    assert_eq!(
        browser.execute_script("return document.body.dataset.link"),
        "stream"
    );
}

#[test]
fn hostile_text_is_escaped() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let markup =
        "<img src=x onerror=pwned=1><script>pwned=1</script><a href=javascript:pwned=1>x</a>";
    let stub = FakeProvider::with_json(
        &json!({"text": markup, markup: 1, "__proto__": {"pwned": 1}}).to_string(),
    );
    let credit = format!("attribution = '{markup}'\n");
    let served = TestApp::start(&(scheduled_source_config(&stub) + &credit));
    browser.goto(&panel_url(&served));
    browser.wait_for_expression(&is_shown_script(".head", markup));
    for place in ["dt", ".credit"] {
        assert_eq!(
            browser.execute_script(&format!("return {}", is_shown_script(place, markup))),
            true,
            "{place}"
        );
    }
    stub.update_response(|answer| {
        (answer.status, answer.body) = ("500 <b>", format!("{{\"title\": {}}}", json!(markup)))
    });
    stub.update_response(|answer| {
        answer.headers = "content-type: application/problem+json\r\n".into()
    });
    browser.wait_for_expression(
        "document.querySelector('.trouble .message').textContent.startsWith('HTTP 500')",
    );
    assert_eq!(
        browser.execute_script(
            "return document.querySelectorAll('main :is(img, script, a, b)').length"
        ),
        0
    );
    assert_eq!(browser.execute_script("return typeof pwned"), "undefined");
}

#[test]
fn stale_and_failing_labels_clear() {
    let Some(browser) = TestBrowser::open("es-AR") else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let served = TestApp::start(&scheduled_source_config(&stub));
    browser.goto(&panel_url(&served));
    browser.wait_for_expression(&is_shown_script("#verdict", "Todo al día"));
    assert_eq!(
        browser.execute_script("return document.documentElement.lang"),
        "es-AR"
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".head"))),
        json!(["97.123,45"])
    );
    stub.update_response(|answer| answer.status = "503 Service Unavailable");
    browser.wait_for_expression(&is_shown_script(".badge", "falla"));
    browser.wait_for_expression("document.querySelector('.card').dataset.state === 'stale'");
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".badge"))),
        json!(["falla", "viejo"])
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".code"))),
        json!(["http_status"])
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".head"))),
        json!(["97.123,45"]),
        "last-good data stays"
    );
    browser.wait_for_expression(
        "/^desde \\d\\d:\\d\\d · \\d+ s$/.test(document.querySelector('.since').textContent)",
    );
    browser.wait_for_expression("document.title === 'a: viejo — resumen'");
    browser.wait_for_expression("/^1 viejo:ahttp_status desde \\d\\d:\\d\\d$/.test(document.getElementById('verdict').textContent)");
    assert!(
        browser
            .execute_script(ICON_SCRIPT)
            .as_str()
            .unwrap()
            .contains("%23d98e04"),
        "the icon of the tab tells it too"
    );
    browser
        .wait_for_expression("/a quedó viejo/.test(document.getElementById('news').textContent)");
    stub.set_json(r#"{"usd": 97124}"#);
    browser.wait_for_expression("document.title === 'resumen'");
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".badge"))),
        json!(["al día"])
    );
    assert_eq!(
        browser.execute_script("return document.querySelector('.trouble').checkVisibility()"),
        false
    );
    assert!(
        browser
            .execute_script(ICON_SCRIPT)
            .as_str()
            .unwrap()
            .contains("%232f9e63")
    );
}

#[test]
fn lost_server_is_shown_and_reconnected() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let stub = FakeProvider::with_json("1001");
    let served = TestApp::start(&scheduled_source_config(&stub));
    let address = served.address;
    browser.goto(&panel_url(&served));
    browser.wait_for_expression(&is_shown_script(".head", "1001"));
    drop(served);
    browser.wait_for_expression("document.body.dataset.link === 'lost'");
    browser.wait_for_expression("document.title === 'Connection lost — resumen'");
    browser.wait_for_expression(
        "document.querySelector('#verdict').textContent.startsWith('As it stood at ')",
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".head"))),
        json!(["1001"]),
        "what was known stays"
    );
    stub.set_json("2002");
    let _again = TestApp::start_at(address, &scheduled_source_config(&stub));
    browser.wait_for_expression(&is_shown_script(".head", "2002"));
    browser.wait_for_expression(
        "document.body.dataset.link !== 'lost' && document.title === 'resumen'",
    );
    browser.wait_for_expression("document.body.dataset.link === 'stream'");
    browser.wait_for_expression(
        "/Connection regained/.test(document.getElementById('news').textContent)",
    );
}

#[test]
fn live_refresh_shows_each_result() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let (quick, slow) = (FakeProvider::with_json("1"), FakeProvider::with_json("10"));
    let served = TestApp::start(&format!(
        "[store]\npath = \"\"\n{}{}",
        live_source_config("a", &quick),
        live_source_config("b", &slow)
    ));
    browser.goto(&panel_url(&served));
    browser.wait_for_expression(&is_shown_script(".head", "10"));
    quick.set_json("2");
    slow.update_response(|answer| {
        (answer.body, answer.delay) = ("20".into(), Duration::from_secs(1))
    });
    let rounds = "[...document.querySelectorAll('.card')].map((card) => card.dataset.round).join()";
    browser.click("#ask");
    browser.wait_for_expression(&format!("{rounds} === 'live,asking'"));
    browser.wait_for_expression(&format!("{rounds} === 'live,live'"));
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".head"))),
        json!(["2", "20"])
    );
    assert_eq!((quick.call_count(), slow.call_count()), (2, 2));
    browser.wait_for_expression(
        "/^2 of 2 arrived$/.test(document.getElementById('news').textContent)",
    );
    browser.wait_for_expression(
        "document.getElementById('ask').getAttribute('aria-disabled') === null",
    );
    browser.goto(&panel_url(&served));
    browser.wait_for_expression("document.querySelectorAll('.spark:not(.bare)').length === 2");
    let label = "document.querySelector('.spark').getAttribute('aria-label')";
    assert_eq!(browser.wait_for_expression(label), "between 1 and 2");
}

#[test]
fn ages_follow_server_clock() {
    let stub = FakeProvider::with_json("1");
    let served = TestApp::start(&format!(
        "[store]\npath = \"\"\n{}",
        live_source_config("a", &stub)
    ));
    for off in ["3600e3", "-3600e3"] {
        let Some(browser) = TestBrowser::open("en-US") else {
            return;
        };
        browser.add_script_to_new_pages(&format!(
            "const now = Date.now; Date.now = () => now() + {off}"
        ));
        browser.goto(&panel_url(&served));
        let age = browser.wait_for_expression("document.querySelector('.age')?.textContent");
        let age: f64 = age
            .as_str()
            .unwrap()
            .strip_suffix(" s ago")
            .unwrap()
            .parse()
            .unwrap();
        let truth = served.get_json("/resumen")["resultados"]["a"]["age_ms"]
            .as_f64()
            .unwrap()
            / 1000.0;
        assert!(
            (truth - 2.0..=truth).contains(&age),
            "{off}: {age} of {truth}"
        );
        let ticked = format!("parseInt(document.querySelector('.age').textContent) > {age}");
        browser.wait_for_expression(&ticked);
    }
}

#[test]
fn assets_are_hashed_and_csp_is_strict() {
    let stub = FakeProvider::with_json("1");
    let served = TestApp::start(&scheduled_source_config(&stub));
    let front = served.get("/");
    assert_eq!(
        (front.status, front.header("cache-control")),
        (200, Some("no-cache"))
    );
    let policy = front.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    let tag = front.header("etag").unwrap();
    let head = format!("host: test\r\nconnection: close\r\nif-none-match: {tag}\r\n");
    assert_eq!(
        served
            .send_raw(&format!("GET / HTTP/1.1\r\n{head}\r\n"))
            .status,
        304
    );
    let text = String::from_utf8(front.body).unwrap();
    let script = text
        .split('"')
        .find(|part| part.ends_with("panel.js"))
        .unwrap();
    let kept = served.get(&format!("/{script}"));
    assert_eq!(
        kept.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(
        kept.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let other = served.get("/panel/0123456789abcdef/panel.js");
    assert_eq!(
        (other.status, other.header("cache-control")),
        (200, Some("no-store"))
    );
    let none = served.get("/panel/0123456789abcdef/nothing.js");
    assert_eq!(
        (none.status, none.header("content-type")),
        (404, Some("application/problem+json"))
    );
}

#[test]
fn panel_shows_failing_provider() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let (bad, good) = (FakeProvider::with_json("0"), FakeProvider::with_json("1"));
    bad.update_response(|answer| answer.status = "503 Service Unavailable");
    let provider = |name, stub: &FakeProvider| {
        format!(
            "[[sources.a.providers]]\nname = \"{name}\"\nurl = \"{}\"\n",
            stub.url()
        )
    };
    let pace = "[defaults]\ninterval = \"1s\"\ntimeout = \"500ms\"\nmin_interval = \"100ms\"\n";
    let served = TestApp::start(&format!(
        "[store]\npath = \"\"\n{pace}{}{}",
        provider("preferred", &bad),
        provider("other", &good)
    ));
    // The report of a minute later, but for the first failure's instant.
    browser.add_script_to_new_pages(
        "const before = fetch; fetch = async (...asked) => { const answer = await before(...asked); \
         if (!String(asked[0]).includes('fuentes')) return answer; const report = await answer.json(); \
         report.time = new Date(Date.parse(report.time) + 60e3).toISOString(); return Response.json(report) }",
    );
    browser.goto(&panel_url(&served));
    browser.wait_for_expression("/^1 on a fallback:apreferred http_status since \\d\\d:\\d\\d$/.test(document.getElementById('verdict').textContent)");
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".code"))),
        json!(["preferred: http_status"])
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".message"))),
        json!(["HTTP 503 Service Unavailable"])
    );
    assert_eq!(
        browser.execute_script(&format!("return {}", texts_script(".badge"))),
        json!(["fresh"]),
        "the value is as good as any"
    );
    bad.set_json("2");
    browser.wait_for_expression(&is_shown_script("#verdict", "All fresh"));
    assert_eq!(
        browser.execute_script("return document.querySelector('.trouble').checkVisibility()"),
        false
    );
}
