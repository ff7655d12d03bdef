//! The format of the state file: round trip, checksum, versions and ages.

use std::time::Duration;

use resumen::domain::ClockTimestamps;
use resumen::store::{StateFormatError, decode_state_file, encode_state_file};

use super::state_file::{SAMPLE_DATA, state_as_text, state_taken_at, time_at};

#[test]
fn saved_numbers_roundtrip() {
    let before = state_taken_at(time_at(30));
    let text = encode_state_file(&before);
    let after = decode_state_file(&text).unwrap().content;
    assert_eq!(state_as_text(&after), state_as_text(&before));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(SAMPLE_DATA), "{text}");
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert_eq!(text.lines().count(), 5, "one line per source: {text}");
}

#[test]
fn corruption_is_detected() {
    let text = encode_state_file(&state_taken_at(time_at(30)));
    for end in 0..text.len() {
        assert!(decode_state_file(&text[..end]).is_err(), "cut at {end}");
    }
    let mut flipped = text.clone();
    for position in 0..text.len() {
        for bit in 0..8 {
            flipped[position] = text[position] ^ (1 << bit);
            assert!(
                decode_state_file(&flipped).is_err(),
                "byte {position}, bit {bit}"
            );
        }
        flipped[position] = text[position];
    }
    assert!(decode_state_file(&flipped).is_ok());
}

#[test]
fn unknown_version_is_not_corruption() {
    let text = String::from_utf8(encode_state_file(&state_taken_at(time_at(1)))).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(
        decode_state_file(newer.as_bytes()).unwrap_err(),
        StateFormatError::Version(2)
    );
    let foreign = decode_state_file(b"[server]\nlisten = \"x\"\n").unwrap_err();
    assert!(matches!(foreign, StateFormatError::Damaged(_)), "{foreign}");
}

#[test]
fn unknown_fields_are_ignored() {
    let text = String::from_utf8(encode_state_file(&state_taken_at(time_at(1)))).unwrap();
    let body = text.split_once('\n').unwrap().1;
    let body = body
        .replace("\"failures\":2", "\"failures\":2,\"mood\":\"good\"")
        .replace("rate_limited", "tired");
    let checksum = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(body.as_bytes()));
    let head = format!(
        "{{\"format\":\"resumen-state\",\"version\":1,\"checksum\":\"{checksum}\",\"state\":\n"
    );
    let read = decode_state_file(format!("{head}{body}").as_bytes())
        .unwrap()
        .content;
    assert_eq!(read.source_records.len(), 2);
    assert!(
        read.source_records[0].reading.is_some() && read.source_records[0].failure.is_none(),
        "the code is unknown to this release"
    );
}

#[test]
fn restored_ages_use_own_clock() {
    let before = state_taken_at(time_at(30));
    let later = ClockTimestamps {
        program_time: time_at(60_030),
        wall_time: time_at(60_030),
        boot_uptime: None,
    };
    let records = before.clone().into_records_at(&later);
    assert_eq!(records[0].reading.as_ref().unwrap().fetched_at, time_at(10));
    let set_back = ClockTimestamps {
        program_time: time_at(-3_600_000),
        wall_time: time_at(-3_600_000),
        boot_uptime: None,
    };
    let records = before.into_records_at(&set_back);
    let age = set_back
        .program_time
        .since(records[0].reading.as_ref().unwrap().fetched_at);
    assert_eq!(
        age,
        Duration::from_millis(20),
        "the age is at least the age at the save"
    );
}
