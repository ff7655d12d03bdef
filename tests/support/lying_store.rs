//! The lies of a simulated store: replies that no store of this program gives, with right checksums,
//! made at random from true ones.

use std::collections::BTreeMap;
use std::time::Duration;

use resumen::domain::{SourceIdentity, Time, format_rfc3339, parse_rfc3339};
use resumen::replicas::{
    AcquireResponse, HeartbeatReply, LeasePhase, Notification, SourceLease, StoredState,
};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

fn pick<T: Copy>(choices: &[T]) -> T {
    choices[fastrand::usize(..choices.len())]
}

fn random_time(now: Time) -> Time {
    let offset = pick(&[
        0,
        -1,
        200,
        900,
        5_000,
        86_400_000,
        -86_400_000,
        i64::MAX / 4,
        i64::MIN / 4,
    ]);
    Time::from_millis(now.as_millis().saturating_add(offset))
}

fn random_token() -> String {
    let length = pick(&[0, 1, 37, 64, 65, 10_000]);
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}

/// A JSON value, or nearly one, to stand in the place of any member.
fn hostile_value(now: Time) -> String {
    match fastrand::u32(..14) {
        0 => {
            let levels = pick(&[63, 64, 65, 6_000]);
            format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
        }
        1 => r#"{"a":1,"a":2}"#.to_owned(),
        2 => pick(&["null", "true", "{}", "[]", "\"\"", "[null]", "{\"a\":null}"]).to_owned(),
        3 => pick(&["-1", "1e400", "18446744073709551615", "0.5", "NaN", "01"]).to_owned(),
        4 => format!("\"{}\"", "x".repeat(fastrand::usize(..5_000))),
        5 => r#""\u0000\n\u001b[31m\u202e\ud800""#.to_owned(),
        6 => format!("{{\"{}\":[1,{{\"b\":\"\\n\"}}]}}", "k".repeat(300)),
        7 => "\"../x\"".to_owned(),
        8 => format!("\"{}\"", pick(&["pending", "expired", "timeout", "tired"])),
        9 => format!("\"{:032x}\"", fastrand::u128(..)),
        10 => "[[\"p\",\"1960-01-01T00:00:00Z\"],[\"q\"]]".to_owned(),
        _ => format!("\"{}\"", format_rfc3339(random_time(now))),
    }
}

/// `json` with one member or item replaced, removed, doubled or added, at any depth.
fn forge_json(json: &str, now: Time) -> String {
    let raw = |text: &RawValue| text.get().to_owned();
    let forge = |text: &str| {
        if text.starts_with(['{', '[']) && fastrand::bool() {
            forge_json(text, now)
        } else {
            hostile_value(now)
        }
    };
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
        let mut items: Vec<String> = items.into_iter().map(raw).collect();
        if items.is_empty() {
            return hostile_value(now);
        }
        let place = fastrand::usize(..items.len());
        items[place] = forge(&items[place]);
        return format!("[{}]", items.join(","));
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
    let mut members: Vec<(String, String)> = members
        .into_iter()
        .map(|(name, value)| (name, raw(value)))
        .collect();
    if members.is_empty() {
        return hostile_value(now);
    }
    let place = fastrand::usize(..members.len());
    match fastrand::u32(..8) {
        0 => drop(members.remove(place)),
        1 => members.push(members[place].clone()),
        2 => members.push(("surprise".to_owned(), hostile_value(now))),
        _ => members[place].1 = forge(&members[place].1),
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap()))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Other bytes than those that a replica has stored.
fn forge_bytes(bytes: &[u8], now: Time) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Some(body) = text.splitn(4, ' ').nth(3) else {
        return vec![fastrand::u8(..); fastrand::usize(..2_000)];
    };
    let mut body = body.to_owned();
    for _ in 0..fastrand::u32(1..4) {
        body = forge_json(&body, now);
    }
    if fastrand::u32(..10) == 0 {
        let mut bytes = bytes.to_vec();
        let place = fastrand::usize(..bytes.len());
        bytes[place] ^= 1 << fastrand::u32(..8);
        return bytes;
    }
    let at = body.split("\"last_attempt\":\"").nth(1);
    let at = at.and_then(|rest| parse_rfc3339(rest.split('"').next()?));
    let at = at.unwrap_or(now).as_millis();
    let checksum = xxh3_128(body.as_bytes());
    format!("resumen/1 {at} {checksum:032x} {body}").into_bytes()
}

fn random_state(true_state: Option<StoredState>, now: Time) -> StoredState {
    match true_state {
        Some(StoredState::Bytes(bytes)) if fastrand::u32(..20) > 0 => {
            StoredState::Bytes(forge_bytes(&bytes, now))
        }
        _ if fastrand::bool() => StoredState::Oversize(fastrand::u64(..)),
        _ => StoredState::Bytes(vec![fastrand::u8(..); fastrand::usize(..2_000)]),
    }
}

/// A false reply to a request for a lease.
pub fn forge_acquire_response(response: AcquireResponse, now: Time) -> AcquireResponse {
    let true_state = match response {
        AcquireResponse::NewerState(state) => Some(state),
        AcquireResponse::Held { newer_state, .. } => newer_state,
        AcquireResponse::Granted => None,
    };
    match fastrand::u32(..3) {
        0 => AcquireResponse::Granted,
        1 => AcquireResponse::NewerState(random_state(true_state, now)),
        _ => AcquireResponse::Held {
            lease: SourceLease {
                phase: pick(&[LeasePhase::InFlight, LeasePhase::CoolingDown]),
                token: random_token(),
                started_at: random_time(now),
            },
            remaining: pick(&[Duration::ZERO, Duration::from_secs(1), Duration::MAX]),
            newer_state: true_state.map(|state| random_state(Some(state), now)),
        },
    }
}

/// False states: others, too many or too few.
pub fn forge_states(states: Vec<Option<StoredState>>, now: Time) -> Vec<Option<StoredState>> {
    let count = pick(&[states.len(), states.len(), 0, states.len() + 1]);
    let mut states = states.into_iter();
    (0..count)
        .map(|_| {
            let state = states.next().flatten();
            fastrand::bool().then(|| random_state(state, now))
        })
        .collect()
}

/// A false time and a false number of replicas.
pub fn forge_heartbeat(reply: HeartbeatReply, now: Time) -> HeartbeatReply {
    HeartbeatReply {
        store_time_us: pick(&[
            reply.store_time_us,
            random_time(now).as_millis().saturating_mul(1000),
            i64::MAX,
            i64::MIN,
            -1,
        ]),
        live_replicas: pick(&[0, 1, reply.live_replicas, 1_000, u32::MAX]),
    }
}

/// Notifications that no replica has sent; half of them concern `identity`.
pub fn forge_notifications(identity: SourceIdentity) -> Vec<Notification> {
    let count = pick(&[0, 0, 1, 3, 6_000]);
    let forge = |_| Notification {
        identity: if fastrand::bool() {
            identity
        } else {
            SourceIdentity::from_text(&format!("{:032x}", fastrand::u128(..))).unwrap()
        },
        token: random_token(),
        has_state: fastrand::bool(),
    };
    (0..count).map(forge).collect()
}
