//! The filters of the default configuration on recorded responses of its providers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use resumen::domain::{
    DerivedComputation, Failure, JsonData, Name, Outcome, Reading, Snapshot, SourceSet, Time,
};
use resumen::extract::Filter;
use resumen::process::Clock;
use resumen::render::{BodyForm, RenderMode, render_summary};

async fn run_filter(
    name: &Name,
    filter: &str,
    payload: impl Into<Bytes>,
) -> Result<String, Failure> {
    let filter = Filter::compile(filter).unwrap();
    let deadline = Clock::start().deadline(Duration::from_secs(20));
    let data = crate::support::scripted_fetch::test_extractor()
        .extract(name, &filter, payload.into(), deadline)
        .await?;
    Ok(data.as_json().to_owned())
}

#[tokio::test]
async fn default_filters_extract_responses() {
    let config = crate::config::load(Path::new("config/resumen.toml")).unwrap();
    let expected = [
        ("btc", "coinbase", r#"{"usd":68012.34}"#),
        ("btc", "kraken", r#"{"usd":68012.3}"#),
        ("clima", "open-meteo", r#"{"temperatura_c":18.0}"#),
        ("usd", "frankfurter", r#"{"ARS":1478.25,"EUR":0.87598}"#),
        ("usd", "coinbase", r#"{"EUR":0.8760,"ARS":1478.250}"#),
    ];
    let mut seen = Vec::new();
    for source in &config.sources {
        for provider in source.providers() {
            let path = format!(
                "tests/corpus/answers/{}-{}.json",
                source.name, provider.name
            );
            let payload = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let data = run_filter(&source.name, &provider.extract, payload)
                .await
                .unwrap();
            seen.push((source.name.to_string(), provider.name.to_string(), data));
        }
    }
    let seen: Vec<_> = seen
        .iter()
        .map(|(source, provider, data)| (&**source, &**provider, &**data))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn kraken_error_with_200_is_failure() {
    let config = crate::config::load(Path::new("config/resumen.toml")).unwrap();
    let btc = &config.sources[0];
    let response = r#"{"error":["EGeneral:Too many requests","EService:Busy"]}"#;
    let failure = run_filter(&btc.name, &btc.providers()[1].extract, response)
        .await
        .unwrap_err();
    assert!(
        failure
            .message
            .contains("EGeneral:Too many requests, EService:Busy"),
        "{failure}"
    );
}

#[tokio::test]
async fn default_derived_source_multiplies_inputs() {
    let config = crate::config::load(Path::new("config/resumen.toml")).unwrap();
    let derived = config
        .sources
        .iter()
        .find(|source| source.name.as_str() == "btc_ars")
        .unwrap();
    let inputs = r#"{"btc":{"usd":68012.5},"usd":{"EUR":0.5,"ARS":2}}"#;
    let data = run_filter(&derived.name, derived.extract_filters()[0], inputs)
        .await
        .unwrap();
    assert_eq!(
        data.parse::<serde_json::Value>().unwrap()["ars"].as_f64(),
        Some(136_025.0)
    );
}

#[test]
fn default_flat_answer_is_small() {
    let config = crate::config::load(Path::new("config/resumen.toml")).unwrap();
    let at = Time::from_millis(1_795_330_510_000);
    let source_set = Arc::new(SourceSet::new(config.sources.clone()));
    let mut snapshot = Snapshot::new(Arc::clone(&source_set));
    let data = [
        ("btc", r#"{"usd":68012.34}"#),
        ("clima", r#"{"temperatura_c":-18.0}"#),
        ("usd", r#"{"ARS":1478.25,"EUR":0.87598}"#),
    ];
    for (name, json) in data {
        let position = source_set.position(name).unwrap();
        let reading = Reading {
            fetched_at: at,
            provider: config.sources[position].providers()[0].name.clone(),
            data: JsonData::from_checked(json),
            extra_ttl: Duration::ZERO,
        };
        let outcome = Outcome {
            source: config.sources[position].name.clone(),
            identity: source_set.identity(position),
            started_at: at,
            duration: Duration::ZERO,
            result: Ok(reading),
            provider_attempts: Vec::new(),
        };
        snapshot = snapshot.merge_outcome(&outcome).snapshot;
    }
    let derived = source_set.position("btc_ars").unwrap();
    let computation = DerivedComputation {
        identity: source_set.identity(derived),
        input_versions: snapshot.current_input_versions(derived).unwrap(),
        computed_at: at,
        duration: Duration::ZERO,
        result: Ok(JsonData::from_checked(r#"{"ars":100539241.635}"#)),
    };
    let snapshot = snapshot.with_computation(&config.sources[derived].name, &computation);
    let mode = RenderMode::Snapshot {
        timeout: Duration::from_secs(4),
    };
    // An hour later, some are stale: ages are long then.
    let positions: Vec<usize> = (0..config.sources.len()).collect();
    let now = at.plus(Duration::from_secs(3000));
    let flat = render_summary(&snapshot, &positions, &BodyForm::Flat, &mode, now);
    let text = String::from_utf8(flat.body.to_vec()).unwrap();
    assert!(
        text.contains(r#""usd.ARS":1478.25,"usd.EUR":0.87598"#),
        "{text}"
    );
    assert!(text.contains(r#""btc_ars.ars":100539241.635"#), "{text}");
    assert!(text.len() < 400, "{} bytes: {text}", text.len());
}
