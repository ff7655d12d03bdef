//! The state file on disk: generations, locks, permissions and damaged files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{
    AttemptHistory, BootUptime, ClockTimestamps, Code, Failure, FailureRecord, FailureStreak,
    JsonData, Name, ProviderAttempt, ProviderAttemptResult, Reading, SourceIdentity, SourceRecord,
    Time,
};
use resumen::store::{StateFile, StateFileContent, StateFileError};
use tempfile::TempDir;

use crate::support::{claim_with_retry, open_claimed_state_file};

pub const SAMPLE_DATA: &str =
    r#"{"usd":0.1000,"big":123456789012345678901234567890,"e":1e400,"text":"ñ \" \u0000"}"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn time_at(millis: i64) -> Time {
    Time::from_millis(1_795_330_510_000 + millis)
}

/// A state with every field, taken at this time.
pub fn state_taken_at(taken: Time) -> StateFileContent {
    let failure = Failure::new(Code::RateLimited, "HTTP 429 \"slow\\ndown\"");
    let attempt = ProviderAttempt {
        provider: name("p"),
        started_at: time_at(20),
        duration: Duration::from_micros(84_213),
        result: ProviderAttemptResult::Failed(failure.clone()),
        held_until: Some(time_at(99_000)),
    };
    let history = AttemptHistory {
        last_attempt: Some(time_at(20)),
        last_duration: Some(Duration::from_micros(84_213)),
        failing_since: Some(time_at(15)),
        failure_count: 2,
        next_attempt: None,
        provider_attempts: Arc::new([attempt]),
        failure_streaks: Arc::new([FailureStreak {
            provider: name("p"),
            since: time_at(15),
            failure_count: 3,
        }]),
    };
    let btc = SourceRecord {
        name: name("btc"),
        identity: SourceIdentity::from_text(&"a7".repeat(16)).unwrap(),
        reading: Some(Arc::new(Reading {
            fetched_at: time_at(10),
            provider: name("p"),
            data: JsonData::from_checked(SAMPLE_DATA),
            extra_ttl: Duration::ZERO,
        })),
        failure: Some(Arc::new(FailureRecord {
            started_at: time_at(20),
            failure,
        })),
        reading_input_versions: Arc::new([(name("a"), time_at(1))]),
        latest_input_versions: Arc::new([(name("a"), time_at(2))]),
        history,
    };
    let empty = SourceRecord {
        name: name("usd"),
        reading: None,
        failure: None,
        reading_input_versions: Arc::default(),
        latest_input_versions: Arc::default(),
        history: AttemptHistory {
            last_attempt: Some(time_at(3)),
            ..AttemptHistory::default()
        },
        ..btc.clone()
    };
    let boot = Some(BootUptime {
        boot_id: "b".into(),
        uptime: Duration::from_millis(777),
    });
    StateFileContent {
        taken_at: ClockTimestamps {
            program_time: taken,
            wall_time: time_at(5),
            boot_uptime: boot,
        },
        source_records: vec![btc, empty],
    }
}

pub fn state_as_text(state: &StateFileContent) -> String {
    format!("{state:?}")
}

fn file_names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A folder with a state file of two generations, taken at 1 ms and at 2 ms.
fn save_two_generations() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let file = open_claimed_state_file(&path);
    file.save(&state_taken_at(time_at(1))).unwrap();
    file.save(&state_taken_at(time_at(2))).unwrap();
    (folder, path)
}

fn restored_generation(path: &Path) -> (Option<Time>, Vec<String>) {
    let file = open_claimed_state_file(path);
    let loaded = file.load();
    (
        loaded.content.map(|state| state.taken_at.program_time),
        loaded.warnings,
    )
}

#[test]
fn newest_generation_is_read() {
    let (folder, path) = save_two_generations();
    assert_eq!(restored_generation(&path), (Some(time_at(2)), vec![]));
    fs::remove_file(&path).unwrap();
    assert_eq!(
        restored_generation(&path),
        (Some(time_at(1)), vec![]),
        "stopped between two renames"
    );
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(
        restored_generation(&path),
        (None, vec![]),
        "a first start has no warning"
    );
}

#[test]
fn corrupt_file_is_set_aside() {
    let (folder, path) = save_two_generations();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (state, warnings) = restored_generation(&path);
    assert_eq!(state, Some(time_at(1)));
    assert!(
        warnings.len() == 1 && warnings[0].contains("damaged") && warnings[0].contains("set aside"),
        "{warnings:?}"
    );
    let names = file_names(&folder);
    let damaged = names
        .iter()
        .find(|name| name.starts_with("resumen.json.damaged-"))
        .unwrap();
    assert_eq!(
        fs::read(folder.path().join(damaged)).unwrap(),
        whole[..whole.len() / 2]
    );
    assert!(!names.contains(&"resumen.json".into()), "{names:?}");
}

#[test]
fn newer_release_file_is_kept() {
    let (folder, path) = save_two_generations();
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replacen("\"version\":1", "\"version\":7", 1);
    fs::write(&path, &newer).unwrap();
    let (state, warnings) = restored_generation(&path);
    assert_eq!(state, Some(time_at(1)));
    assert!(warnings[0].contains("version 7"), "{warnings:?}");
    assert_eq!(
        fs::read_to_string(folder.path().join("resumen.json.version-7")).unwrap(),
        newer
    );
}

#[test]
fn only_one_process_writes() {
    let (folder, path) = save_two_generations();
    let first = open_claimed_state_file(&path);
    assert!(
        !first.acquire_write_lock().unwrap(),
        "the lock is held already"
    );
    let second = StateFile::new(&path);
    assert!(matches!(
        second.acquire_write_lock().unwrap_err(),
        StateFileError::Busy(_)
    ));
    assert!(matches!(
        second.save(&state_taken_at(time_at(3))).unwrap_err(),
        StateFileError::Busy(_)
    ));
    fs::write(&path, "damaged").unwrap();
    assert_eq!(
        second
            .load()
            .content
            .map(|state| state.taken_at.program_time),
        Some(time_at(1)),
        "a reader needs no lock"
    );
    assert!(
        file_names(&folder).contains(&"resumen.json".into()),
        "a reader moves no file"
    );
    drop(first);
    claim_with_retry(&second);
    assert!(
        !second.acquire_write_lock().unwrap(),
        "the second process acquires the released lock"
    );
}

/// A link in a folder that others can write must not make this process create or open a file elsewhere.
#[test]
fn lock_follows_no_symbolic_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let (lock, elsewhere) = (
        path.with_extension("json.lock"),
        folder.path().join("elsewhere"),
    );
    for is_present in [false, true] {
        if is_present {
            fs::write(&elsewhere, "content").unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, &lock).unwrap();
        let error = StateFile::new(&path).acquire_write_lock().unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("resumen.json.lock: it is not a regular file"),
            "{text}"
        );
        assert_eq!(elsewhere.exists(), is_present);
        fs::remove_file(&lock).unwrap();
    }
    fs::create_dir(&lock).unwrap();
    let error = StateFile::new(&path).acquire_write_lock().unwrap_err();
    assert!(matches!(error, StateFileError::NotALockFile(_)), "{error}");
    fs::remove_dir(&lock).unwrap();
    // The temporary file is created anew, too.
    std::os::unix::fs::symlink(&elsewhere, path.with_extension("json.tmp")).unwrap();
    let file = open_claimed_state_file(&path);
    file.save(&state_taken_at(time_at(1))).unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "content");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn saved_files_are_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/state/resumen.json");
    open_claimed_state_file(&path)
        .save(&state_taken_at(time_at(1)))
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    fs::write(path.with_extension("json.tmp"), "left behind by a kill").unwrap();
    open_claimed_state_file(&path)
        .save(&state_taken_at(time_at(2)))
        .unwrap();
    assert_eq!(restored_generation(&path), (Some(time_at(2)), vec![]));
}

#[test]
fn special_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    fs::create_dir(&path).unwrap();
    let (state_there, warnings) = restored_generation(&path);
    assert_eq!(state_there, None);
    assert!(warnings[0].contains("not a regular file"), "{warnings:?}");
    assert!(matches!(
        open_claimed_state_file(&path)
            .save(&state_taken_at(time_at(1)))
            .unwrap_err(),
        StateFileError::NotAFile(_)
    ));
    assert!(path.is_dir());
}

#[test]
fn symlink_target_is_used() {
    let (folder, path) = save_two_generations();
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    open_claimed_state_file(&link)
        .save(&state_taken_at(time_at(9)))
        .unwrap();
    assert!(link.is_symlink());
    assert_eq!(restored_generation(&path).0, Some(time_at(9)));
}

#[test]
fn dangling_symlink_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (
        folder.path().join("kept.json"),
        folder.path().join("link.json"),
    );
    std::os::unix::fs::symlink("kept.json", &link).unwrap();
    open_claimed_state_file(&link)
        .save(&state_taken_at(time_at(9)))
        .unwrap();
    assert!(link.is_symlink());
    assert_eq!(restored_generation(&path).0, Some(time_at(9)));
}

#[test]
fn removed_folder_releases_lock() {
    let (folder, path) = save_two_generations();
    let first = open_claimed_state_file(&path);
    fs::remove_dir_all(folder.path()).unwrap();
    let second = open_claimed_state_file(&path);
    assert!(
        matches!(
            first.save(&state_taken_at(time_at(3))).unwrap_err(),
            StateFileError::Busy(_)
        ),
        "the lock of the removed folder is void"
    );
    second.save(&state_taken_at(time_at(4))).unwrap();
    drop(second);
    claim_with_retry(&first);
    first.save(&state_taken_at(time_at(5))).unwrap();
    drop(first);
    assert_eq!(restored_generation(&path), (Some(time_at(5)), vec![]));
}

#[test]
fn named_pipes_do_not_block() {
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
    assert!(restored_generation(&path).1[0].contains("not a regular file"));
    assert!(matches!(
        open_claimed_state_file(&path)
            .save(&state_taken_at(time_at(1)))
            .unwrap_err(),
        StateFileError::NotAFile(_)
    ));
    let other = folder.path().join("other.json");
    make(&other.with_extension("json.lock")).unwrap();
    let error = StateFile::new(&other).acquire_write_lock().unwrap_err();
    assert!(error.to_string().contains("other.json.lock"), "{error}");
}

#[test]
fn ten_thousand_sources_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.json");
    let first = state_taken_at(time_at(1)).source_records[0].clone();
    let record = |n: usize| SourceRecord {
        name: name(&format!("s{n}")),
        ..first.clone()
    };
    let many = StateFileContent {
        source_records: (0..10_000).map(record).collect(),
        ..state_taken_at(time_at(1))
    };
    open_claimed_state_file(&path).save(&many).unwrap();
    let file = open_claimed_state_file(&path);
    assert_eq!(
        state_as_text(&file.load().content.unwrap()),
        state_as_text(&many)
    );
}
