//! How the panel's modules write numbers, instants and units. Needs `chromedriver`.

use serde_json::{Value, json};

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};
use crate::support::test_browser::TestBrowser;

/// A browser on the panel of a service, whose modules a script can import.
fn open_modules(language: &str) -> Option<(TestBrowser, TestApp, FakeProvider)> {
    let browser = TestBrowser::open(language)?;
    let provider = FakeProvider::with_json("1");
    let app = TestApp::start(&source_tables(&[("a", provider.url())]));
    browser.goto(&format!("http://{}/", app.address));
    Some((browser, app, provider))
}

/// What `expression` gives, where `m` is the module with this name.
fn evaluate(browser: &TestBrowser, module: &str, expression: &str) -> Value {
    browser.execute_script(&format!(
        "const address = document.querySelector('script[src]').src.replace('panel.js', '{module}');
        return import(address).then((m) => {expression})"
    ))
}

#[test]
fn numbers_keep_significant_digits() {
    for (language, cases) in [
        (
            "en-US",
            [
                ("0.00000812", "0.00000812"),
                ("0.000000000012345", "1.2345e−11"),
                ("97123.45", "97,123.45"),
                ("48.123456", "48.1235"),
                ("999999.995", "1,000,000.00"),
                ("1e300", "1e300"),
                ("1e400", "1e400"),
                ("1.23456789e28", "1.2346e28"),
                ("-1.5e3", "−1500"),
                ("12345678901234567890", "12,345,678,901,234,567,890"),
                ("231.40", "231.40"),
                ("0.0", "0.0"),
                ("-0.000042", "−0.000042"),
            ],
        ),
        (
            "es-AR",
            [
                ("0.00000812", "0,00000812"),
                ("0.000000000012345", "1,2345e−11"),
                ("97123.45", "97.123,45"),
                ("48.123456", "48,1235"),
                ("999999.995", "1.000.000,00"),
                ("1e300", "1e300"),
                ("1e400", "1e400"),
                ("1.23456789e28", "1,2346e28"),
                ("-1.5e3", "−1500"),
                ("12345678901234567890", "12.345.678.901.234.567.890"),
                ("231.40", "231,40"),
                ("0.0", "0,0"),
                ("-0.000042", "−0,000042"),
            ],
        ),
    ] {
        let Some((browser, ..)) = open_modules(language) else {
            return;
        };
        let (texts, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let expression = format!(
            "{}.map((text) => m.numberForms(text, m.signsOf('{language}'))[0])",
            json!(texts)
        );
        assert_eq!(
            evaluate(&browser, "numbers.js", &expression),
            json!(expected)
        );
    }
}

#[test]
fn shorter_forms_are_never_zero() {
    let Some((browser, ..)) = open_modules("en-US") else {
        return;
    };
    let zeros = evaluate(
        &browser,
        "numbers.js",
        "['0.00000812', '0.4', '0.05', '1e-9', '0.96', '-0.0000004', '1.04', '123456.789'].flatMap((text) =>
            m.numberForms(text, m.signsOf('en')).filter((form) => {
                const shown = Number(form.replaceAll(',', '').replaceAll('−', '-'));
                return !(Math.abs(shown / Number(text) - 1) < 0.06);
            }))",
    );
    assert_eq!(zeros, json!([]));
    let decimals = "['81.26', '99.96', '3', '0.06', '1e3'].map((text) => m.numberForms(text, m.signsOf('en'), { decimals: 1 })[0])";
    assert_eq!(
        evaluate(&browser, "numbers.js", decimals),
        json!(["81.3", "100.0", "3.0", "0.1", "1000.0"])
    );
}

#[test]
fn text_loses_only_last_zeros() {
    let Some((browser, ..)) = open_modules("en-US") else {
        return;
    };
    let forms = "['97123.45000000', '3.000', '1.100', '1.10.0', '5000', 'v1.000'].map((text) => m.shape(text, ['p'], { appearance: { paths: {} }, now: 0 }).forms)";
    assert_eq!(
        evaluate(&browser, "values.js", forms),
        json!([
            ["97123.45000000", "97123.45"],
            ["3.000", "3"],
            ["1.100"],
            ["1.10.0"],
            ["5000"],
            ["v1.000"]
        ])
    );
}

#[test]
fn units_need_a_clear_key() {
    let Some((browser, ..)) = open_modules("en-US") else {
        return;
    };
    let unit = |path: &[&str]| {
        let expression = format!("m.unitOf({}, false)?.unit ?? null", json!(path));
        evaluate(&browser, "keys.js", &expression)
    };
    for path in [
        &["voltage_phase_c"][..],
        &["power_phase_c"],
        &["current_phase_a"],
        &["temp_phase_c"],
        &["main_db"],
        &["apples_s"],
        &["usd"],
        &["c"],
    ] {
        assert_eq!(unit(path), Value::Null, "{path:?}");
    }
    for (path, expected) in [
        (&["temperatura_c"][..], "°C"),
        (&["temperature", "max_f"], "°F"),
        (&["feels_like_c"], "°C"),
        (&["humedad_pct"], "%"),
        (&["viento_km_h"], "km/h"),
        (&["price_usd"], "USD"),
        (&["voltage_v"], "V"),
        (&["uptime_s"], "s"),
        (&["rssi_dbm"], "dBm"),
    ] {
        assert_eq!(unit(path), expected, "{path:?}");
    }
}

#[test]
fn instants_are_relative() {
    for (language, expected) in [
        (
            "en-US",
            json!(["in 5 min", "20 min ago", "now", "yesterday", "tomorrow"]),
        ),
        (
            "es-AR",
            json!(["en 5 min", "hace 20 min", "ahora", "ayer", "mañana"]),
        ),
    ] {
        let Some((browser, ..)) = open_modules(language) else {
            return;
        };
        let expression = "(() => {
            const now = new Date(2026, 10, 28, 12).getTime();
            const say = (minutes) => m.sayInstant(now + minutes * 60e3, now);
            return [say(5), say(-20), say(0), say(-24 * 60).split(' ')[0], say(24 * 60).split(' ')[0]] })()";
        assert_eq!(evaluate(&browser, "times.js", expression), expected);
        let forms = "(() => { const now = new Date(2026, 10, 28, 12).getTime(); return [5, 24].map((hours) => m.instantForms(now + hours * 3600e3, now).length) })()";
        assert_eq!(evaluate(&browser, "times.js", forms), json!([2, 1]));
        let durations = "[1234567e3, 215e3, 60e3, 2500, 84.2].map((ms) => m.sayDuration(ms))";
        assert_eq!(
            evaluate(&browser, "times.js", durations),
            json!(["14 d 6 h", "3 min 35 s", "1 min", "2.5 s", "84.2 ms"])
        );
        let instants = "['2026-11-28T12:00:00Z', 'Sat, 28 Nov 2026 12:00:00 GMT', '2026-11-28', '2026-11-28T12:00', 'x'].map(m.instantOf)";
        assert_eq!(
            evaluate(&browser, "times.js", instants),
            json!([
                1_795_867_200_000_i64,
                1_795_867_200_000_i64,
                null,
                null,
                null
            ])
        );
        let epochs = "[['time', 1795867200], ['created_at', 1795867200000], ['created_ms', 1795867200000], ['created_utc', 1795867200], ['id', 1700000000], ['s', 1700000000], ['response_time', 84], ['price', 1795867200], ['uptime', 1795867200]].map(([key, n]) => m.epochOf(key, n))";
        assert_eq!(
            evaluate(&browser, "keys.js", epochs),
            json!([
                1_795_867_200_000_i64,
                1_795_867_200_000_i64,
                1_795_867_200_000_i64,
                1_795_867_200_000_i64,
                null,
                null,
                null,
                null,
                null
            ])
        );
    }
}

#[test]
fn instants_of_a_list_follow_the_time() {
    let Some((browser, _app, _provider)) = open_modules("en-US") else {
        return;
    };
    assert_eq!(
        evaluate(
            &browser,
            "values.js",
            "m.blocksOf(['1970-01-01T00:00:01Z', 'a'], 0).blocks[0].parts"
        ),
        json!([{ "at": 1000 }, "a"])
    );
    let shown = "(() => {
        const row = new m.Row();
        const at = Date.now();
        const block = { kind: 'list', label: '', unit: '', forms: [''], parts: ['Bus', { at }], count: 2 };
        row.show(block, { room: 20, now: at - 600e3, size: 1 });
        const first = row.head.textContent;
        row.tick(at - 300e3);
        return [first, row.head.textContent];
    })()";
    assert_eq!(
        evaluate(&browser, "block.js", shown),
        json!(["Bus · in 10 min", "Bus · in 5 min"])
    );
}

#[test]
fn heights_and_periods_are_set_apart() {
    let Some((browser, _app, _provider)) = open_modules("en-US") else {
        return;
    };
    let labels = "['temperature_2m', 'load_5m', 'voltage_phase_c', 'sha256', '2m'].map(m.spaced)";
    assert_eq!(
        evaluate(&browser, "keys.js", labels),
        json!([
            "temperature (2m)",
            "load (5m)",
            "voltage phase c",
            "sha256",
            "2m"
        ])
    );
}
