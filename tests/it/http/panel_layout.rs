//! The layout of the panel in a real browser: window sizes, contrast and keyboard. Needs
//! `chromedriver`.

use serde_json::json;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::TestApp;
use crate::support::test_browser::TestBrowser;

/// A service with sources `s0`, `s1`, … that have this JSON, and a source `broken` that fails.
struct PanelFixture {
    app: TestApp,
    _providers: [FakeProvider; 2],
}

impl PanelFixture {
    fn start(count: usize, json: &str) -> Self {
        let good = FakeProvider::with_json(json);
        let failing = FakeProvider::with_status("503 Service Unavailable");
        let url = good.url();
        let table =
            |n| format!("[sources.s{n}]\nurl = \"{url}\"\nattribution = \"thanks to {n}\"\n");
        let sources: String = (0..count).map(table).collect();
        let app = TestApp::start(&format!(
            "[store]\npath = \"\"\n{sources}[sources.broken]\nurl = \"{}\"\n",
            failing.url()
        ));
        Self {
            app,
            _providers: [good, failing],
        }
    }
}

fn open_panel(app: &TestApp, browser: &TestBrowser, cards: usize) {
    browser.goto(&format!("http://{}/", app.address));
    let shown = "document.querySelectorAll(\".card:is([data-state='fresh'], [data-state='missing'])\").length";
    browser.wait_for_expression(&format!("{shown} === {cards}"));
    // The page computes this text once a second.
    browser.wait_for_expression("document.querySelector('.next').textContent !== ''");
}

/// The elements outside of the window, the numbers, instants and states that are cut off or in two lines, and the texts
/// whose last line is cut in its height.
pub const OVERFLOWING_ELEMENTS_SCRIPT: &str = "return [...document.querySelectorAll('body *:not(#verdict *, td *)')].filter((one) => {
    const { left, right, width, height } = one.getBoundingClientRect();
    const isValue = one.matches('dd:is(.number, .time, .duration, .switch)') || (one.matches('.part') && /^(· )?[\\d.,]+$/.test(one.textContent));
    const isSliced = one.matches('.message, dd.text') && one.getBoundingClientRect().bottom > one.parentElement.getBoundingClientRect().bottom + 1;
    const cut = isValue && (one.scrollWidth > one.clientWidth + 1 || height > 1.5 * parseFloat(getComputedStyle(one).lineHeight));
    return one.id !== 'news' && width > 0 && (left < -1 || right > innerWidth + 1 || cut || isSliced);
}).map((one) => one.className + ' ' + one.textContent)";

#[test]
fn cards_fit_the_window() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    for (count, width, height) in [
        (1, 1920, 1080),
        (5, 1366, 768),
        (5, 1920, 1080),
        (12, 1920, 1080),
        (40, 3840, 2160),
    ] {
        let fixture = PanelFixture::start(count - 1, r#"{"usd": 97123.45}"#);
        browser.set_window_size(width, height);
        open_panel(&fixture.app, &browser, count);
        let page = browser.execute_script("return document.documentElement.scrollHeight");
        assert!(
            page.as_u64().unwrap() <= height.into(),
            "{count} cards at {width}×{height}: {page}"
        );
        assert_eq!(
            browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
            json!([]),
            "{count} cards at {width}×{height}"
        );
        let heights = "return [...new Set([...document.querySelectorAll('.card')].map((c) => Math.round(c.offsetHeight / 4)))]";
        assert_eq!(
            browser.execute_script(heights).as_array().unwrap().len(),
            1,
            "rows are equal"
        );
    }
}

#[test]
fn phone_shows_failures_first() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let fixture = PanelFixture::start(
        12,
        r#"{"a": {"long name of a value_usd": 12345678.901234}, "b": "https://example.com/a/b"}"#,
    );
    browser.set_window_size(390, 844);
    open_panel(&fixture.app, &browser, 13);
    assert_eq!(
        browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
        json!([])
    );
    let verdict = "document.getElementById('verdict')";
    browser.wait_for_expression(&format!(
        "/^1 missing:brokenhttp_status since \\d\\d:\\d\\d$/.test({verdict}.textContent)"
    ));
    assert_eq!(
        browser.execute_script(&format!(
            "return {verdict}.getBoundingClientRect().bottom < 200"
        )),
        true
    );
    browser.click("#verdict a");
    let seen =
        "(() => { const card = document.getElementById('card-broken').getBoundingClientRect();
        return card.top >= 0 && card.bottom <= innerHeight })()";
    browser.wait_for_expression(seen);
}

#[test]
fn lost_connection_moves_no_card() {
    let Some(browser) = TestBrowser::open("es-AR") else {
        return;
    };
    for (width, height) in [(1280, 720), (390, 844)] {
        let fixture = PanelFixture::start(12, r#"{"usd": 97123.45}"#);
        browser.set_window_size(width, height);
        open_panel(&fixture.app, &browser, 13);
        let places = "return [...document.querySelectorAll('.card')].map((one) => Math.round(one.getBoundingClientRect().top))";
        let before = browser.execute_script(places);
        drop(fixture);
        browser.wait_for_expression("document.body.dataset.link === 'lost'");
        assert_eq!(browser.execute_script(places), before, "{width}×{height}");
        assert_eq!(
            browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
            json!([])
        );
    }
}

#[test]
fn long_key_stays_in_its_row() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let key = "key ".repeat(80);
    let fixture = PanelFixture::start(
        11,
        &json!({key.as_str(): 1, "another": 2, "k".repeat(300): 3}).to_string(),
    );
    browser.set_window_size(1920, 1080);
    open_panel(&fixture.app, &browser, 12);
    let overlapping_script = "return [...document.querySelectorAll('.card')].flatMap((card) => {
        const labels = [...card.querySelectorAll('dt')].map((label) => label.getBoundingClientRect());
        return labels.slice(1).filter((label, at) => label.top < labels[at].bottom).map(() => card.id) })";
    assert_eq!(browser.execute_script(overlapping_script), json!([]));
    assert_eq!(
        browser.execute_script(OVERFLOWING_ELEMENTS_SCRIPT),
        json!([])
    );
    assert_eq!(
        browser.execute_script("return document.querySelector('dt').title"),
        json!(key.trim_end()),
        "the title has the whole text"
    );
}

/// The texts whose contrast to their background is below 4.5 to 1 (WCAG 2.2 AA).
pub const LOW_CONTRAST_SCRIPT: &str = "
    const parts = (colour) => {
        const numbers = colour.match(/[\\d.]+/g).map(Number);
        return colour.startsWith('color(') ? [...numbers.slice(0, 3).map((n) => n * 255), numbers[3] ?? 1] : numbers;
    };
    const light = (colour) => parts(colour).slice(0, 3).map((n) => n / 255)
        .map((n) => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)
        .reduce((sum, n, at) => sum + n * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (one) => {
        const colour = getComputedStyle(one).backgroundColor;
        return (parts(colour)[3] ?? 1) > 0 || !one.parentElement ? colour : behind(one.parentElement);
    };
    const contrast = (one) => {
        const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
        return (a + 0.05) / (b + 0.05);
    };
    const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const texts = [...document.querySelectorAll('body *')].filter((one) => own(one) && one.checkVisibility());
    if (texts.length < 20) return ['there are only ' + texts.length];
    return texts.filter((one) => contrast(one) < 4.5).map((one) => [one.className, contrast(one)])";

#[test]
fn text_contrast_meets_wcag() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let fixture = PanelFixture::start(3, r#"{"usd": 97123.4567, "nothing": null}"#);
    open_panel(&fixture.app, &browser, 4);
    let mut backgrounds = Vec::new();
    let mut check_contrast = |theme: &str| {
        browser.emulate_media_feature("prefers-color-scheme", theme);
        assert_eq!(
            browser.execute_script(LOW_CONTRAST_SCRIPT),
            json!([]),
            "{theme}"
        );
        backgrounds
            .push(browser.execute_script("return getComputedStyle(document.body).backgroundColor"));
    };
    check_contrast("light");
    check_contrast("dark");
    drop(fixture);
    browser.wait_for_expression("document.body.dataset.link === 'lost'");
    check_contrast("light");
    check_contrast("dark");
    assert_ne!(backgrounds[0], backgrounds[1]);
}

#[test]
fn panel_is_keyboard_accessible() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let fixture = PanelFixture::start(1, "1");
    open_panel(&fixture.app, &browser, 2);
    let focused = "const one = document.activeElement; const style = getComputedStyle(one);
        return [one.tagName, one.textContent.slice(0, 7), style.outlineStyle, parseFloat(style.outlineWidth) >= 2]";
    for expected in [
        json!(["A", "broken", "solid", true]),
        json!(["BUTTON", "Ask now", "solid", true]),
        json!(["A", "s0", "solid", true]),
        json!(["A", "broken", "solid", true]),
    ] {
        browser.press_tab_key();
        assert_eq!(browser.execute_script(focused), expected);
    }
    let landmarks_script = "return [...document.querySelectorAll('body > :is(header, main), h1, main h2')].map((one) => one.tagName)";
    assert_eq!(
        browser.execute_script(landmarks_script),
        json!(["HEADER", "H1", "MAIN", "H2", "H2"])
    );
    let names_script = "return [...document.querySelectorAll('article')].map((one) => \
        document.getElementById(one.getAttribute('aria-labelledby')).textContent)";
    assert_eq!(
        browser.execute_script(names_script),
        json!(["s0", "broken"])
    );
    let live_script = "return [...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map((one) => one.id)";
    assert_eq!(
        browser.execute_script(live_script),
        json!(["news"]),
        "only one element is announced"
    );
}

#[test]
fn reduced_motion_is_respected() {
    let Some(browser) = TestBrowser::open("en-US") else {
        return;
    };
    let provider = FakeProvider::with_json("1");
    let app = TestApp::start(&format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\nmin_interval = \"1ms\"\n",
        provider.url()
    ));
    open_panel(&app, &browser, 1);
    let duration_script = "return parseFloat(getComputedStyle(document.querySelector('.card'), '::before').transitionDuration)";
    for (preference, seconds) in [("no-preference", 4), ("reduce", 0)] {
        browser.emulate_media_feature("prefers-reduced-motion", preference);
        browser.execute_script("document.querySelector('.card').dataset.round = 'asking'");
        assert_eq!(
            browser.execute_script(duration_script),
            json!(seconds),
            "{preference}"
        );
    }
}
