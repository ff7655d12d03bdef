//! What one replica tells the others of a source: a head that every release can read, and the rest as JSON.
//!
//! ```text
//! resumen/1 1763794510734 6c78e0e3bd51d358d01e758642b85fb8 {"name":"btc","identity":"…","reading":{…},…}
//! ```
//!
//! The second word is the *stamp*: when the newest attempt began, in milliseconds on the store's clock. It stands there
//! in every version, so that an older release can tell that there is something newer even if it cannot read it. The
//! checksum is over all that follows it.

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{SourceRecord, Time};

use crate::store::SourceRecordDto;

/// The version that is written, and the only one that is read.
const STORED_STATE_VERSION: u64 = 1;

/// The largest letter that is written or read, in bytes.
pub(super) const MAX_STORED_STATE_BYTES: usize = 4 << 20;

/// Why bytes are no letter; fits after "the store's value is not used: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredStateError {
    /// Not written by this program, or changed since.
    #[error("it is no letter of a replica")]
    Damaged,
    /// Written by another release.
    #[error(
        "it has version {0} of the format and this release reads version {STORED_STATE_VERSION}"
    )]
    Version(u64),
    /// More than any replica writes.
    #[error("it has {0} bytes and at most {MAX_STORED_STATE_BYTES} are read")]
    Oversize(u64),
    /// Its instants are still to come: somebody's clock is wrong, or was.
    #[error("it comes from the future")]
    FromFuture,
}

/// The letter that tells of `saved`, whose instants are on the store's clock. None if no attempt is known or it would be
/// larger than anybody reads.
pub(super) fn encode_stored_state(saved: &SourceRecord) -> Option<Vec<u8>> {
    let stamp = saved.history.last_attempt?.as_millis();
    let body = serde_json::to_string(&SourceRecordDto::new(saved)).ok()?;
    let text = format!(
        "resumen/{STORED_STATE_VERSION} {stamp} {:032x} {body}",
        xxh3_128(body.as_bytes())
    );
    (text.len() <= MAX_STORED_STATE_BYTES).then(|| text.into_bytes())
}

/// What a letter tells, its instants on the store's clock.
pub(super) fn decode_stored_state(letter: &[u8]) -> Result<SourceRecord, StoredStateError> {
    if letter.len() > MAX_STORED_STATE_BYTES {
        return Err(StoredStateError::Oversize(letter.len() as u64));
    }
    let text = std::str::from_utf8(letter).map_err(|_| StoredStateError::Damaged)?;
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().ok_or(StoredStateError::Damaged);
    let version = word()?
        .strip_prefix("resumen/")
        .and_then(|text| text.parse().ok())
        .ok_or(StoredStateError::Damaged)?;
    if version != STORED_STATE_VERSION {
        return Err(StoredStateError::Version(version));
    }
    let (stamp, checksum, body) = (word()?, word()?, word()?);
    if checksum != format!("{:032x}", xxh3_128(body.as_bytes())) {
        return Err(StoredStateError::Damaged);
    }
    let saved = serde_json::from_str::<SourceRecordDto<'_>>(body)
        .ok()
        .and_then(SourceRecordDto::into_record);
    let stamped = |saved: &SourceRecord| {
        saved.history.last_attempt == stamp.parse().ok().map(Time::from_millis)
    };
    saved.filter(stamped).ok_or(StoredStateError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{AttemptHistory, JsonData, Name, Reading, SourceIdentity};

    fn sample_record() -> SourceRecord {
        let at = Time::from_millis(1_763_794_510_734);
        let name = Name::new("btc").unwrap();
        let reading = Reading {
            fetched_at: at,
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
                last_attempt: Some(at),
                ..AttemptHistory::default()
            },
        }
    }

    #[test]
    fn stored_state_round_trips() {
        let letter = encode_stored_state(&sample_record()).unwrap();
        assert!(
            letter.starts_with(b"resumen/1 1763794510734 "),
            "{}",
            String::from_utf8_lossy(&letter)
        );
        let read = decode_stored_state(&letter).unwrap();
        assert_eq!(
            (read.reading, read.history.last_attempt),
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
