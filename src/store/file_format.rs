//! The format of the state file: versioned, checksummed JSON with one line per source.
//!
//! ```text
//! {"format":"resumen-state","version":1,"checksum":"6c78e0e3bd51d358d01e758642b85fb8","state":
//! {"taken":{"at":"2026-11-22T06:55:10.734Z",…},"sources":[
//! {"name":"btc","identity":"…","reading":{"fetched_at":"…","provider":"coinbase","data":{"usd":97123.45}},…},
//! {"name":"usd",…}
//! ]}}
//! ```
//!
//! The checksum covers all bytes after the first line. A change that an older release would misread
//! needs a new version; a new member does not, because unknown members are ignored.

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{ClockTimestamps, SourceRecord};

use super::dto::{ClockTimestampsDto, SourceRecordDto};

/// The version that is written, and the only one that is read.
const STATE_FORMAT_VERSION: u64 = 1;

/// The content of a state file.
#[derive(Debug, Clone)]
pub struct StateFileContent {
    /// The time of the save, on every clock of the machine.
    pub taken_at: ClockTimestamps,
    /// The state of each source.
    pub source_records: Vec<SourceRecord>,
}

/// Why bytes are not a state; fits after "the state file is not used: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFormatError {
    /// Another program wrote the bytes, or they were changed or truncated since.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Another release wrote the bytes.
    #[error(
        "it has version {0} of the format and this release reads version {STATE_FORMAT_VERSION}"
    )]
    Version(u64),
}

impl StateFileContent {
    /// Returns the state of each source with its times moved onto the clock of the run that reads
    /// the content at `now`.
    pub fn into_records_at(self, now: &ClockTimestamps) -> Vec<SourceRecord> {
        let shift = self.taken_at.clock_shift_ms(now);
        self.source_records
            .into_iter()
            .map(|record| record.shift_clock(shift, now.program_time))
            .collect()
    }
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

/// Returns the bytes of a state file.
pub fn encode_state_file(state: &StateFileContent) -> Vec<u8> {
    let mut body = Vec::with_capacity(256 + state.source_records.len() * 512);
    body.extend_from_slice(b"{\"taken\":");
    write_json(&mut body, &ClockTimestampsDto::from(&state.taken_at));
    body.extend_from_slice(b",\"sources\":[");
    for (i, record) in state.source_records.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"\n" } else { b",\n" });
        write_json(&mut body, &SourceRecordDto::new(record));
    }
    body.extend_from_slice(b"\n]}}\n");
    let mut text = header_line(&body).into_bytes();
    text.extend_from_slice(&body);
    text
}

/// Returns the content of a state file. A record that this release does not understand is left out;
/// any other deviation is an error.
pub fn decode_state_file(text: &[u8]) -> Result<StateFileContent, StateFormatError> {
    let damaged = |what: &str| StateFormatError::Damaged(what.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| damaged("it is not UTF-8"))?;
    let (first, body) = text
        .split_once('\n')
        .ok_or_else(|| damaged("its first line does not end"))?;
    // The first line is an object whose last member, the state, stands in the following lines.
    let header: StateFileHeader =
        serde_json::from_str(&format!("{first}null}}")).map_err(|_| damaged("its first line"))?;
    if header.format != "resumen-state" {
        return Err(damaged("it is no state of this program"));
    }
    if header.version != STATE_FORMAT_VERSION {
        return Err(StateFormatError::Version(header.version));
    }
    // The comparison with a header that this release would write finds damage inside of the header.
    if header.checksum != body_checksum(body.as_bytes())
        || *first != *header_line(body.as_bytes()).trim_end()
    {
        return Err(damaged("its checksum is not that of its content"));
    }
    let state = body.strip_suffix("}\n").ok_or_else(|| damaged("its end"))?;
    let StateFileBody { taken, sources } = serde_json::from_str(state)
        .map_err(|error| StateFormatError::Damaged(format!("its content: {error}")))?;
    Ok(StateFileContent {
        taken_at: taken
            .into_timestamps()
            .ok_or_else(|| damaged("the time of the save"))?,
        source_records: sources
            .into_iter()
            .filter_map(SourceRecordDto::into_record)
            .collect(),
    })
}

fn header_line(body: &[u8]) -> String {
    let checksum = body_checksum(body);
    format!(
        "{{\"format\":\"resumen-state\",\"version\":{STATE_FORMAT_VERSION},\"checksum\":\"{checksum}\",\"state\":\n"
    )
}

fn body_checksum(body: &[u8]) -> String {
    format!("{:032x}", xxh3_128(body))
}

fn write_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Serialising plain fields into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}
