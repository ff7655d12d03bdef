//! The JSON of an answer, written by hand: data stays the text it came as, and nothing is built to be thrown away.

use std::io::Write;

use crate::domain::{Name, SourceState, SourceView, Time};
use crate::text::format_rfc3339;

use super::json_text::{write_json_string, write_millis, write_seconds};
use super::live_note::ReadingOrigin;
use super::rendering::RenderMode;
use super::version::SummaryVersion;

/// Why this server waits asynchronously, for clients of the original service.
const ASINCRONIA: &str = "Las llamadas a los proveedores solo esperan a la red: unas pocas tareas asíncronas las hacen \
    avanzar todas a la vez, cada una con su tiempo límite, y ninguna respuesta espera a otra ni ocupa un hilo.";

/// What its threads are for.
const MULTITHREADING: &str = "Los hilos son fijos y no crecen con la carga: unos sirven la instantánea ya escrita, \
    otros atienden a los proveedores, y los filtros, que sí usan la CPU, corren aparte para no frenar a ninguno.";

/// One source as the answer shows it.
pub(crate) struct SummaryRow<'a> {
    pub(crate) source_state: &'a SourceState,
    pub(crate) view: SourceView<'a>,
    pub(crate) origin: ReadingOrigin,
}

/// What stands above the sources.
pub(crate) struct SummaryHeader {
    pub(crate) version: SummaryVersion,
    pub(crate) generated_at: Time,
    pub(crate) is_complete: bool,
}

pub(crate) fn write_summary(
    head: &SummaryHeader,
    mode: &RenderMode<'_>,
    rows: &[SummaryRow<'_>],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(768 + rows.len() * 320);
    let origen = match mode {
        RenderMode::Snapshot { .. } => ReadingOrigin::Snapshot,
        RenderMode::Live { .. } => ReadingOrigin::Live,
    };
    let _ = write!(
        out,
        r#"{{"origen":"{}","version":"{}","#,
        origen.as_str(),
        head.version
    );
    let _ = write!(
        out,
        r#""generated_at":"{}","timeout_s":"#,
        format_rfc3339(head.generated_at)
    );
    write_seconds(&mut out, mode.timeout());
    let _ = write!(out, r#","complete":{},"asincronia":"#, head.is_complete);
    write_json_string(&mut out, ASINCRONIA);
    out.extend_from_slice(br#","multithreading":"#);
    write_json_string(&mut out, MULTITHREADING);
    out.extend_from_slice(br#","resultados":{"#);
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_source_row(&mut out, row, head.generated_at);
    }
    out.extend_from_slice(b"}}");
    out
}

fn write_source_row(out: &mut Vec<u8>, row: &SummaryRow<'_>, as_of: Time) {
    let state = &row.view;
    write_name(out, &row.source_state.source.name);
    let _ = write!(out, r#":{{"ok":{}"#, state.reading.is_some());
    if let Some(reading) = &state.reading {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(reading.data.as_json().as_bytes());
    }
    if let Some(took) = state.last_duration {
        out.extend_from_slice(br#","ms":"#);
        write_millis(out, took);
    }
    if let Some(reading) = &state.reading {
        out.extend_from_slice(br#","provider":"#);
        write_name(out, reading.provider);
        let age = as_of.since(reading.fetched_at).as_millis();
        let fetched_at = format_rfc3339(reading.fetched_at);
        let _ = write!(
            out,
            r#","fetched_at":"{fetched_at}","age_ms":{age},"stale":{}"#,
            state.is_stale()
        );
    }
    let _ = write!(out, r#","from":"{}""#, row.origin.as_str());
    write_failure(out, state);
    if let Some(attribution) = &row.source_state.source.attribution {
        out.extend_from_slice(br#","attribution":"#);
        write_json_string(out, attribution);
    }
    out.push(b'}');
}

fn write_failure(out: &mut Vec<u8>, state: &SourceView<'_>) {
    let Some(trouble) = &state.failure else {
        return;
    };
    out.extend_from_slice(br#","error":"#);
    write_json_string(out, &trouble.message);
    let _ = write!(out, r#","code":"{}""#, trouble.code);
    if let Some(since) = trouble.failing_since {
        let _ = write!(out, r#","failing_since":"{}""#, format_rfc3339(since));
    }
}

/// A name's alphabet needs no escapes.
fn write_name(out: &mut Vec<u8>, name: &Name) {
    let _ = write!(out, r#""{name}""#);
}
