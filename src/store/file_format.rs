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

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{ClockTimestamps, SourceRecord};
use crate::text::{UnitStyle, format_size, quote};

use super::dto::{ClockTimestampsDto, RecordError, SourceRecordDto};

/// The version that is written, and the only one that is read.
const STATE_FORMAT_VERSION: u64 = 1;

/// Maximum size of a state file that is written or read, in bytes.
pub(super) const MAX_STATE_FILE_BYTES: usize = 64 << 20;

/// More than the size of a state file without its records, in bytes.
const MAX_FRAME_BYTES: usize = 256;

/// How far after the time of the save a time in the file may lie. Readings of other replicas are
/// dated by clocks that differ by less.
const MAX_FUTURE_OFFSET: Duration = Duration::from_secs(1);

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
    /// The file is larger than the limit.
    #[error("it is larger than {}", format_size(MAX_STATE_FILE_BYTES as u64, UnitStyle::Message))]
    Oversize,
}

/// What [`decode_state_file`] found.
#[derive(Debug, Clone)]
pub struct DecodedStateFile {
    /// The content without the refused records.
    pub content: StateFileContent,
    /// The refused records: their names, quoted, and why.
    pub refused: Vec<(String, RecordError)>,
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
    /// Each is checked by itself, so that one that is refused costs no other.
    #[serde(borrow)]
    sources: Vec<&'t RawValue>,
}

/// Returns the bytes of a state file.
pub fn encode_state_file(state: &StateFileContent) -> Vec<u8> {
    encode_within(state, usize::MAX).0
}

/// Returns the bytes of a state file of at most `max_bytes`, and the number of sources that it leaves
/// out because they do not fit.
pub(super) fn encode_within(state: &StateFileContent, max_bytes: usize) -> (Vec<u8>, usize) {
    let max_body = max_bytes.saturating_sub(MAX_FRAME_BYTES);
    let mut omitted = 0;
    let mut body = Vec::with_capacity(256 + state.source_records.len() * 512);
    body.extend_from_slice(b"{\"taken\":");
    write_json(&mut body, &ClockTimestampsDto::from(&state.taken_at));
    body.extend_from_slice(b",\"sources\":[");
    let mut separator: &[u8] = b"\n";
    for record in &state.source_records {
        let end = body.len();
        body.extend_from_slice(separator);
        write_json(&mut body, &SourceRecordDto::new(record));
        if body.len() > max_body {
            body.truncate(end);
            omitted += 1;
        } else {
            separator = b",\n";
        }
    }
    body.extend_from_slice(b"\n]}}\n");
    let mut text = header_line(&body).into_bytes();
    text.extend_from_slice(&body);
    (text, omitted)
}

/// Returns the content of a state file. A record that this program could not have written is left
/// out and told; a deviation outside of the records is an error.
pub fn decode_state_file(text: &[u8]) -> Result<DecodedStateFile, StateFormatError> {
    if text.len() > MAX_STATE_FILE_BYTES {
        return Err(StateFormatError::Oversize);
    }
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
    let taken_at = taken
        .into_timestamps()
        .ok_or_else(|| damaged("the time of the save"))?;
    let latest = taken_at.program_time.plus(MAX_FUTURE_OFFSET);
    let mut source_records = Vec::with_capacity(sources.len());
    let mut refused = Vec::new();
    for source in sources {
        let record = SourceRecordDto::parse_record(source.get()).and_then(|record| {
            // A reading from the future would win over every later one.
            if record.past_times().any(|time| time > latest) {
                return Err(RecordError::new("a time in it is later than the save"));
            }
            Ok(record)
        });
        match record {
            Ok(record) => source_records.push(record),
            Err(error) => refused.push((record_name(source.get()), error)),
        }
    }
    Ok(DecodedStateFile {
        content: StateFileContent {
            taken_at,
            source_records,
        },
        refused,
    })
}

/// Returns the name in a record that is refused, for messages.
fn record_name(record: &str) -> String {
    #[derive(Deserialize)]
    struct NamedRecord {
        name: String,
    }
    serde_json::from_str(record).map_or_else(
        |_| "a source without a name".to_owned(),
        |NamedRecord { name }| quote(&name),
    )
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{AttemptHistory, JsonData, Name, Reading, SourceIdentity, Time};

    fn sample_record(name: &str, data_bytes: usize) -> SourceRecord {
        let name = Name::new(name).unwrap();
        let reading = Reading {
            fetched_at: Time::from_millis(1),
            provider: name.clone(),
            data: JsonData::from_checked(format!("\"{}\"", "x".repeat(data_bytes))),
            extra_ttl: Duration::ZERO,
        };
        SourceRecord {
            name,
            identity: SourceIdentity::from_text(&"0".repeat(32)).unwrap(),
            reading: Some(Arc::new(reading)),
            failure: None,
            reading_input_versions: Arc::default(),
            latest_input_versions: Arc::default(),
            history: AttemptHistory::default(),
        }
    }

    #[test]
    fn file_keeps_its_limit() {
        let state = StateFileContent {
            taken_at: ClockTimestamps {
                program_time: Time::from_millis(2),
                wall_time: Time::from_millis(2),
                boot_uptime: None,
            },
            source_records: [("a", 100), ("b", 5_000), ("c", 100)]
                .map(|(name, bytes)| sample_record(name, bytes))
                .into(),
        };
        let (text, omitted) = encode_within(&state, 2_000);
        assert!(omitted == 1 && text.len() <= 2_000, "{omitted}");
        let decoded = decode_state_file(&text).unwrap();
        let names = decoded.content.source_records.iter();
        let names: Vec<&str> = names.map(|record| record.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        let (text, omitted) = encode_within(&state, 100);
        assert_eq!(omitted, 3);
        assert!(
            decode_state_file(&text)
                .unwrap()
                .content
                .source_records
                .is_empty()
        );
    }
}
