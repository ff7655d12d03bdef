//! The panel as a person sees it, in a real browser against the whole service.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::served::Served;
use crate::support::stub::Stub;

/// One source `a` at `stub`, asked every second, stale after two.
fn every_second(stub: &Stub) -> String {
    let timing = "interval = \"1s\"\ntimeout = \"500ms\"\nttl = \"2s\"\nmin_interval = \"100ms\"";
    format!(
        "[store]\npath = \"\"\n[sources.a]\nurl = \"{}\"\n{timing}\n",
        stub.url()
    )
}

/// A source at `stub` that is only asked by live rounds once the first one is over.
fn on_demand(name: &str, stub: &Stub) -> String {
    format!(
        "[sources.{name}]\nurl = \"{}\"\ninterval = \"1h\"\nmin_interval = \"1ms\"\n",
        stub.url()
    )
}

fn page(served: &Served) -> String {
    format!("http://{}/", served.address)
}

/// The picture in the tab.
const ICON: &str = "return document.querySelector('link[rel=icon]').href";

/// The texts of the elements that this selector finds.
fn texts(selector: &str) -> String {
    format!("[...document.querySelectorAll('{selector}')].map((found) => found.textContent)")
}

fn shown(selector: &str, text: &str) -> String {
    format!("{}.includes('{text}')", texts(selector))
}

#[test]
fn values_appear_with_every_digit_and_change_by_themselves() {
    let Some(browser) = Browser::open("en-US") else {
        return;
    };
    let stub =
        Stub::json(r#"{"z": 12345678901234567890, "2": 0.1000, "temp_c": -1.5, "none": null}"#);
    let served = Served::start(&every_second(&stub));
    browser.goto(&page(&served));
    browser.until(&shown(".head", "12,345,678,901,234,567,890"));
    assert_eq!(
        browser
            .run(&format!("return {}", texts(".row .head")))
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        browser.run(&format!("return {}", texts("dt"))),
        json!(["z", "2", "temp", "none"]),
        "their order"
    );
    assert_eq!(
        browser.run(&format!("return {}", texts(".row:nth-child(3) .unit"))),
        json!(["°C"])
    );
    stub.says(r#"{"z": 1e400, "2": 0.25}"#);
    browser.until(&shown(".head", "1e400"));
    assert_eq!(
        browser.run(&format!("return {}", texts("dt"))),
        json!(["z", "2"])
    );
    browser.until("document.querySelector('.row:nth-child(2) .spark:not(.bare)') !== null");
    assert_eq!(browser.run("return document.title"), "resumen");
}

#[test]
fn changes_are_pushed_and_nothing_is_asked_for_meanwhile() {
    let Some(browser) = Browser::open("en-US") else {
        return;
    };
    let stub = Stub::json("1001");
    let served = Served::start(&format!("[store]\npath = \"\"\n{}", on_demand("a", &stub)));
    browser.goto(&page(&served));
    browser.until("document.body.dataset.link === 'stream'");
    browser.until(&shown(".head", "1001"));
    assert_eq!(
        browser.run(&format!("return {}", texts("#link"))),
        json!(["live"])
    );
    // On a slow machine it may have asked once while it waited for the first event.
    let asked = "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/resumen')).length";
    let before = browser.run(asked);
    stub.says("2002");
    served.json("/resumen?fresh=1");
    browser.until(&shown(".head", "2002"));
    assert_eq!(
        browser.run(asked),
        before,
        "a page whose stream is open does not poll"
    );
    assert_eq!(browser.run("return document.body.dataset.link"), "stream");
}

#[test]
fn hostile_texts_stay_texts() {
    let Some(browser) = Browser::open("en-US") else {
        return;
    };
    let markup =
        "<img src=x onerror=pwned=1><script>pwned=1</script><a href=javascript:pwned=1>x</a>";
    let stub =
        Stub::json(&json!({"text": markup, markup: 1, "__proto__": {"pwned": 1}}).to_string());
    let credit = format!("attribution = '{markup}'\n");
    let served = Served::start(&(every_second(&stub) + &credit));
    browser.goto(&page(&served));
    browser.until(&shown(".head", markup));
    for place in ["dt", ".credit"] {
        assert_eq!(
            browser.run(&format!("return {}", shown(place, markup))),
            true,
            "{place}"
        );
    }
    stub.change(|answer| {
        (answer.status, answer.body) = ("500 <b>", format!("{{\"title\": {}}}", json!(markup)))
    });
    stub.change(|answer| answer.headers = "content-type: application/problem+json\r\n".into());
    browser.until("document.querySelector('.trouble .message').textContent.startsWith('HTTP 500')");
    assert_eq!(
        browser.run("return document.querySelectorAll('main :is(img, script, a, b)').length"),
        0
    );
    assert_eq!(browser.run("return typeof pwned"), "undefined");
}

#[test]
fn what_is_stale_and_failing_is_told_by_words_and_forgotten_when_it_is_over() {
    let Some(browser) = Browser::open("es-AR") else {
        return;
    };
    let stub = Stub::json(r#"{"usd": 97123.45}"#);
    let served = Served::start(&every_second(&stub));
    browser.goto(&page(&served));
    browser.until(&shown("#verdict", "Todo al día"));
    assert_eq!(browser.run("return document.documentElement.lang"), "es-AR");
    assert_eq!(
        browser.run(&format!("return {}", texts(".head"))),
        json!(["97.123,45"])
    );
    stub.change(|answer| answer.status = "503 Service Unavailable");
    browser.until(&shown(".badge", "falla"));
    browser.until("document.querySelector('.card').dataset.state === 'stale'");
    assert_eq!(
        browser.run(&format!("return {}", texts(".badge"))),
        json!(["falla", "viejo"])
    );
    assert_eq!(
        browser.run(&format!("return {}", texts(".code"))),
        json!(["http_status"])
    );
    assert_eq!(
        browser.run(&format!("return {}", texts(".head"))),
        json!(["97.123,45"]),
        "last-good data stays"
    );
    browser.until(
        "/^desde \\d\\d:\\d\\d · \\d+ s$/.test(document.querySelector('.since').textContent)",
    );
    browser.until("document.title === 'a: viejo — resumen'");
    browser.until("/^1 viejo:ahttp_status desde \\d\\d:\\d\\d$/.test(document.getElementById('verdict').textContent)");
    assert!(
        browser.run(ICON).as_str().unwrap().contains("%23d98e04"),
        "the icon of the tab tells it too"
    );
    browser.until("/a quedó viejo/.test(document.getElementById('news').textContent)");
    stub.says(r#"{"usd": 97124}"#);
    browser.until("document.title === 'resumen'");
    assert_eq!(
        browser.run(&format!("return {}", texts(".badge"))),
        json!(["al día"])
    );
    assert_eq!(
        browser.run("return document.querySelector('.trouble').checkVisibility()"),
        false
    );
    assert!(browser.run(ICON).as_str().unwrap().contains("%232f9e63"));
}

#[test]
fn a_server_that_goes_away_is_told_and_found_again() {
    let Some(browser) = Browser::open("en-US") else {
        return;
    };
    let stub = Stub::json("1001");
    let served = Served::start(&every_second(&stub));
    let address = served.address;
    browser.goto(&page(&served));
    browser.until(&shown(".head", "1001"));
    drop(served);
    browser.until("document.body.dataset.link === 'lost'");
    browser.until("document.title === 'Connection lost — resumen'");
    browser.until("document.querySelector('#verdict').textContent.startsWith('As it stood at ')");
    assert_eq!(
        browser.run(&format!("return {}", texts(".head"))),
        json!(["1001"]),
        "what was known stays"
    );
    stub.says("2002");
    let _again = Served::at(address, &every_second(&stub));
    browser.until(&shown(".head", "2002"));
    browser.until("document.body.dataset.link !== 'lost' && document.title === 'resumen'");
    browser.until("document.body.dataset.link === 'stream'");
    browser.until("/Connection regained/.test(document.getElementById('news').textContent)");
}

#[test]
fn a_live_round_shows_each_arrival_and_lines_survive_a_reload() {
    let Some(browser) = Browser::open("en-US") else {
        return;
    };
    let (quick, slow) = (Stub::json("1"), Stub::json("10"));
    let served = Served::start(&format!(
        "[store]\npath = \"\"\n{}{}",
        on_demand("a", &quick),
        on_demand("b", &slow)
    ));
    browser.goto(&page(&served));
    browser.until(&shown(".head", "10"));
    quick.says("2");
    slow.change(|answer| (answer.body, answer.delay) = ("20".into(), Duration::from_secs(1)));
    let rounds = "[...document.querySelectorAll('.card')].map((card) => card.dataset.round).join()";
    browser.click("#ask");
    browser.until(&format!("{rounds} === 'live,asking'"));
    browser.until(&format!("{rounds} === 'live,live'"));
    assert_eq!(
        browser.run(&format!("return {}", texts(".head"))),
        json!(["2", "20"])
    );
    assert_eq!((quick.calls(), slow.calls()), (2, 2));
    browser.until("/^2 of 2 arrived$/.test(document.getElementById('news').textContent)");
    browser.until("document.getElementById('ask').getAttribute('aria-disabled') === null");
    browser.goto(&page(&served));
    browser.until("document.querySelectorAll('.spark:not(.bare)').length === 2");
    let label = "document.querySelector('.spark').getAttribute('aria-label')";
    assert_eq!(browser.until(label), "between 1 and 2");
}

#[test]
fn ages_follow_the_servers_clock() {
    let stub = Stub::json("1");
    let served = Served::start(&format!("[store]\npath = \"\"\n{}", on_demand("a", &stub)));
    for off in ["3600e3", "-3600e3"] {
        let Some(browser) = Browser::open("en-US") else {
            return;
        };
        browser.before_pages(&format!(
            "const now = Date.now; Date.now = () => now() + {off}"
        ));
        browser.goto(&page(&served));
        let age = browser.until("document.querySelector('.age')?.textContent");
        let age: f64 = age
            .as_str()
            .unwrap()
            .strip_suffix(" s ago")
            .unwrap()
            .parse()
            .unwrap();
        let truth = served.json("/resumen")["resultados"]["a"]["age_ms"]
            .as_f64()
            .unwrap()
            / 1000.0;
        assert!(
            (truth - 2.0..=truth).contains(&age),
            "{off}: {age} of {truth}"
        );
        let ticked = format!("parseInt(document.querySelector('.age').textContent) > {age}");
        browser.until(&ticked);
    }
}

#[test]
fn the_page_is_kept_by_its_hash_and_runs_nothing_but_its_own() {
    let stub = Stub::json("1");
    let served = Served::start(&every_second(&stub));
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
        served.ask(&format!("GET / HTTP/1.1\r\n{head}\r\n")).status,
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
fn a_provider_that_another_one_hides_is_told_once_it_has_failed_for_a_while() {
    let Some(browser) = Browser::open("en-US") else {
        return;
    };
    let (bad, good) = (Stub::json("0"), Stub::json("1"));
    bad.change(|answer| answer.status = "503 Service Unavailable");
    let provider = |name, stub: &Stub| {
        format!(
            "[[sources.a.providers]]\nname = \"{name}\"\nurl = \"{}\"\n",
            stub.url()
        )
    };
    let pace = "[defaults]\ninterval = \"1s\"\ntimeout = \"500ms\"\nmin_interval = \"100ms\"\n";
    let served = Served::start(&format!(
        "[store]\npath = \"\"\n{pace}{}{}",
        provider("preferred", &bad),
        provider("other", &good)
    ));
    // The report of a minute later, but for the first failure's instant.
    browser.before_pages(
        "const before = fetch; fetch = async (...asked) => { const answer = await before(...asked); \
         if (!String(asked[0]).includes('fuentes')) return answer; const report = await answer.json(); \
         report.time = new Date(Date.parse(report.time) + 60e3).toISOString(); return Response.json(report) }",
    );
    browser.goto(&page(&served));
    browser.until("/^1 on a fallback:apreferred http_status since \\d\\d:\\d\\d$/.test(document.getElementById('verdict').textContent)");
    assert_eq!(
        browser.run(&format!("return {}", texts(".code"))),
        json!(["preferred: http_status"])
    );
    assert_eq!(
        browser.run(&format!("return {}", texts(".message"))),
        json!(["HTTP 503 Service Unavailable"])
    );
    assert_eq!(
        browser.run(&format!("return {}", texts(".badge"))),
        json!(["fresh"]),
        "the value is as good as any"
    );
    bad.says("2");
    browser.until(&shown("#verdict", "All fresh"));
    assert_eq!(
        browser.run("return document.querySelector('.trouble').checkVisibility()"),
        false
    );
}
