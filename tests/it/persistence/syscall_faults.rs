//! A save that stops or fails at any of its system calls leaves a whole generation behind.
//!
//! Needs `strace`. Where it is missing or not permitted, this is skipped and says so; `RESUMEN_REQUIRE_ALL=1` makes that
//! a failure.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use resumen::domain::{ClockTimestamps, Time};
use resumen::store::StateFileContent;

use crate::support::open_claimed_state_file;

/// The variable by which the process under `strace` is told to save, and where.
const SAVE_PATH_VARIABLE: &str = "RESUMEN_TEST_SAVE_HERE";

fn state_at(taken: i64) -> StateFileContent {
    let at = Time::from_millis(taken);
    StateFileContent {
        taken_at: ClockTimestamps {
            program_time: at,
            wall_time: at,
            boot_uptime: None,
        },
        source_records: Vec::new(),
    }
}

/// Not a test: what runs under `strace`. Its exit tells whether the save claimed to have worked.
#[test]
#[ignore = "run by the others of this file, in a process of its own"]
fn child_saves_once() {
    let Some(path) = env::var_os(SAVE_PATH_VARIABLE) else {
        return;
    };
    open_claimed_state_file(Path::new(&path))
        .save(&state_at(3))
        .unwrap();
}

/// Saves generation 3 over 1 and 2 under `strace` with these options; sees only the calls that touch the files.
fn save_under_strace(folder: &Path, options: &[&str]) -> Output {
    let path = folder.join("resumen.json");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq"])
        .args(options)
        .arg("-P")
        .arg(folder);
    for end in ["", ".tmp", ".previous", ".lock"] {
        command.arg("-P").arg(format!("{}{end}", path.display()));
    }
    command.arg(env::current_exe().unwrap()).args([
        "--exact",
        "--ignored",
        "persistence::syscall_faults::child_saves_once",
    ]);
    command.env(SAVE_PATH_VARIABLE, &path).output().unwrap()
}

/// The system calls of a save: each with how many of its name came up to it, itself included.
fn count_save_syscalls() -> Vec<(String, usize)> {
    let folder = save_two_generations();
    let output = save_under_strace(folder.path(), &[]);
    let trace = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{trace}");
    let mut calls: Vec<(String, usize)> = Vec::new();
    for line in trace.lines() {
        // `[pid 123] rename("…", "…") = 0`
        let call = line.split_once("] ").map_or(line, |(_, call)| call);
        let Some((name, _)) = call.split_once('(') else {
            continue;
        };
        let number = calls.iter().filter(|(known, _)| known == name).count() + 1;
        calls.push((name.to_owned(), number));
    }
    calls
}

fn save_two_generations() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = open_claimed_state_file(&folder.path().join("resumen.json"));
    (1..3).for_each(|taken| file.save(&state_at(taken)).unwrap());
    folder
}

/// Which generation a start after that finds.
fn restored_generation(folder: &Path) -> (Option<i64>, Vec<String>) {
    let file = open_claimed_state_file(&folder.join("resumen.json"));
    let loaded = file.load();
    (
        loaded
            .content
            .map(|state| state.taken_at.program_time.as_millis()),
        loaded.warnings,
    )
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn is_strace_available() -> bool {
    let probe = Command::new("strace")
        .args(["-f", "-qq", "-e", "inject=all:error=EIO:when=60000", "true"])
        .output();
    let works = probe.is_ok_and(|output| output.status.success());
    let required = env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(works || !required, "strace is missing or not permitted");
    if !works {
        eprintln!("skipped: strace is missing or not permitted");
    }
    works
}

/// Lets every system call of a save suffer this in turn.
fn inject_at_every_syscall(fault: &str) {
    let calls = count_save_syscalls();
    assert!(
        calls.len() >= 10,
        "are the paths still those of a save? {calls:?}"
    );
    for (name, number) in calls {
        let folder = save_two_generations();
        let output = save_under_strace(
            folder.path(),
            &["-e", &format!("inject={name}:{fault}:when={number}")],
        );
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        let hit = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
        assert!(hit, "nothing happened at {name} {number}:\n{trace}");
        let (taken, warnings) = restored_generation(folder.path());
        let saved = output.status.success();
        assert!(
            warnings.is_empty(),
            "{fault} at {name} {number}: {warnings:?}\n{trace}"
        );
        assert!(
            taken == Some(3) || (taken == Some(2) && !saved),
            "{fault} at {name} {number}: {taken:?}\n{trace}"
        );
        open_claimed_state_file(&folder.path().join("resumen.json"))
            .save(&state_at(4))
            .unwrap();
        assert_eq!(
            restored_generation(folder.path()).0,
            Some(4),
            "{fault} at {name} {number}: the next save works"
        );
    }
}

#[test]
fn killed_save_keeps_old_file() {
    if is_strace_available() {
        inject_at_every_syscall("signal=KILL");
    }
}

#[test]
fn full_disk_keeps_a_generation() {
    if is_strace_available() {
        inject_at_every_syscall("error=ENOSPC");
    }
}

#[test]
fn io_error_keeps_a_generation() {
    if is_strace_available() {
        inject_at_every_syscall("error=EIO");
    }
}
