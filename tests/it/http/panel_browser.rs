//! The panel in a real browser: values, updates and error states. Needs `chromedriver`.

use std::time::Duration;

use serde_json::json;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::TestApp;
use crate::support::test_browser::TestBrowser;

/// A source `a` with an interval of 1 s and a ttl of 2 s.
fn scheduled_source_config(provider: &FakeProvider) -> String {
    let timing = "interval = \"1s\"\ntimeout = \"500ms\"\nttl = \"2s\"\nmin_interval = \"100ms\"";
    format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\n{timing}\n",
        provider.url()
    )
}

/// A source that only live requests fetch after its first attempt.
fn live_source_config(name: &str, provider: &FakeProvider) -> String {
    format!(
        "[sources.{name}]\nurl = \"{}\"\ninterval = \"1h\"\nmin_interval = \"1ms\"\n",
        provider.url()
    )
}

fn panel_url(app: &TestApp) -> String {
    format!("http://{}/", app.address)
}

/// The icon of the tab.
const ICON_SCRIPT: &str = "return document.querySelector('link[rel=icon]').href";

#[test]
fn values_keep_digits_and_refresh() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json(
        r#"{"z": 12345678901234567890, "2": 0.1000, "temp_c": -1.5, "none": null}"#,
    );
    let app = TestApp::start(&scheduled_source_config(&provider));
    browser.goto(&panel_url(&app));
    browser.wait_for_text(".head", "12,345,678,901,234,567,890");
    assert_eq!(browser.texts(".row .head").as_array().unwrap().len(), 4);
    assert_eq!(
        browser.texts("dt"),
        json!(["z", "2", "temp", "none"]),
        "in the order of the data"
    );
    assert_eq!(browser.texts(".row:nth-child(3) .unit"), json!(["°C"]));
    provider.set_json(r#"{"z": 1e400, "2": 0.25}"#);
    browser.wait_for_text(".head", "1e400");
    assert_eq!(browser.texts("dt"), json!(["z", "2"]));
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
    let provider = FakeProvider::with_json("1001");
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n{}",
        live_source_config("a", &provider)
    ));
    browser.goto(&panel_url(&app));
    browser.wait_for_expression("document.body.dataset.link === 'stream'");
    browser.wait_for_text(".head", "1001");
    assert_eq!(browser.texts("#link"), json!(["live"]));
    // On a slow machine the page may poll once before the first event.
    let polls_script = "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/resumen')).length";
    let before = browser.execute_script(polls_script);
    provider.set_json("2002");
    app.get_json("/resumen?fresh=1");
    browser.wait_for_text(".head", "2002");
    assert_eq!(
        browser.execute_script(polls_script),
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
    let provider = FakeProvider::with_json(
        &json!({"text": markup, markup: 1, "__proto__": {"pwned": 1}}).to_string(),
    );
    let credit = format!("attribution = '{markup}'\n");
    let app = TestApp::start(&(scheduled_source_config(&provider) + &credit));
    browser.goto(&panel_url(&app));
    browser.wait_for_text(".head", markup);
    for selector in ["dt", ".credit"] {
        browser.wait_for_text(selector, markup);
    }
    provider.update_response(|response| {
        response.status = "500 <b>";
        response.headers = "content-type: application/problem+json\r\n".into();
        response.body = format!("{{\"title\": {}}}", json!(markup));
    });
    browser.wait_for_expression(
        "document.querySelector('.trouble .message').textContent.startsWith('HTTP 500')",
    );
    assert_eq!(
        browser.execute_script(
            "return document.querySelectorAll('main :is(img, script, a:not(.title, .more), b)').length"
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
    let provider = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let app = TestApp::start(&scheduled_source_config(&provider));
    browser.goto(&panel_url(&app));
    browser.wait_for_text("#verdict", "Todo al día");
    assert_eq!(
        browser.execute_script("return document.documentElement.lang"),
        "es-AR"
    );
    assert_eq!(browser.texts(".head"), json!(["97.123,45"]));
    provider.set_status("503 Service Unavailable");
    browser.wait_for_text(".badge", "falla");
    browser.wait_for_expression("document.querySelector('.card').dataset.state === 'stale'");
    assert_eq!(browser.texts(".badge"), json!(["falla", "viejo"]));
    assert_eq!(browser.texts(".code"), json!(["http_status"]));
    assert_eq!(
        browser.texts(".head"),
        json!(["97.123,45"]),
        "last-good data stays"
    );
    browser.wait_for_expression(
        "/ desde \\d\\d:\\d\\d · \\d+ s$/.test(document.querySelector('.trouble p').textContent)",
    );
    browser.wait_for_expression("document.title === 'a: viejo — resumen'");
    browser.wait_for_expression("/^1 viejo:ahttp_status desde \\d\\d:\\d\\d$/.test(document.getElementById('verdict').textContent)");
    assert!(
        browser
            .execute_script(ICON_SCRIPT)
            .as_str()
            .unwrap()
            .contains("%23d98e04"),
        "the icon shows the state"
    );
    browser
        .wait_for_expression("/a quedó viejo/.test(document.getElementById('news').textContent)");
    provider.set_json(r#"{"usd": 97124}"#);
    browser.wait_for_expression("document.title === 'resumen'");
    assert_eq!(browser.texts(".badge"), json!(["al día"]));
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
    let provider = FakeProvider::with_json("1001");
    let app = TestApp::start(&scheduled_source_config(&provider));
    let address = app.address;
    browser.goto(&panel_url(&app));
    browser.wait_for_text(".head", "1001");
    drop(app);
    browser.wait_for_expression("document.body.dataset.link === 'lost'");
    browser.wait_for_expression("document.title === 'Connection lost — resumen'");
    browser.wait_for_expression(
        "document.querySelector('#verdict').textContent.startsWith('As it stood at ')",
    );
    assert_eq!(
        browser.texts(".head"),
        json!(["1001"]),
        "the last values stay"
    );
    provider.set_json("2002");
    let _restarted = TestApp::start_at(address, &scheduled_source_config(&provider));
    browser.wait_for_text(".head", "2002");
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
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n{}{}",
        live_source_config("a", &quick),
        live_source_config("b", &slow)
    ));
    browser.goto(&panel_url(&app));
    browser.wait_for_text(".head", "10");
    quick.set_json("2");
    slow.update_response(|response| {
        (response.body, response.delay) = ("20".into(), Duration::from_secs(1));
    });
    let rounds = "[...document.querySelectorAll('.card')].map((card) => card.dataset.round).join()";
    browser.click("#ask");
    browser.wait_for_expression(&format!("{rounds} === 'live,asking'"));
    browser.wait_for_expression(&format!("{rounds} === 'live,live'"));
    assert_eq!(browser.texts(".head"), json!(["2", "20"]));
    assert_eq!((quick.call_count(), slow.call_count()), (2, 2));
    browser.wait_for_expression(
        "/^2 of 2 arrived$/.test(document.getElementById('news').textContent)",
    );
    browser.wait_for_expression(
        "document.getElementById('ask').getAttribute('aria-disabled') === null",
    );
    browser.goto(&panel_url(&app));
    browser.wait_for_expression("document.querySelectorAll('.spark:not(.bare)').length === 2");
    let label = "document.querySelector('.spark').getAttribute('aria-label')";
    assert_eq!(browser.wait_for_expression(label), "between 1 and 2");
}

#[test]
fn ages_follow_server_clock() {
    let provider = FakeProvider::with_json("1");
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n{}",
        live_source_config("a", &provider)
    ));
    for offset in ["3600e3", "-3600e3"] {
        let Some(browser) = TestBrowser::open("en-US") else {
            return;
        };
        browser.add_script_to_new_pages(&format!(
            "const now = Date.now; Date.now = () => now() + {offset}"
        ));
        browser.goto(&panel_url(&app));
        let age = browser.wait_for_expression("document.querySelector('.age')?.textContent");
        let age: f64 = age
            .as_str()
            .unwrap()
            .strip_suffix(" s ago")
            .unwrap()
            .parse()
            .unwrap();
        let expected = app.get_json("/resumen")["resultados"]["a"]["age_ms"]
            .as_f64()
            .unwrap()
            / 1000.0;
        assert!(
            (expected - 2.0..=expected).contains(&age),
            "{offset}: {age} of {expected}"
        );
        let ticked = format!("parseInt(document.querySelector('.age').textContent) > {age}");
        browser.wait_for_expression(&ticked);
    }
}

#[test]
fn panel_shows_failing_provider() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let bad = FakeProvider::with_status("503 Service Unavailable");
    let good = FakeProvider::with_json("1");
    let table = |name, provider: &FakeProvider| {
        let url = provider.url();
        format!("[[sources.a.providers]]\nname = \"{name}\"\nurl = \"{url}\"\n")
    };
    let defaults = "[defaults]\ninterval = \"1s\"\ntimeout = \"500ms\"\nmin_interval = \"100ms\"\n";
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n{defaults}{}{}",
        table("preferred", &bad),
        table("other", &good)
    ));
    // The report gets the time of a minute later, so that the failure is a minute old.
    browser.add_script_to_new_pages(
        "const before = fetch; fetch = async (...request) => { const response = await before(...request); \
         if (!String(request[0]).includes('fuentes')) return response; const report = await response.json(); \
         report.time = new Date(Date.parse(report.time) + 60e3).toISOString(); return Response.json(report) }",
    );
    browser.goto(&panel_url(&app));
    browser.wait_for_expression("/^1 on a fallback:apreferred http_status since \\d\\d:\\d\\d$/.test(document.getElementById('verdict').textContent)");
    assert_eq!(browser.texts(".code"), json!(["preferred: http_status"]));
    assert_eq!(
        browser.texts(".message"),
        json!(["HTTP 503 Service Unavailable"])
    );
    assert_eq!(
        browser.texts(".badge"),
        json!(["fresh"]),
        "the value is fresh"
    );
    bad.set_json("2");
    browser.wait_for_text("#verdict", "All fresh");
    assert_eq!(
        browser.execute_script("return document.querySelector('.trouble').checkVisibility()"),
        false
    );
}

/// The browser's own sign-in by Basic: the page, its files, its requests and its event stream.
#[test]
fn page_works_after_basic_sign_in() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json("1001");
    let token = "panel-0123456789abcdef";
    let app = TestApp::start(&format!(
        "[server.tokens.wall]\ntoken = \"{token}\"\nroutes = [\"panel\", \"live\"]\n{}",
        scheduled_source_config(&provider)
    ));
    browser.goto(&panel_url(&app));
    assert_eq!(browser.texts("#cards"), json!([]), "without the token");
    // A URL with credentials signs in like the browser's dialogue; they hold for the next pages.
    browser.goto(&format!("http://me:{token}@{}/", app.address));
    browser.goto(&panel_url(&app));
    browser.wait_for_expression("document.body.dataset.link === 'stream'");
    browser.wait_for_text(".head", "1001");
    provider.set_json("2002");
    browser.wait_for_text(".head", "2002");
    browser.click("#ask");
    browser.wait_for_expression("performance.getEntriesByType('resource').some(({ name, responseStatus }) => name.includes('fresh=1') && responseStatus === 200)");
    let refused = "return performance.getEntriesByType('resource').filter(({ responseStatus }) => responseStatus >= 400).map(({ name }) => name)";
    assert_eq!(browser.execute_script(refused), json!([]));
}
