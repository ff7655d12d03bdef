//! Tests of the query parser.

use std::sync::Arc;

use crate::domain::{FreshnessPolicy, Source, SourceKind};

use super::*;

fn source_set() -> SourceSet {
    let source = |name| {
        let kind = SourceKind::Derived {
            inputs: Vec::new(),
            extract: ".".into(),
        };
        Arc::new(Source {
            name: Name::new(name).unwrap(),
            kind,
            freshness_policy: FreshnessPolicy {
                ttl: Duration::ZERO,
                max_stale: Duration::ZERO,
            },
            attribution: None,
            appearance: Arc::default(),
            metrics: Arc::default(),
        })
    };
    SourceSet::new(["btc", "clima", "usd"].map(source).into())
}

fn parse_for(
    parameters: &'static [&'static str],
    raw: &str,
) -> Result<SummaryQuery, ProblemDetails> {
    SummaryQuery::parse(raw, parameters, &source_set(), Duration::from_secs(30))
}

fn parse(raw: &str) -> Result<SummaryQuery, ProblemDetails> {
    parse_for(SUMMARY_PARAMETERS, raw)
}

#[track_caller]
fn rejected_kind(raw: &str) -> ProblemKind {
    match parse(raw) {
        Err(problem) => problem.kind(),
        Ok(query) => panic!("{raw:?} is parsed as {query:?}"),
    }
}

#[test]
fn empty_query_reads_snapshot() {
    for raw in [
        "",
        "&",
        "&&&",
        "_=1",
        "_x=%zz&_x",
        "%5Fbust=1",
        "fresh=0",
        "fresh=false",
    ] {
        assert_eq!(parse(raw), Ok(SummaryQuery::default()), "{raw:?}");
    }
}

#[test]
fn valid_values_are_parsed() {
    let age = |raw: &str| parse(raw).unwrap().max_age;
    assert_eq!(age("fresh=1"), Some(Duration::ZERO));
    assert_eq!(age("fresh=true"), Some(Duration::ZERO));
    assert_eq!(age("fresh=%31"), Some(Duration::ZERO));
    assert_eq!(age("%66resh=1"), Some(Duration::ZERO));
    assert_eq!(age("max_age=0"), Some(Duration::ZERO));
    assert_eq!(
        age("max_age=999999999.999999999"),
        Some(Duration::new(999_999_999, 999_999_999))
    );
    let timeout = |raw: &str| parse(raw).unwrap().timeout;
    assert_eq!(timeout("timeout=2"), Some(Duration::from_secs(2)));
    assert_eq!(
        timeout("timeout=0.5&fresh=1"),
        Some(Duration::from_millis(500))
    );
    assert_eq!(
        timeout("timeout=30.000000000"),
        Some(Duration::from_secs(30))
    );
    assert_eq!(
        timeout("timeout=0.000000001"),
        Some(Duration::from_nanos(1))
    );
    assert_eq!(timeout("timeout=007"), Some(Duration::from_secs(7)));
}

#[test]
fn sources_keep_their_order() {
    let names = |raw: &str| {
        parse(raw)
            .unwrap()
            .sources
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("sources=usd,btc"), ["usd", "btc"]);
    assert_eq!(names("sources=clima%2Cusd"), ["clima", "usd"]);
}

#[test]
fn invalid_numbers_are_rejected() {
    let long = "1".repeat(400);
    let values = [
        "abc",
        "NaN",
        "nan",
        "inf",
        "-1",
        "-0",
        "1e9",
        "1e400",
        &long,
        "",
        " 2",
        "+2",
        "%202",
        "2,5",
        "1,5",
        "２",
        "0x10",
        "1_000",
        ".5",
        "5.",
        "1.2.3",
        "1234567890",
        "0.1234567890",
        "%",
        "%z1",
        "%FF",
        "%C0%AF",
        "%00",
        "2%00",
        "%0d%0a",
        "2;3",
        "%EF%BC%92",
        "2s",
        "١",
    ];
    for value in values {
        for name in ["timeout", "max_age"] {
            assert_eq!(
                rejected_kind(&format!("{name}={value}")),
                ProblemKind::InvalidParameter,
                "{name}={value}"
            );
        }
        assert_eq!(
            rejected_kind(&format!("fresh={value}")),
            ProblemKind::InvalidParameter,
            "fresh={value}"
        );
    }
}

#[test]
fn timeout_limits_are_enforced() {
    for raw in [
        "timeout=0",
        "timeout=0.0",
        "timeout=0.000000000",
        "timeout=31",
        "timeout=30.000000001",
    ] {
        assert_eq!(rejected_kind(raw), ProblemKind::InvalidParameter, "{raw}");
    }
}

#[test]
fn conflicting_query_is_rejected() {
    let table = [
        "fresh",
        "timeout",
        "max_age",
        "sources",
        "fresh=1&fresh=1",
        "timeout=1&timeout=2",
        "fresh=1&max_age=1",
        "max_age=1&fresh=0",
        "sources=",
        "sources=,",
        "sources=btc,",
        "sources=,btc",
        "sources=btc,,usd",
        "sources=btc,btc",
        "sources=btc&sources=usd",
        "%66resh=1&fresh=0",
        "fresh=1=1",
    ];
    for raw in table {
        assert_eq!(rejected_kind(raw), ProblemKind::InvalidParameter, "{raw}");
    }
}

#[test]
fn unknown_parameter_is_suggested() {
    for raw in [
        "Fresh=1",
        "FRESH=1",
        ";",
        "=1",
        "=",
        "%zz=1",
        "%00=1",
        "a=1&fresh=1",
        "timeout=1&x",
        "fresh;timeout=1",
    ] {
        assert_eq!(rejected_kind(raw), ProblemKind::UnknownParameter, "{raw}");
    }
    let problem = parse("Fresh=1").unwrap_err();
    let expected = ProblemDetails::new(ProblemKind::UnknownParameter, "no parameter has this name")
        .with_param("Fresh")
        .with_got("Fresh")
        .with_expected("fresh, timeout, max_age, sources, format")
        .with_suggestion(Some("fresh"));
    assert_eq!(problem, expected);
}

#[test]
fn forms_and_events_are_parsed() {
    let form = |raw| parse(raw).unwrap().form;
    assert_eq!(form("format=flat"), BodyForm::Flat);
    assert_eq!(form("format=json&sources=btc"), BodyForm::Summary);
    let event = |raw| parse_for(STREAM_PARAMETERS, raw).unwrap().event;
    assert_eq!(event("event=message"), EventName::Message);
    assert_eq!(event("sources=btc"), EventName::Resumen);
    for raw in [
        "format=",
        "format=FLAT",
        "format=flat&format=flat",
        "format=xml",
    ] {
        assert_eq!(rejected_kind(raw), ProblemKind::InvalidParameter, "{raw}");
    }
    for (parameters, raw) in [
        (SUMMARY_PARAMETERS, "event=message"),
        (STREAM_PARAMETERS, "fresh=1"),
        (VALUE_PARAMETERS, "sources=btc"),
        (VALUE_PARAMETERS, "format=flat"),
    ] {
        let kind = parse_for(parameters, raw).unwrap_err().kind();
        assert_eq!(kind, ProblemKind::UnknownParameter, "{raw}");
    }
}

#[test]
fn unknown_source_is_suggested() {
    for raw in [
        "sources=eth",
        "sources=btc,eth",
        "sources=BTC",
        "sources=btc%20",
        "sources=btc+usd",
        "sources=../x",
    ] {
        assert_eq!(rejected_kind(raw), ProblemKind::UnknownSource, "{raw}");
    }
    let expected = ProblemDetails::new(ProblemKind::UnknownSource, "no source has this name")
        .with_param("sources")
        .with_got("bct")
        .with_expected("btc, clima, usd")
        .with_suggestion(Some("btc"));
    assert_eq!(parse("sources=bct").unwrap_err(), expected);
}
