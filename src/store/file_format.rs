//! One versioned, checksummed format: JSON that an operator can read, one line per source.
//!
//! ```text
//! {"format":"resumen-state","version":1,"checksum":"6c78e0e3bd51d358d01e758642b85fb8","state":
//! {"taken":{"at":"2026-11-22T06:55:10.734Z",…},"sources":[
//! {"name":"btc","identity":"…","reading":{"fetched_at":"…","provider":"coinbase","data":{"usd":97123.45}},…},
//! {"name":"usd",…}
//! ]}}
//! ```
//!
//! The checksum is over all that follows the first line. A change that an older release would misread takes another
//! version; one that it may pass over does not.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::SourceRecord;

use super::dto::{ClockTimestampsDto, SourceRecordDto};
use crate::store::StateFileContent;

/// The version that is written, and the only one that is read.
const STATE_FORMAT_VERSION: u64 = 1;

/// Why bytes are no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFormatError {
    /// Not written by this program, or changed or cut since.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Written by another release.
    #[error(
        "it has version {0} of the format and this release reads version {STATE_FORMAT_VERSION}"
    )]
    Version(u64),
}

#[derive(Deserialize)]
struct StateFileHeader {
    format: String,
    version: u64,
    checksum: String,
}

#[derive(Deserialize)]
struct StateFileBody<'t> {
    taken: ClockTimestampsDto,
    #[serde(borrow)]
    sources: Vec<SourceRecordDto<'t>>,
}

/// The text of a state.
pub fn encode_state_file(state: &StateFileContent) -> Vec<u8> {
    let mut body = Vec::with_capacity(256 + state.source_records.len() * 512);
    body.extend_from_slice(b"{\"taken\":");
    write_json(&mut body, &ClockTimestampsDto::from(&state.taken_at));
    body.extend_from_slice(b",\"sources\":[");
    for (i, saved) in state.source_records.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"\n" } else { b",\n" });
        write_json(&mut body, &SourceRecordDto::new(saved));
    }
    body.extend_from_slice(b"\n]}}\n");
    let mut text = write_header_line(&body).into_bytes();
    text.extend_from_slice(&body);
    text
}

/// The state of a text.
pub fn decode_state_file(text: &[u8]) -> Result<StateFileContent, StateFormatError> {
    let damaged = |what: &str| StateFormatError::Damaged(what.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| damaged("it is not UTF-8"))?;
    let (first, body) = text
        .split_once('\n')
        .ok_or_else(|| damaged("its first line does not end"))?;
    let found: StateFileHeader =
        serde_json::from_str(&format!("{first}null}}")).map_err(|_| damaged("its first line"))?;
    if found.format != "resumen-state" {
        return Err(damaged("it is no state of this program"));
    }
    if found.version != STATE_FORMAT_VERSION {
        return Err(StateFormatError::Version(found.version));
    }
    if found.checksum != body_checksum(body.as_bytes())
        || *first != *write_header_line(body.as_bytes()).trim_end()
    {
        return Err(damaged("its checksum is not that of its content"));
    }
    let unread =
        |error: serde_json::Error| StateFormatError::Damaged(format!("its content: {error}"));
    let inner = body.strip_suffix("}\n").ok_or_else(|| damaged("its end"))?;
    let StateFileBody { taken, sources } = serde_json::from_str(inner).map_err(unread)?;
    let taken = taken
        .into_timestamps()
        .ok_or_else(|| damaged("when it was taken"))?;
    let sources: Vec<SourceRecord> = sources
        .into_iter()
        .filter_map(SourceRecordDto::into_record)
        .collect();
    Ok(StateFileContent {
        taken_at: taken,
        source_records: sources,
    })
}

fn write_header_line(body: &[u8]) -> String {
    let checksum = body_checksum(body);
    format!(
        "{{\"format\":\"resumen-state\",\"version\":{STATE_FORMAT_VERSION},\"checksum\":\"{checksum}\",\"state\":\n"
    )
}

fn body_checksum(body: &[u8]) -> String {
    format!("{:032x}", xxh3_128(body))
}

/// Writing plain fields into memory cannot fail.
fn write_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    let _ = serde_json::to_writer(out, value);
}
