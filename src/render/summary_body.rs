//! JSON body of a summary. It is written without serde: the data of a source is copied as JSON
//! text, and no intermediate values are built.

use std::io::Write;

use crate::domain::{ClockShift, Name, SourceState, SourceView, Time};

use super::json_text::{write_json_string, write_millis, write_seconds};
use super::render_mode::{ReadingOrigin, RenderMode};
use super::version::SummaryVersion;

/// Text of the member `asincronia`, for clients of the original service: the reason for
/// asynchronous I/O.
const ASINCRONIA: &str = "Esperar a varias API a la vez no ocupa ningún hilo.";

/// Text of the member `multithreading`, for clients of the original service: the purpose of the
/// threads.
const MULTITHREADING: &str = "Unos hilos responden; otros consultan a los proveedores.";

/// One source of a summary.
pub(super) struct SummaryRow<'a> {
    pub(super) source_state: &'a SourceState,
    pub(super) view: SourceView<'a>,
    pub(super) origin: ReadingOrigin,
}

/// Members of a summary beside its sources.
pub(super) struct SummaryHeader {
    pub(super) version: SummaryVersion,
    pub(super) generated_at: Time,
    pub(super) clock_shift: ClockShift,
    pub(super) is_complete: bool,
}

/// Returns the body of a summary, on one line, in a buffer that begins with `capacity` bytes.
pub(super) fn write_summary(
    header: &SummaryHeader,
    mode: &RenderMode<'_>,
    rows: &[SummaryRow<'_>],
    capacity: usize,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    // The Spanish names are those of the original service. Writing to a `Vec` cannot fail.
    let origen = match mode {
        RenderMode::Snapshot { .. } => ReadingOrigin::Snapshot,
        RenderMode::Live { .. } => ReadingOrigin::Live,
    };
    let _ = write!(
        out,
        r#"{{"origen":"{}","version":"{}","#,
        origen.as_str(),
        header.version
    );
    let _ = write!(
        out,
        r#""generated_at":"{}","timeout_s":"#,
        header.clock_shift.format(header.generated_at)
    );
    write_seconds(&mut out, mode.timeout());
    let _ = write!(out, r#","complete":{},"asincronia":"#, header.is_complete);
    write_json_string(&mut out, ASINCRONIA);
    out.extend_from_slice(br#","multithreading":"#);
    write_json_string(&mut out, MULTITHREADING);
    out.extend_from_slice(br#","resultados":{"#);
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_source_row(&mut out, row, header);
    }
    out.extend_from_slice(b"}}");
    out
}

fn write_source_row(out: &mut Vec<u8>, row: &SummaryRow<'_>, header: &SummaryHeader) {
    let view = &row.view;
    write_name(out, &row.source_state.source.name);
    let _ = write!(out, r#":{{"ok":{}"#, view.reading.is_some());
    if let Some(reading) = &view.reading {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(reading.data.as_json().as_bytes());
    }
    if let Some(duration) = view.last_duration {
        out.extend_from_slice(br#","ms":"#);
        write_millis(out, duration);
    }
    if let Some(reading) = &view.reading {
        out.extend_from_slice(br#","provider":"#);
        write_name(out, reading.provider);
        let age = header.generated_at.since(reading.fetched_at).as_millis();
        let fetched_at = header.clock_shift.format(reading.fetched_at);
        let _ = write!(
            out,
            r#","fetched_at":"{fetched_at}","age_ms":{age},"stale":{}"#,
            view.is_stale()
        );
    }
    let _ = write!(out, r#","from":"{}""#, row.origin.as_str());
    write_failure(out, view, header.clock_shift);
    if let Some(attribution) = &row.source_state.source.attribution {
        out.extend_from_slice(br#","attribution":"#);
        write_json_string(out, attribution);
    }
    out.push(b'}');
}

fn write_failure(out: &mut Vec<u8>, view: &SourceView<'_>, shift: ClockShift) {
    let Some(failure) = &view.failure else {
        return;
    };
    out.extend_from_slice(br#","error":"#);
    write_json_string(out, &failure.message);
    let _ = write!(out, r#","code":"{}""#, failure.code);
    if let Some(since) = failure.failing_since {
        let _ = write!(out, r#","failing_since":"{}""#, shift.format(since));
    }
}

/// Writes a name as a JSON string; its alphabet needs no escapes.
fn write_name(out: &mut Vec<u8>, name: &Name) {
    let _ = write!(out, r#""{name}""#);
}
