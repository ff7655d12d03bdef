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

use crate::domain::{Saved, Time};

use super::super::wire::SavedWire;

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// The largest letter that is written or read, in bytes.
pub const LARGEST: usize = 4 << 20;

/// Why bytes are no letter; fits after "the store's value is not used: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// Not written by this program, or changed since.
    #[error("it is no letter of a replica")]
    Damaged,
    /// Written by another release.
    #[error("it has version {0} of the format and this release reads version {VERSION}")]
    Version(u64),
    /// More than any replica writes.
    #[error("it has {0} bytes and at most {LARGEST} are read")]
    Oversize(u64),
    /// Its instants are still to come: somebody's clock is wrong, or was.
    #[error("it comes from the future")]
    Future,
}

/// The letter that tells of `saved`, whose instants are on the store's clock. None if no attempt is known or it would be
/// larger than anybody reads.
pub fn encode(saved: &Saved) -> Option<Vec<u8>> {
    let stamp = saved.trail.last?.as_millis();
    let body = serde_json::to_string(&SavedWire::new(saved)).ok()?;
    let text = format!(
        "resumen/{VERSION} {stamp} {:032x} {body}",
        xxh3_128(body.as_bytes())
    );
    (text.len() <= LARGEST).then(|| text.into_bytes())
}

/// What a letter tells, its instants on the store's clock.
pub fn decode(letter: &[u8]) -> Result<Saved, LetterError> {
    if letter.len() > LARGEST {
        return Err(LetterError::Oversize(letter.len() as u64));
    }
    let text = std::str::from_utf8(letter).map_err(|_| LetterError::Damaged)?;
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().ok_or(LetterError::Damaged);
    let version = word()?
        .strip_prefix("resumen/")
        .and_then(|text| text.parse().ok())
        .ok_or(LetterError::Damaged)?;
    if version != VERSION {
        return Err(LetterError::Version(version));
    }
    let (stamp, checksum, body) = (word()?, word()?, word()?);
    if checksum != format!("{:032x}", xxh3_128(body.as_bytes())) {
        return Err(LetterError::Damaged);
    }
    let saved = serde_json::from_str::<SavedWire<'_>>(body)
        .ok()
        .and_then(SavedWire::saved);
    let stamped = |saved: &Saved| saved.trail.last == stamp.parse().ok().map(Time::from_millis);
    saved.filter(stamped).ok_or(LetterError::Damaged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Data, Identity, Name, Reading, Trail};

    fn saved() -> Saved {
        let at = Time::from_millis(1_763_794_510_734);
        let name = Name::new("btc").unwrap();
        let reading = Reading {
            fetched_at: at,
            provider: name.clone(),
            data: Data::from_checked("{\"usd\":0.10}"),
        };
        Saved {
            name,
            identity: Identity::from_text("0123456789abcdef0123456789abcdef").unwrap(),
            reading: Some(Arc::new(reading)),
            failure: None,
            stamps: Arc::default(),
            footing: Arc::default(),
            trail: Trail {
                last: Some(at),
                ..Trail::default()
            },
        }
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let letter = encode(&saved()).unwrap();
        assert!(
            letter.starts_with(b"resumen/1 1763794510734 "),
            "{}",
            String::from_utf8_lossy(&letter)
        );
        let read = decode(&letter).unwrap();
        assert_eq!(
            (read.reading, read.trail.last),
            (saved().reading, saved().trail.last)
        );
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        let text = String::from_utf8(encode(&saved()).unwrap()).unwrap();
        let newer = text.replacen("resumen/1", "resumen/2", 1);
        assert_eq!(
            decode(newer.as_bytes()).unwrap_err(),
            LetterError::Version(2)
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
                decode(garbage.as_bytes()).unwrap_err(),
                LetterError::Damaged,
                "{garbage}"
            );
        }
        assert_eq!(decode(&[0xff; 80]).unwrap_err(), LetterError::Damaged);
        assert_eq!(
            decode(&vec![b'x'; LARGEST + 1]).unwrap_err(),
            LetterError::Oversize(LARGEST as u64 + 1)
        );
    }

    #[test]
    fn nothing_is_told_of_a_source_that_nobody_asked() {
        assert!(
            encode(&Saved {
                trail: Trail::default(),
                ..saved()
            })
            .is_none()
        );
    }
}
