//! What the configuration says about the providers of one source, and its history, as the source's page reads it.

use serde_json::{Value, json};

use crate::domain::{Name, Provider, Source, SourceKind};

/// The JSON document `{"providers": [{name, extract, calls_per_day}]}`, or for a derived source `{"from": […], "extract"}`;
/// with `history`, the JSON text of the source's series, if there is one.
/// It has no URL: one may hold a secret.
pub(crate) fn definition_document(source: &Source, history: Option<&str>) -> String {
    let mut document = match &source.kind {
        SourceKind::Fetched {
            providers,
            schedule,
        } => {
            let provider_json = |(rank, provider): (usize, &Provider)| {
                // The others are called only when those before them fail or are slow.
                let calls = if rank == 0 {
                    schedule.attempts_per_day()
                } else {
                    0
                };
                json!({"name": provider.name.as_str(), "extract": &*provider.extract, "calls_per_day": calls})
            };
            let providers: Value = providers.iter().enumerate().map(provider_json).collect();
            json!({"providers": providers})
        }
        SourceKind::Derived { inputs, extract } => {
            let inputs: Value = inputs.iter().map(Name::as_str).collect();
            json!({"from": inputs, "extract": &**extract})
        }
    };
    if let Some(series) = history.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        document["history"] = series;
    }
    document.to_string()
}
