//! The JSON of an answer, written by hand: data stays the text it came as, and nothing is built to be thrown away.

use std::io::Write;

use crate::domain::{Entry, Name, State, Time};

use super::note::Origin;
use super::text::{rfc3339, write_millis, write_seconds, write_text};
use super::{Mode, Version};

/// Why this server waits asynchronously, for clients of the original service.
const ASINCRONIA: &str = "Las llamadas a los proveedores solo esperan a la red: unas pocas tareas asíncronas las hacen \
    avanzar todas a la vez, cada una con su tiempo límite, y ninguna respuesta espera a otra ni ocupa un hilo.";

/// What its threads are for.
const MULTITHREADING: &str = "Los hilos son fijos y no crecen con la carga: unos sirven la instantánea ya escrita, \
    otros atienden a los proveedores, y los filtros, que sí usan la CPU, corren aparte para no frenar a ninguno.";

/// One source as the answer shows it.
pub(super) struct Row<'a> {
    pub(super) entry: &'a Entry,
    pub(super) state: State<'a>,
    pub(super) origin: Origin,
}

/// What stands above the sources.
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) generated_at: Time,
    pub(super) complete: bool,
}

pub(super) fn write(head: &Head, mode: &Mode<'_>, rows: &[Row<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(768 + rows.len() * 320);
    let origen = match mode {
        Mode::Snapshot { .. } => Origin::Snapshot,
        Mode::Live { .. } => Origin::Live,
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
        rfc3339(head.generated_at)
    );
    write_seconds(&mut out, mode.timeout());
    let _ = write!(out, r#","complete":{},"asincronia":"#, head.complete);
    write_text(&mut out, ASINCRONIA);
    out.extend_from_slice(br#","multithreading":"#);
    write_text(&mut out, MULTITHREADING);
    out.extend_from_slice(br#","resultados":{"#);
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_row(&mut out, row, head.generated_at);
    }
    out.extend_from_slice(b"}}");
    out
}

fn write_row(out: &mut Vec<u8>, row: &Row<'_>, as_of: Time) {
    let state = &row.state;
    write_name(out, &row.entry.source.name);
    let _ = write!(out, r#":{{"ok":{}"#, state.reading.is_some());
    if let Some(reading) = &state.reading {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(reading.data.as_json().as_bytes());
    }
    if let Some(took) = state.took {
        out.extend_from_slice(br#","ms":"#);
        write_millis(out, took);
    }
    if let Some(reading) = &state.reading {
        out.extend_from_slice(br#","provider":"#);
        write_name(out, reading.provider);
        let age = as_of.since(reading.fetched_at).as_millis();
        let fetched_at = rfc3339(reading.fetched_at);
        let _ = write!(
            out,
            r#","fetched_at":"{fetched_at}","age_ms":{age},"stale":{}"#,
            state.is_stale()
        );
    }
    let _ = write!(out, r#","from":"{}""#, row.origin.as_str());
    write_trouble(out, state);
    if let Some(attribution) = &row.entry.source.attribution {
        out.extend_from_slice(br#","attribution":"#);
        write_text(out, attribution);
    }
    out.push(b'}');
}

fn write_trouble(out: &mut Vec<u8>, state: &State<'_>) {
    let Some(trouble) = &state.error else { return };
    out.extend_from_slice(br#","error":"#);
    write_text(out, &trouble.message);
    let _ = write!(out, r#","code":"{}""#, trouble.code);
    if let Some(since) = trouble.since {
        let _ = write!(out, r#","failing_since":"{}""#, rfc3339(since));
    }
}

/// A name's alphabet needs no escapes.
fn write_name(out: &mut Vec<u8>, name: &Name) {
    let _ = write!(out, r#""{name}""#);
}
