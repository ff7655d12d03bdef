//! The state file: what is saved comes back, and nothing but that ever does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{
    Code, Data, End, Failure, Identity, Lapse, Moment, Name, Reading, Saved, SinceBoot, Streak,
    Time, Trail, Try,
};
use resumen::store::{FormatError, State, StateFile, StoreError, decode, encode};
use tempfile::TempDir;

use crate::support::{claim, claimed};

const DATA: &str =
    r#"{"usd":0.1000,"big":123456789012345678901234567890,"e":1e400,"text":"ñ \" \u0000"}"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(millis: i64) -> Time {
    Time::from_millis(1_795_330_510_000 + millis)
}

/// A state that has everything, taken at this moment.
fn state(taken: Time) -> State {
    let failure = Failure::new(Code::RateLimited, "HTTP 429 \"slow\ndown\"");
    let one = Try {
        provider: name("p"),
        at: at(20),
        took: Duration::from_micros(84_213),
        end: End::Failed(failure.clone()),
        held_until: Some(at(99_000)),
    };
    let trail = Trail {
        last: Some(at(20)),
        took: Some(Duration::from_micros(84_213)),
        failing_since: Some(at(15)),
        failures: 2,
        next: None,
        tries: Arc::new([one]),
        streaks: Arc::new([Streak {
            provider: name("p"),
            since: at(15),
            failures: 3,
        }]),
    };
    let btc = Saved {
        name: name("btc"),
        identity: Identity::from_text(&"a7".repeat(16)).unwrap(),
        reading: Some(Arc::new(Reading {
            fetched_at: at(10),
            provider: name("p"),
            data: Data::from_checked(DATA),
        })),
        failure: Some(Arc::new(Lapse {
            at: at(20),
            failure,
        })),
        stamps: Arc::new([(name("a"), at(1))]),
        footing: Arc::new([(name("a"), at(2))]),
        trail,
    };
    let empty = Saved {
        name: name("usd"),
        reading: None,
        failure: None,
        stamps: Arc::default(),
        footing: Arc::default(),
        trail: Trail {
            last: Some(at(3)),
            ..Trail::default()
        },
        ..btc.clone()
    };
    let boot = Some(SinceBoot {
        id: "b".into(),
        up: Duration::from_millis(777),
    });
    State {
        taken: Moment {
            at: taken,
            wall: at(5),
            boot,
        },
        sources: vec![btc, empty],
    }
}

fn shown(state: &State) -> String {
    format!("{state:?}")
}

fn files(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A folder with a state file of two generations, taken at 1 and at 2.
fn two_generations() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let file = claimed(&path);
    file.save(&state(at(1))).unwrap();
    file.save(&state(at(2))).unwrap();
    (folder, path)
}

fn taken(path: &Path) -> (Option<Time>, Vec<String>) {
    let file = claimed(path);
    let loaded = file.load();
    (loaded.state.map(|state| state.taken.at), loaded.warnings)
}

#[test]
fn what_is_written_is_read_digit_for_digit() {
    let before = state(at(30));
    let text = encode(&before);
    let after = decode(&text).unwrap();
    assert_eq!(shown(&after), shown(&before));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(DATA), "{text}");
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert_eq!(
        text.lines().count(),
        5,
        "one line per source, so that a person can read it: {text}"
    );
}

#[test]
fn no_cut_and_no_flipped_bit_goes_unseen() {
    let text = encode(&state(at(30)));
    for end in 0..text.len() {
        assert!(decode(&text[..end]).is_err(), "cut at {end}");
    }
    let mut flipped = text.clone();
    for position in 0..text.len() {
        for bit in 0..8 {
            flipped[position] = text[position] ^ (1 << bit);
            assert!(decode(&flipped).is_err(), "byte {position}, bit {bit}");
        }
        flipped[position] = text[position];
    }
    assert!(decode(&flipped).is_ok());
}

#[test]
fn another_version_is_told_from_damage() {
    let text = String::from_utf8(encode(&state(at(1)))).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(
        decode(newer.as_bytes()).unwrap_err(),
        FormatError::Version(2)
    );
    let foreign = decode(b"[server]\nlisten = \"x\"\n").unwrap_err();
    assert!(matches!(foreign, FormatError::Damaged(_)), "{foreign}");
}

#[test]
fn the_newest_whole_generation_is_read() {
    let (folder, path) = two_generations();
    assert_eq!(taken(&path), (Some(at(2)), vec![]));
    fs::remove_file(&path).unwrap();
    assert_eq!(
        taken(&path),
        (Some(at(1)), vec![]),
        "stopped between two renames"
    );
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(
        taken(&path),
        (None, vec![]),
        "nothing is said of a first start"
    );
}

#[test]
fn a_damaged_file_is_set_aside_and_said() {
    let (folder, path) = two_generations();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (state, warnings) = taken(&path);
    assert_eq!(state, Some(at(1)));
    assert!(
        warnings.len() == 1 && warnings[0].contains("damaged") && warnings[0].contains("set aside"),
        "{warnings:?}"
    );
    let left = files(&folder);
    let aside = left
        .iter()
        .find(|name| name.starts_with("resumen.json.damaged-"))
        .unwrap();
    assert_eq!(
        fs::read(folder.path().join(aside)).unwrap(),
        whole[..whole.len() / 2]
    );
    assert!(!left.contains(&"resumen.json".into()), "{left:?}");
}

#[test]
fn the_file_of_a_newer_release_is_kept_for_it() {
    let (folder, path) = two_generations();
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replacen("\"version\":1", "\"version\":7", 1);
    fs::write(&path, &newer).unwrap();
    let (state, warnings) = taken(&path);
    assert_eq!(state, Some(at(1)));
    assert!(warnings[0].contains("version 7"), "{warnings:?}");
    assert_eq!(
        fs::read_to_string(folder.path().join("resumen.json.version-7")).unwrap(),
        newer
    );
}

#[test]
fn only_one_program_writes() {
    let (folder, path) = two_generations();
    let first = claimed(&path);
    assert!(!first.claim().unwrap(), "it has it already");
    let second = StateFile::new(&path);
    assert!(matches!(second.claim().unwrap_err(), StoreError::Busy(_)));
    assert!(matches!(
        second.save(&state(at(3))).unwrap_err(),
        StoreError::Busy(_)
    ));
    fs::write(&path, "damaged").unwrap();
    assert_eq!(
        second.load().state.map(|state| state.taken.at),
        Some(at(1)),
        "it may read"
    );
    assert!(
        files(&folder).contains(&"resumen.json".into()),
        "but moves nothing"
    );
    drop(first);
    claim(&second);
    assert!(
        !second.claim().unwrap(),
        "when the first ends, the second takes over"
    );
}

#[test]
fn a_save_makes_what_it_needs_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/state/resumen.json");
    claimed(&path).save(&state(at(1))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    fs::write(path.with_extension("json.tmp"), "left behind by a kill").unwrap();
    claimed(&path).save(&state(at(2))).unwrap();
    assert_eq!(taken(&path), (Some(at(2)), vec![]));
}

#[test]
fn what_is_no_file_is_neither_read_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    fs::create_dir(&path).unwrap();
    let (state_there, warnings) = taken(&path);
    assert_eq!(state_there, None);
    assert!(warnings[0].contains("not a regular file"), "{warnings:?}");
    assert!(matches!(
        claimed(&path).save(&state(at(1))).unwrap_err(),
        StoreError::NotAFile(_)
    ));
    assert!(path.is_dir());
}

#[test]
fn a_link_is_followed_to_where_the_file_is_kept() {
    let (folder, path) = two_generations();
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    claimed(&link).save(&state(at(9))).unwrap();
    assert!(link.is_symlink());
    assert_eq!(taken(&path).0, Some(at(9)));
}

#[test]
fn a_link_to_where_nothing_is_yet_is_followed_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (
        folder.path().join("kept.json"),
        folder.path().join("link.json"),
    );
    std::os::unix::fs::symlink("kept.json", &link).unwrap();
    claimed(&link).save(&state(at(9))).unwrap();
    assert!(link.is_symlink());
    assert_eq!(taken(&path).0, Some(at(9)));
}

#[test]
fn whoever_removes_the_folder_takes_the_lock_along() {
    let (folder, path) = two_generations();
    let first = claimed(&path);
    fs::remove_dir_all(folder.path()).unwrap();
    let second = claimed(&path);
    assert!(
        matches!(first.save(&state(at(3))).unwrap_err(), StoreError::Busy(_)),
        "only one of them writes"
    );
    second.save(&state(at(4))).unwrap();
    drop(second);
    claim(&first);
    first.save(&state(at(5))).unwrap();
    drop(first);
    assert_eq!(taken(&path), (Some(at(5)), vec![]));
}

#[test]
fn pipes_in_the_place_of_the_file_and_of_its_lock_hang_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let make = |path: &Path| {
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            path,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
    };
    make(&path).unwrap();
    assert!(taken(&path).1[0].contains("not a regular file"));
    assert!(matches!(
        claimed(&path).save(&state(at(1))).unwrap_err(),
        StoreError::NotAFile(_)
    ));
    let other = folder.path().join("other.json");
    make(&other.with_extension("json.lock")).unwrap();
    let refused = StateFile::new(&other).claim().unwrap_err();
    assert!(refused.to_string().contains("other.json.lock"), "{refused}");
}

#[test]
fn ten_thousand_sources_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let one = state(at(1)).sources[0].clone();
    let named = |n: usize| Saved {
        name: name(&format!("s{n}")),
        ..one.clone()
    };
    let many = State {
        sources: (0..10_000).map(named).collect(),
        ..state(at(1))
    };
    claimed(&path).save(&many).unwrap();
    let file = claimed(&path);
    assert_eq!(shown(&file.load().state.unwrap()), shown(&many));
}

#[test]
fn what_came_from_a_later_release_of_this_version_is_passed_over() {
    let text = String::from_utf8(encode(&state(at(1)))).unwrap();
    let body = text.split_once('\n').unwrap().1;
    let body = body
        .replace("\"failures\":2", "\"failures\":2,\"mood\":\"good\"")
        .replace("rate_limited", "tired");
    let checksum = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(body.as_bytes()));
    let head = format!(
        "{{\"format\":\"resumen-state\",\"version\":1,\"checksum\":\"{checksum}\",\"state\":\n"
    );
    let read = decode(format!("{head}{body}").as_bytes()).unwrap();
    assert_eq!(read.sources.len(), 2);
    assert!(
        read.sources[0].reading.is_some() && read.sources[0].failure.is_none(),
        "a code that is not known yet"
    );
}

#[test]
fn a_run_reads_the_ages_of_the_one_before_on_its_own_clock() {
    let before = state(at(30));
    let later = Moment {
        at: at(60_030),
        wall: at(60_030),
        boot: None,
    };
    let seen = before.clone().seen_from(&later);
    assert_eq!(seen[0].reading.as_ref().unwrap().fetched_at, at(10));
    let set_back = Moment {
        at: at(-3_600_000),
        wall: at(-3_600_000),
        boot: None,
    };
    let seen = before.seen_from(&set_back);
    let age = set_back
        .at
        .since(seen[0].reading.as_ref().unwrap().fetched_at);
    assert_eq!(
        age,
        Duration::from_millis(20),
        "as old as when it was saved, not brand new"
    );
}
