//! The panel on data of many shapes, as real APIs send it. Needs `chromedriver`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::panel_layout::{LOW_CONTRAST_SCRIPT, OVERFLOWING_ELEMENTS_SCRIPT};
use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::TestApp;
use crate::support::test_browser::TestBrowser;

/// Sources of real shapes by name: weather, prices, calendars, playlists, disks, meters, …
const SHAPES: &str = include_str!("panel_shapes.json");

const TIMING: &str = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"1ms\"\n";

fn open_panel(app: &TestApp, browser: &TestBrowser, cards: usize) {
    browser.goto(&format!("http://{}/", app.address));
    let shown = "document.querySelectorAll(\".card:is([data-state='fresh'], [data-state='missing'])\").length";
    browser.wait_for_expression(&format!("{shown} === {cards}"));
    browser.wait_for_expression("document.querySelector('.age').textContent !== ''");
}

/// A service with one provider and one source per shape of these names; of all shapes without a name.
fn start_shapes(names: &[&str]) -> (TestApp, Vec<FakeProvider>) {
    let mut shapes: Map<String, Value> = serde_json::from_str(SHAPES).unwrap();
    shapes.retain(|name, _| names.is_empty() || names.contains(&name.as_str()));
    let mut config = "[store]\npath = \"\"\n".to_owned();
    let mut providers = Vec::new();
    for (name, data) in &shapes {
        let provider = FakeProvider::with_json(&data.to_string());
        writeln!(config, "[sources.{name}]\nurl = \"{}\"", provider.url()).unwrap();
        providers.push(provider);
    }
    (TestApp::start(&config), providers)
}

#[test]
fn shapes_fit_every_window() {
    let (app, providers) = start_shapes(&[]);
    for language in ["en-US", "es-AR"] {
        let Some(browser) = TestBrowser::open(language) else {
            return;
        };
        for (width, height) in [(1280, 720), (1920, 1080), (3840, 2160), (390, 844)] {
            browser.set_window_size(width, height);
            open_panel(&app, &browser, providers.len());
            assert_eq!(
                browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
                json!([]),
                "{width}×{height}"
            );
            let page = browser.execute_script("return document.documentElement.scrollHeight");
            assert!(
                width == 390 || page.as_u64().unwrap() <= height.into(),
                "{width}×{height}: {page}"
            );
        }
        assert_eq!(
            browser.execute_script(
                "return document.querySelectorAll('main :is(script, b, a:not(.title, .more))').length"
            ),
            0,
            "HTML in values stays text"
        );
    }
}

#[test]
fn texts_say_what_they_are() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let names = [
        "hebrew", "log", "blanks", "numbers", "deep", "people", "keys",
    ];
    let (app, providers) = start_shapes(&names);
    browser.set_window_size(390, 844);
    open_panel(&app, &browser, providers.len());
    let direction = "return getComputedStyle(document.querySelector('#card-hebrew dd')).direction";
    assert_eq!(
        browser.execute_script(direction),
        "rtl",
        "a cut is at the end of the text"
    );
    assert_eq!(
        browser.texts("#card-log .head")[1],
        "photogpj.exe",
        "no text turns the direction of another one"
    );
    assert_eq!(browser.texts("#card-blanks dd")[1], "empty");
    assert_eq!(browser.texts("#card-keys dt")[4], "data");
    assert_eq!(
        browser.texts("#card-numbers dd"),
        json!(["1 · 2 · 3 · 5 · 8 · 13 · 21 · 34 · 55 · 89 · 144 · 233(12)"])
    );
    assert_eq!(
        browser.texts("#card-deep th"),
        json!(["matrix", "", ""]),
        "an index is no value"
    );
    assert_eq!(
        browser.texts("#card-people dd.number"),
        json!([
            "541143219876",
            "30123456",
            "490154203237518",
            "1700000000",
            "1700000000",
            "1425"
        ]),
        "identifiers are no quantities"
    );
}

#[test]
fn value_without_heading_names_its_section() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let (app, providers) = start_shapes(&[]);
    browser.set_window_size(1280, 720);
    open_panel(&app, &browser, providers.len());
    assert_eq!(
        browser.texts("#card-build :is(dt, dd)"),
        json!(["main › status", "success"])
    );
}

#[test]
fn long_content_opens_in_full() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let (app, providers) = start_shapes(&[]);
    browser.set_window_size(1280, 720);
    open_panel(&app, &browser, providers.len());
    let more = "document.querySelector('#card-rates .more')";
    browser.wait_for_expression(&format!("/\\d+/.test({more}.textContent)"));
    browser.execute_script(&format!("{more}.click()"));
    browser.wait_for_expression("document.querySelectorAll('.leaf').length === 8");
    assert_eq!(browser.texts(".leaf .exact")[0], "0.92137");
    assert_eq!(browser.texts(".leaf .path")[1], "ARS");
}

#[test]
fn refreshes_shift_no_layout() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let shapes: Map<String, Value> = serde_json::from_str(SHAPES).unwrap();
    let changing = FakeProvider::with_json(r#"{"count": 1001, "temp_c": 21.3, "note": "a"}"#);
    let failing = FakeProvider::with_json(r#"{"a": 1, "b": 2, "c": 3}"#);
    let still: Vec<_> = ["calendar", "playlist", "rates", "nested", "quote", "sun"]
        .map(|name| FakeProvider::with_json(&shapes[name].to_string()))
        .into();
    let mut config = format!("[store]\npath = \"\"\n[defaults]\n{TIMING}");
    for (at, provider) in [&changing, &failing].into_iter().chain(&still).enumerate() {
        writeln!(config, "[sources.s{at}]\nurl = \"{}\"", provider.url()).unwrap();
    }
    let app = TestApp::start(&config);
    browser.add_script_to_new_pages(
        "window.shifts = []; new PerformanceObserver((list) => shifts.push(...list.getEntries().map(({ value, sources }) => \
         [value, sources.map(({ node }) => node?.className ?? node?.textContent)]))).observe({ type: 'layout-shift', buffered: true })",
    );
    for (width, height) in [(1280, 720), (390, 844)] {
        browser.set_window_size(width, height);
        failing.set_json(r#"{"a": 1, "b": 2, "c": 3}"#);
        open_panel(&app, &browser, 8);
        // The first health report has arrived.
        browser.wait_for_expression("/next/.test(document.querySelector('.next').textContent)");
        browser.execute_script("shifts.length = 0");
        for count in [1002, 999, 12_345_678, 5, 31_415] {
            let text = "long ".repeat(count % 40);
            changing.set_json(&json!({"count": count, "temp_c": count, "note": text}).to_string());
            if count == 5 {
                failing.set_status("503 Service Unavailable");
                browser.wait_for_expression(
                    "document.getElementById('card-s1').dataset.failing === 'true'",
                );
            }
            browser.wait_for_expression(&format!(
                "document.querySelector('#card-s0 .head').textContent.replaceAll(',', '') === '{count}'"
            ));
        }
        assert_eq!(
            browser.execute_script("return shifts"),
            json!([]),
            "{width}×{height}"
        );
    }
}

#[test]
fn failing_card_counts_what_it_hides() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json(r#"{"armed": true, "siren": false, "low": false}"#);
    let url = provider.url();
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[defaults]\n{TIMING}[sources.a]\nurl = \"{url}\"\n[sources.b]\nurl = \"{url}\"\n"
    ));
    browser.set_window_size(390, 844);
    open_panel(&app, &browser, 2);
    provider.set_status("503 Service Unavailable");
    browser.wait_for_expression("document.getElementById('card-a').dataset.failing === 'true'");
    browser.wait_for_expression("document.querySelector('#card-a .more').checkVisibility()");
    assert_eq!(browser.texts("#card-a .more"), json!(["and 2 more"]));
    assert_eq!(
        browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
        json!([])
    );
}

#[test]
fn many_sources_stay_usable() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json(r#"{"usd": 97123.45, "change_pct": -1.5}"#);
    let table = |n| format!("[sources.s{n}]\nurl = \"{}\"\n", provider.url());
    let sources: String = (0..200).map(table).collect();
    let timing = "interval = \"2s\"\ntimeout = \"1900ms\"\nmax_per_host = 100\n";
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[defaults]\n{timing}{sources}"
    ));
    // Adds the time of each handler of a snapshot.
    browser.add_script_to_new_pages(
        "window.times = []; const add = EventSource.prototype.addEventListener; \
         EventSource.prototype.addEventListener = function (type, handle) { add.call(this, type, (event) => { \
         const start = performance.now(); handle(event); times.push(performance.now() - start) }) }",
    );
    browser.set_window_size(1280, 720);
    open_panel(&app, &browser, 200);
    browser.execute_script("times.length = 0");
    browser.wait_for_expression("times.length >= 40");
    // The lower quartile: what else runs on the machine only adds to a time.
    let quartile = browser.execute_script("return times.sort((a, b) => a - b)[times.length >> 2]");
    println!("script of a refresh of 200 sources: {quartile} ms");
    assert!(quartile.as_f64().unwrap() < 8.0, "{quartile}");
    browser.execute_script(
        "const field = document.getElementById('search'); field.value = 's19'; field.dispatchEvent(new Event('input'))",
    );
    let visible =
        "[...document.querySelectorAll('.card')].filter((card) => card.checkVisibility()).length";
    assert_eq!(browser.execute_script(&format!("return {visible}")), 11);
}

/// A day of refreshes every 15 s is 5760; the test has as many of them as fast as the page takes them.
#[test]
fn memory_is_flat_over_a_day() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let (app, providers) = start_shapes(&["btc", "calendar", "playlist", "nested", "quote"]);
    browser.add_script_to_new_pages(
        "const add = EventSource.prototype.addEventListener; EventSource.prototype.addEventListener = function (type, handle) { \
         add.call(this, type, ({ data }) => { window.last ??= data; window.refresh = handle }) }; \
         window.at = Date.now(); window.refreshTimes = async (count) => { for (let n = 0; n < count; n++) { \
         at += 15000; const digits = String(Math.random()).slice(2, 6); \
         const data = last.replace(/(_at\":\")[^\"]*/g, `$1${new Date(at).toISOString()}`).replaceAll('97123', `9${digits}`); \
         refresh({ data, lastEventId: String(at) }); if (n % 50 === 0) await new Promise(requestAnimationFrame) } }",
    );
    browser.goto(&format!("http://{}/", app.address));
    browser.wait_for_expression("window.refresh !== undefined");
    browser.execute_script("return refreshTimes(760)");
    let shown = "document.querySelectorAll(\".card[data-state='fresh']\").length";
    browser.wait_for_expression(&format!("{shown} > {}", providers.len() / 2));
    let (heap, nodes) = browser.memory_use();
    for _ in 0..10 {
        browser.execute_script("return refreshTimes(500)");
    }
    let (later_heap, later_nodes) = browser.memory_use();
    println!("heap {heap} to {later_heap}, nodes {nodes} to {later_nodes}");
    // Measured texts and points of charts fill up to their limits.
    assert!(
        later_heap - heap < 2e6,
        "bytes of the heap: {heap}, {later_heap}"
    );
    assert!(later_nodes < 1.2 * nodes, "nodes: {nodes}, {later_nodes}");
}

#[test]
fn configured_appearance_is_used() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let disk = FakeProvider::with_json(
        r#"{"fs": [{"mount": "/", "used": 93.26}, {"mount": "/home", "used": 12}], "secret": 1}"#,
    );
    let other = FakeProvider::with_json(r#"{"site": "https://example.com/", "level": 15.26}"#);
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[sources.other]\nurl = \"{}\"\nunit = \"bar\"\ndecimals = 1\n\
         thresholds = {{ warn = 20, crit = 10 }}\n[sources.other.paths]\nsite = {{ as = \"link\", label = \"Home page\" }}\n\
         [sources.disk]\nurl = \"{}\"\ntitle = \"Disk\"\norder = 1\ngroup = \"Home\"\n\
         [sources.disk.paths]\nsecret = {{ hidden = true }}\n\
         \"fs.0.used\" = {{ unit = \"%\", thresholds = {{ warn = 80, crit = 90 }} }}\n",
        other.url(),
        disk.url()
    ));
    let appearances = app.get_json("/panel/appearance.json");
    assert_eq!(
        appearances["sources"]["other"]["thresholds"],
        json!({"warn": 20, "crit": 10})
    );
    open_panel(&app, &browser, 2);
    browser.wait_for_text(".title", "Disk");
    browser.wait_for_expression("document.querySelector('#card-disk').dataset.level === 'crit'");
    browser.wait_for_expression("document.querySelector('#card-other').dataset.level === 'warn'");
    assert_eq!(browser.texts("td.crit"), json!(["▲ 93.26 %"]));
    assert_eq!(
        browser.texts("#card-other dt"),
        json!(["Home page", "level"])
    );
    assert_eq!(browser.texts("#card-other dd.number"), json!(["▲ 15.3bar"]));
    assert_eq!(
        browser.execute_script("return document.querySelector('dd a').href"),
        "https://example.com/"
    );
    assert_eq!(
        browser.texts("#verdict li > span:nth-of-type(1)"),
        json!(["1 critical:", "1 warning:"])
    );
    browser.wait_for_expression("document.querySelector('.card').id === 'card-disk'");
    assert_eq!(
        browser.execute_script("return [...document.querySelectorAll('.heading')].filter((one) => one.checkVisibility()).map((one) => one.textContent)"),
        json!(["Home"])
    );
    let text = browser.execute_script("return document.getElementById('cards').textContent");
    assert!(!text.as_str().unwrap().contains("secret"));
    for theme in ["light", "dark"] {
        browser.emulate_media_feature("prefers-color-scheme", theme);
        assert_eq!(
            browser.execute_script(LOW_CONTRAST_SCRIPT),
            json!([]),
            "{theme}"
        );
    }
}

#[test]
fn media_need_consent() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json(
        r##"{"photo": "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>", "paint": "#ff8800", "bad": "javascript:alert(1)"}"##,
    );
    let url = provider.url();
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[sources.plain]\nurl = \"{url}\"\n[sources.media]\nurl = \"{url}\"\n\
         [sources.media.paths]\nphoto = {{ as = \"image\" }}\npaint = {{ as = \"color\" }}\nbad = {{ as = \"link\" }}\n"
    ));
    open_panel(&app, &browser, 2);
    browser.wait_for_expression("document.querySelectorAll('#card-media dd img').length === 1");
    let painted = "[...document.querySelectorAll('dd .colour')].filter((mark) => mark.style.backgroundColor === 'rgb(255, 136, 0)')";
    assert_eq!(
        browser.execute_script(&format!(
            "return {painted}.map((mark) => mark.closest('.card').id)"
        )),
        json!(["card-media"])
    );
    assert_eq!(
        browser.execute_script("return document.querySelectorAll('dd a, #card-plain img').length"),
        0,
        "no link but to http and https, and nothing without a word of the configuration"
    );
}
