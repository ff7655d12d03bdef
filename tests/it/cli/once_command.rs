//! The commands `once` and `check --live`: output and exit codes.

use serde_json::Value;

use crate::support::service_process::SimulatorFixture;

#[test]
fn once_prints_service_response() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[("btc", "/btc"), ("usd", "/usd?delay=20ms")]);
    let output = fixture.run_once(&[]);
    assert_eq!(
        (output.exit_code, output.stderr.as_str()),
        (Some(0), ""),
        "{}",
        output.stdout
    );
    let response: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (&response["origen"], &response["complete"]),
        (&"live".into(), &true.into())
    );
    assert_eq!(response["resultados"]["btc"]["from"], "live");
    assert_eq!(
        response["resultados"]["btc"]["data"]["data"]["currency"],
        "USD"
    );
}

#[test]
fn once_prints_failures_and_exits_1() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[
        ("btc", "/btc"),
        ("clima", "/clima?status=503"),
        ("usd", "/usd?delay=1h"),
    ]);
    let output = fixture.run_once(&["--timeout", "1.5", "--format", "table"]);
    assert_eq!(
        (output.exit_code, output.stderr.as_str()),
        (Some(1), ""),
        "{}",
        output.stdout
    );
    insta::assert_snapshot!(without_digits(&output.stdout), @r#"
    SOURCE STATE AGE MS PROVIDER DATA
    btc fresh N.N s N N-N-N-N data {"amount":"N.N","base":"BTC","currency":"USD"}
    clima missing N
     http_status: HTTP N Service Unavailable: "this status was requested"
    usd missing
     timeout: no answer within this request's N.N s; the attempt goes on

    N of N ok, live at N-N-NTN:N:N.NZ
    failing: clima (http_status), usd (timeout)
    "#);
}

#[test]
fn once_orders_and_groups_sources() {
    let fixture = SimulatorFixture::new();
    let url = &fixture.simulator_url;
    let source = |name: &str, words: &str| {
        format!("[sources.{name}]\nurl = \"{url}/btc\"\nextract = \"1\"\n{words}\n")
    };
    let config = [
        source("a", ""),
        source("b", "group = \"Home\""),
        source("c", "order = 1"),
        source("d", "group = \"Home\"\norder = 2"),
    ];
    fixture.folder.write_config(&config.concat());
    let table = fixture.run_once(&["--format", "table"]).stdout;
    let firsts = table.lines().take(7).map(|line| line.split(' ').next());
    let firsts: Vec<_> = firsts.flatten().collect();
    assert_eq!(
        firsts,
        ["SOURCE", "c", "a", "Home", "d", "b", ""],
        "{table}"
    );
}

#[test]
fn once_prints_failing_provider() {
    let fixture = SimulatorFixture::new();
    let head = "[store]\npath = \"state.json\"\n[defaults]\ninterval = \"1h\"\n[sources.clima]\n";
    let url = &fixture.simulator_url;
    let provider_table = |name: &str, target: &str| {
        format!("[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{url}{target}\"\n")
    };
    let bad = provider_table("preferred", "/usd?status=503");
    let good = provider_table("other", "/usd");
    let config = format!("{head}url = \"{url}/clima?status=404\"\n{bad}{good}");
    fixture.folder.write_config(&config);
    let line_with = |text: &str| {
        let table = fixture.run_once(&["--format", "table"]).stdout;
        let line = table.lines().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("{table}")).trim().to_owned()
    };
    let unknown = [line_with("HTTP 404"), line_with("preferred")];
    assert!(
        unknown[0].starts_with("http_status: HTTP 404"),
        "the attempt of this command is not the start of the failure: {unknown:?}"
    );
    assert!(
        unknown[1].starts_with("provider preferred: http_status: HTTP 503"),
        "{unknown:?}"
    );
    let service = fixture.serve();
    let clima = service.results("/resumen")["clima"].take();
    let failing_since = clima["failing_since"].as_str().unwrap()[11..19].to_owned();
    service.stop();
    assert_eq!(
        line_with("HTTP 404").split(": HTTP").next().unwrap(),
        format!("http_status since {failing_since}Z")
    );
    assert!(line_with("preferred").starts_with("provider preferred: http_status since "));
}

/// The text with `N` for each number and one space between columns.
fn without_digits(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { 'N' } else { c };
        if !(out.ends_with(c) && matches!(c, 'N' | ' ')) {
            out.push(c);
        }
    }
    out
}

#[test]
fn check_live_prints_body_and_data() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[
        (
            "btc",
            "/btc\"\nextract = '{usd: (.data.amount | tonumber)}'\n#",
        ),
        ("usd", "/usd?status=503"),
    ]);
    let check = |format| fixture.folder.run("check", &["--live", "--format", format]);
    let output = check("json");
    assert_eq!(output.exit_code, Some(1), "{}", output.stderr);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let (btc, usd) = (&report["live"][0], &report["live"][1]);
    assert!(
        btc["raw"]
            .as_str()
            .unwrap()
            .contains("\"currency\":\"USD\""),
        "{btc:#}"
    );
    assert!(
        btc["data"]["usd"].is_number() && btc["ok"] == true,
        "{btc:#}"
    );
    assert_eq!(
        (&usd["ok"], &usd["code"]),
        (&false.into(), &"http_status".into())
    );
    let text = check("text").stdout;
    assert!(
        text.contains("  extracted  {\"usd\":")
            && text.contains("  failed     http_status: HTTP 503"),
        "{text}"
    );
}
