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

use crate::domain::{SourceIdentity, SourceRecord, Time};
use crate::store::{RecordError, SourceRecordDto};

/// The version that is written, and the only one that is read.
const STORED_STATE_VERSION: u64 = 1;

/// Maximum size of a state that is written or read, in bytes.
pub(super) const MAX_STORED_STATE_BYTES: usize = 4 << 20;

/// Why bytes are not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoredStateError {
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
    /// A time in it is in the future, or before 1970: a clock is wrong, or was.
    #[error("a time in it is in the future or before 1970")]
    ImplausibleTime,
    /// The state is of another source than its key.
    #[error("it is the state of another source")]
    OtherSource,
    /// This program could not have written the state.
    #[error("{0}")]
    Refused(RecordError),
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

/// Decodes and checks the state of the source `identity`; its times are on the store's clock.
pub(super) fn decode_stored_state(
    identity: SourceIdentity,
    bytes: &[u8],
) -> Result<SourceRecord, StoredStateError> {
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
    let record = SourceRecordDto::parse_record(body).map_err(StoredStateError::Refused)?;
    if record.identity != identity {
        return Err(StoredStateError::OtherSource);
    }
    let started_at = started_at.parse().ok().map(Time::from_millis);
    if record.history.last_attempt != started_at {
        return Err(StoredStateError::Damaged);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::{AttemptHistory, JsonData, Name, Reading, SourceIdentity};

    fn sample_identity() -> SourceIdentity {
        SourceIdentity::from_text("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn decode_sample(bytes: &[u8]) -> Result<SourceRecord, StoredStateError> {
        decode_stored_state(sample_identity(), bytes)
    }

    fn sample_record() -> SourceRecord {
        let started_at = Time::from_millis(1_763_794_510_734);
        let name = Name::new("btc").unwrap();
        let reading = Reading {
            fetched_at: started_at,
            provider: name.clone(),
            data: JsonData::from_checked("{\"usd\":0.10}"),
            extra_ttl: Duration::ZERO,
        };
        SourceRecord {
            name,
            identity: sample_identity(),
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
        let decoded = decode_sample(&encoded).unwrap();
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
            decode_sample(newer.as_bytes()).unwrap_err(),
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
                decode_sample(garbage.as_bytes()).unwrap_err(),
                StoredStateError::Damaged,
                "{garbage}"
            );
        }
        assert_eq!(
            decode_sample(&[0xff; 80]).unwrap_err(),
            StoredStateError::Damaged
        );
        assert_eq!(
            decode_sample(&vec![b'x'; MAX_STORED_STATE_BYTES + 1]).unwrap_err(),
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

    /// The sample with a part of its JSON replaced, under a right checksum.
    fn forge_sample(part: &str, replacement: &str) -> Vec<u8> {
        let text = String::from_utf8(encode_stored_state(&sample_record()).unwrap()).unwrap();
        let body = text.splitn(4, ' ').nth(3).unwrap();
        assert!(body.contains(part), "{part} in {body}");
        let body = body.replacen(part, replacement, 1);
        let checksum = xxh3_128(body.as_bytes());
        format!("resumen/1 1763794510734 {checksum:032x} {body}").into_bytes()
    }

    #[test]
    fn forged_state_is_refused() {
        let deep = format!("{}1{}", "[".repeat(6_000), "]".repeat(6_000));
        let identity = sample_identity().to_string();
        for (part, replacement, reason) in [
            ("{\"usd\":0.10}", deep.as_str(), "nests deeper"),
            ("{\"usd\":0.10}", "{\"usd\":1,\"usd\":2}", "a name twice"),
            ("{\"usd\":0.10}", "null", "nothing but null"),
            ("0.10", "NaN", "its members"),
            (&identity, &"f".repeat(32), "another source"),
            ("\"btc\"", "\"../btc\"", "its name"),
            ("\"failures\":0", "\"failures\":-1", "its members"),
            ("2025-11-22", "1925-11-22", "before 1970"),
            (
                "\"failures\":0",
                "\"failures\":0,\"failures\":0",
                "its members",
            ),
        ] {
            let error = decode_sample(&forge_sample(part, replacement)).unwrap_err();
            assert!(error.to_string().contains(reason), "{replacement}: {error}");
        }
        let unknown = format!("\"failures\":0,\"x\":{deep}");
        let forged = forge_sample("\"failures\":0", &unknown);
        assert!(
            decode_sample(&forged).is_ok(),
            "unknown members are ignored"
        );
    }

    #[test]
    fn foreign_message_is_bounded() {
        let failure = |code: &str, message: &str| {
            let member = format!(
                "\"failure\":{{\"at\":\"2025-11-22T06:55:10.734Z\",\"code\":\"{code}\",\"error\":\"{message}\"}},\"failures\":1"
            );
            let forged = forge_sample("\"failures\":0", &member);
            decode_sample(&forged).unwrap().failure
        };
        let long = failure("timeout", &"x".repeat(1_000_000)).unwrap();
        assert_eq!(long.failure.message.chars().count(), 2001);
        let escaped = failure("timeout", "a\\n\\u001b[31m\\u202e\\\\").unwrap();
        assert_eq!(&*escaped.failure.message, "a\\n\\u{1b}[31m\\u{202e}\\\\");
        for code in ["pending", "expired", "tired"] {
            assert_eq!(failure(code, "x"), None, "{code} is no attempt's code");
        }
    }
}
