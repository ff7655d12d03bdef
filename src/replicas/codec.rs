//! The encoding of the state that replicas share: a head that every release can read, then JSON.
//!
//! ```text
//! resumen/1 1763794510734 6c78e0e3bd51d358d01e758642b85fb8 {"name":"btc","identity":"…","reading":{…},…}
//! ```
//!
//! The second field is the time at which the newest attempt began, in milliseconds on the store's clock. Its
//! place is the same in every version, so that an older release recognises a newer state even if it
//! cannot read it. The checksum covers all bytes after it.

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{SourceRecord, Time};
use crate::store::SourceRecordDto;

/// The version that is written, and the only one that is read.
const STORED_STATE_VERSION: u64 = 1;

/// Maximum size of a state that is written or read, in bytes.
pub(super) const MAX_STORED_STATE_BYTES: usize = 4 << 20;

/// Why bytes are not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredStateError {
    /// Another program wrote the bytes, or they were changed since.
    #[error("it is damaged")]
    Damaged,
    /// Another release wrote the bytes.
    #[error(
        "it has version {0} of the format and this release reads version {STORED_STATE_VERSION}"
    )]
    Version(u64),
    /// The state is larger than the limit.
    #[error("it has {0} bytes and at most {MAX_STORED_STATE_BYTES} are read")]
    Oversize(u64),
    /// The newest attempt began in the future: a clock is wrong, or was.
    #[error("its time is in the future")]
    FromFuture,
}

/// Encodes a state whose times are on the store's clock. `None` if it has no attempt or is larger
/// than [`MAX_STORED_STATE_BYTES`].
pub(super) fn encode_stored_state(record: &SourceRecord) -> Option<Vec<u8>> {
    let started_at = record.history.last_attempt?.as_millis();
    let body = serde_json::to_string(&SourceRecordDto::new(record)).ok()?;
    let checksum = xxh3_128(body.as_bytes());
    let text = format!("resumen/{STORED_STATE_VERSION} {started_at} {checksum:032x} {body}");
    (text.len() <= MAX_STORED_STATE_BYTES).then(|| text.into_bytes())
}

/// Decodes a state; its times are on the store's clock.
pub(super) fn decode_stored_state(bytes: &[u8]) -> Result<SourceRecord, StoredStateError> {
    if bytes.len() > MAX_STORED_STATE_BYTES {
        return Err(StoredStateError::Oversize(bytes.len() as u64));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| StoredStateError::Damaged)?;
    let mut words = text.splitn(4, ' ');
    let mut next_word = || words.next().ok_or(StoredStateError::Damaged);
    // The version before the number of words, which a newer release may change.
    let version = next_word()?
        .strip_prefix("resumen/")
        .and_then(|text| text.parse().ok())
        .ok_or(StoredStateError::Damaged)?;
    if version != STORED_STATE_VERSION {
        return Err(StoredStateError::Version(version));
    }
    let (started_at, checksum, body) = (next_word()?, next_word()?, next_word()?);
    if checksum != format!("{:032x}", xxh3_128(body.as_bytes())) {
        return Err(StoredStateError::Damaged);
    }
    let started_at = started_at.parse().ok().map(Time::from_millis);
    serde_json::from_str::<SourceRecordDto<'_>>(body)
        .ok()
        .and_then(SourceRecordDto::into_record)
        .filter(|record| record.history.last_attempt == started_at)
        .ok_or(StoredStateError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{AttemptHistory, JsonData, Name, Reading, SourceIdentity};

    fn sample_record() -> SourceRecord {
        let started_at = Time::from_millis(1_763_794_510_734);
        let name = Name::new("btc").unwrap();
        let reading = Reading {
            fetched_at: started_at,
            provider: name.clone(),
            data: JsonData::from_checked("{\"usd\":0.10}"),
        };
        SourceRecord {
            name,
            identity: SourceIdentity::from_text("0123456789abcdef0123456789abcdef").unwrap(),
            reading: Some(Arc::new(reading)),
            failure: None,
            reading_input_versions: Arc::default(),
            latest_input_versions: Arc::default(),
            history: AttemptHistory {
                last_attempt: Some(started_at),
                ..AttemptHistory::default()
            },
        }
    }

    #[test]
    fn stored_state_round_trips() {
        let encoded = encode_stored_state(&sample_record()).unwrap();
        assert!(
            encoded.starts_with(b"resumen/1 1763794510734 "),
            "{}",
            String::from_utf8_lossy(&encoded)
        );
        let decoded = decode_stored_state(&encoded).unwrap();
        assert_eq!(
            (decoded.reading, decoded.history.last_attempt),
            (
                sample_record().reading,
                sample_record().history.last_attempt
            )
        );
    }

    #[test]
    fn newer_version_is_not_damage() {
        let text = String::from_utf8(encode_stored_state(&sample_record()).unwrap()).unwrap();
        let newer = text.replacen("resumen/1", "resumen/2", 1);
        assert_eq!(
            decode_stored_state(newer.as_bytes()).unwrap_err(),
            StoredStateError::Version(2)
        );
        for garbage in [
            "",
            "x",
            "resumen/1",
            "resumen/x 1 2 3",
            &text[..text.len() - 1],
            &text.replace("0.10", "0.11"),
        ] {
            assert_eq!(
                decode_stored_state(garbage.as_bytes()).unwrap_err(),
                StoredStateError::Damaged,
                "{garbage}"
            );
        }
        assert_eq!(
            decode_stored_state(&[0xff; 80]).unwrap_err(),
            StoredStateError::Damaged
        );
        assert_eq!(
            decode_stored_state(&vec![b'x'; MAX_STORED_STATE_BYTES + 1]).unwrap_err(),
            StoredStateError::Oversize(MAX_STORED_STATE_BYTES as u64 + 1)
        );
    }

    #[test]
    fn unattempted_source_is_not_encoded() {
        assert!(
            encode_stored_state(&SourceRecord {
                history: AttemptHistory::default(),
                ..sample_record()
            })
            .is_none()
        );
    }
}
