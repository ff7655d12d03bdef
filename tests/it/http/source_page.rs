//! The panel's page of one source in a real browser. Needs `chromedriver`.

use serde_json::{Value, json};

use super::panel_layout::{LOW_CONTRAST_SCRIPT, OVERFLOWING_ELEMENTS_SCRIPT};
use crate::support::fake_provider::FakeProvider;
use crate::support::process_usage::metric_value;
use crate::support::test_app::TestApp;
use crate::support::test_browser::TestBrowser;
use crate::support::wait::{wait_for, wait_until};

const DATA: &str = r#"{"fs": [{"mount": "/", "used": 93.2600}], "a-b": {"c/d": 12345678901234567890}, "secret": 1, "none": null}"#;

/// A service whose source `disk` has a preferred provider that fails and another one that answers.
fn start_disk(good: &FakeProvider, bad: &FakeProvider) -> TestApp {
    TestApp::start(&format!(
        "[store]\npath = \"\"\n[defaults]\ninterval = \"1s\"\ntimeout = \"500ms\"\nmin_interval = \"100ms\"\n\
         [sources.disk]\ntitle = \"Disk\"\nattribution = \"thanks\"\n\
         [sources.disk.paths]\nsecret = {{ hidden = true }}\n\
         \"fs.0.used\" = {{ unit = \"%\", decimals = 1, thresholds = {{ warn = 80, crit = 90 }} }}\n\
         [[sources.disk.providers]]\nname = \"preferred\"\nurl = \"{}\"\n\
         [[sources.disk.providers]]\nname = \"other\"\nurl = \"{}\"\nextract = '. + {{}}'\n\
         [derived.used]\nfrom = [\"disk\"]\nextract = '.disk.fs[0].used'\n",
        bad.url(),
        good.url()
    ))
}

#[test]
fn page_shows_all_of_a_source() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let good = FakeProvider::with_json(DATA);
    let bad = FakeProvider::with_status("503 Service Unavailable");
    let app = start_disk(&good, &bad);
    let url = format!("http://{}/fuente/disk", app.address);
    browser.goto(&url);
    browser.wait_for_text("h1", "Disk");
    browser.wait_for_expression("document.querySelectorAll('.leaf').length === 4");
    assert_eq!(
        browser.texts(".leaf .exact"),
        json!(["/", "93.2600", "12345678901234567890", "null"]),
        "every digit, and no hidden value"
    );
    assert_eq!(browser.texts(".said.crit"), json!(["93.3 %"]));
    // What the buttons copy is their title, too.
    let copies = browser.execute_script(
        "return [...document.querySelectorAll('.copy')].map(({ title }) => title.replace('Copy: ', ''))",
    );
    let valor = |path: &str| format!("http://{}/valor/disk/{path}", app.address);
    assert_eq!(copies[2], valor("fs/0/used"));
    assert_eq!(copies[3], ".fs[0].used");
    assert_eq!(copies[4], valor("a-b/c%2Fd"));
    assert_eq!(copies[5], r#".["a-b"]["c/d"]"#);
    browser.wait_for_text(".providers h3", "preferredfailing");
    browser.wait_for_text(".providers h3", "otheranswers");
    assert_eq!(
        browser.texts(".error"),
        json!(["http_status: HTTP 503 Service Unavailable"])
    );
    assert_eq!(browser.texts("pre"), json!([".", ". + {}"]));
    browser.wait_for_text("dl div", "calls a day86400");
    browser.wait_for_text("main > .facts", "thanks");
}

/// Pages that the browser keeps for its back button hold no connection to the service.
#[test]
fn left_pages_hold_no_stream() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json(DATA);
    let app = start_disk(&provider, &provider);
    for _ in 0..8 {
        browser.goto(&format!("http://{}/", app.address));
        browser.wait_for_expression("document.querySelector('.card')");
        browser.goto(&format!("http://{}/fuente/disk", app.address));
        browser.wait_for_text(".providers h3", "preferredanswers");
    }
    wait_until("the streams of left pages end", || {
        metric_value(&app.get("/metrics").body, "resumen_stream_clients") <= Some(1.0)
    });
}

#[test]
fn page_draws_and_fits_every_window() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let good = FakeProvider::with_json(DATA);
    let bad = FakeProvider::with_status("503 Service Unavailable");
    let app = start_disk(&good, &bad);
    browser.goto(&format!("http://{}/fuente/disk", app.address));
    browser.wait_for_expression("document.querySelectorAll('.leaf').length === 4");
    good.set_json(r#"{"fs": [{"mount": "/", "used": 50}]}"#);
    browser.wait_for_expression("document.querySelectorAll('.leaf').length === 2");
    browser.wait_for_text(".values-axis span", "93.3 %");
    for (width, height) in [(1280, 720), (390, 844)] {
        browser.set_window_size(width, height);
        assert_eq!(
            browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
            json!([])
        );
    }
    for theme in ["light", "dark"] {
        browser.emulate_media_feature("prefers-color-scheme", theme);
        assert_eq!(browser.execute_script(LOW_CONTRAST_SCRIPT), json!([]));
    }
    drop(app);
    browser.wait_for_expression("document.body.dataset.link === 'lost'");
}

#[test]
fn unknown_attempts_are_left_out() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let good = FakeProvider::with_json(DATA);
    let app = start_disk(&good, &good);
    browser.add_script_to_new_pages(
        "const real = fetch; window.fetch = (url, ...rest) => /salud/.test(url) ? new Promise(() => {}) : real(url, ...rest)",
    );
    browser.goto(&format!("http://{}/fuente/disk", app.address));
    browser.wait_for_text(".providers h3", "preferred");
    let requests = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('history')).length";
    assert_eq!(
        browser.execute_script(requests),
        0,
        "the history of all sources is not needed"
    );
}

#[test]
fn axis_texts_differ() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let good = FakeProvider::with_json(r#"{"uptime_s": 887910, "imei": 490154203237518}"#);
    let app = start_disk(&good, &good);
    wait_for("a reading", || {
        app.get("/panel/fuente/disk")
            .body
            .contains("887910")
            .then_some(())
    });
    good.set_json(r#"{"uptime_s": 887930, "imei": 490154203237519}"#);
    wait_for("a reading", || {
        app.get("/panel/fuente/disk")
            .body
            .contains("887930")
            .then_some(())
    });
    browser.goto(&format!("http://{}/fuente/disk", app.address));
    browser.wait_for_text(".values-axis span", "887,930 s");
    assert_eq!(
        browser.texts(".values-axis span"),
        json!(["887,930 s", "887,920 s", "887,910 s"]),
        "an identifier has no chart"
    );
}

#[test]
fn axis_shows_no_digits_that_did_not_come() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let good = FakeProvider::with_json("12345678901234567890");
    let app = start_disk(&good, &good);
    browser.goto(&format!("http://{}/fuente/disk", app.address));
    browser.wait_for_text(".values-axis span", "1.23e19");
}

#[test]
fn button_copies_without_secure_origin() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let good = FakeProvider::with_json(DATA);
    let app = start_disk(&good, &good);
    browser.add_script_to_new_pages(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); \
         document.execCommand = (command) => { window.copied = [command, getSelection().toString() || document.activeElement.value]; return true }",
    );
    browser.goto(&format!("http://{}/fuente/disk", app.address));
    browser.wait_for_expression("document.querySelectorAll('.leaf').length === 4");
    browser.click(".leaf:nth-child(2) .copy:last-child");
    browser.wait_for_text(".copy", "Copied");
    assert_eq!(
        browser.execute_script("return copied"),
        json!(["copy", ".fs[0].used"])
    );
}

#[test]
fn derived_source_shows_inputs() {
    let Some(browser) = TestBrowser::open("es-AR") else {
        return;
    };
    let good = FakeProvider::with_json(DATA);
    let app = start_disk(&good, &good);
    browser.goto(&format!("http://{}/fuente/used", app.address));
    browser.wait_for_text(".inputs", "Se calcula de disk");
    assert_eq!(browser.texts("pre"), json!([".disk.fs[0].used"]));
    browser.click(".inputs a");
    browser.wait_for_text("h1", "Disk");
}

#[test]
fn unknown_source_has_no_page() {
    let good = FakeProvider::with_json(DATA);
    let app = start_disk(&good, &good);
    for path in ["/fuente/disc", "/panel/fuente/disc"] {
        let response = app.get(path);
        assert_eq!(response.status, 404, "{path}");
        let problem: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(problem["code"], "unknown_source");
        assert_eq!(problem["suggestion"], "disk");
    }
}
