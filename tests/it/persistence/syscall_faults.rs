//! A save that is killed or fails at any of its system calls leaves a complete generation. Needs
//! `strace` and the permission to trace.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use resumen::domain::{ClockTimestamps, Time};
use resumen::store::StateFileContent;

use crate::support::child_process::{command_through, ignored_test_command};
use crate::support::open_claimed_state_file;
use crate::support::requirements::require;

/// The variable with the path for `child_saves_once`.
const SAVE_PATH_VARIABLE: &str = "RESUMEN_TEST_SAVE_HERE";

fn state_at(generation: i64) -> StateFileContent {
    let at = Time::from_millis(generation);
    StateFileContent {
        taken_at: ClockTimestamps {
            program_time: at,
            wall_time: at,
            boot_uptime: None,
        },
        source_records: Vec::new(),
    }
}

/// Fails if the save returns an error.
#[test]
#[ignore = "runs under strace, started by the other tests of this file"]
fn child_saves_once() {
    let Some(path) = env::var_os(SAVE_PATH_VARIABLE) else {
        return;
    };
    open_claimed_state_file(Path::new(&path))
        .save(&state_at(3))
        .unwrap();
}

/// Saves generation 3 over 1 and 2 under `strace` with these options. Only calls with a path of the
/// state file are traced.
fn save_under_strace(folder: &Path, options: &[&str]) -> Output {
    let path = folder.join("resumen.json");
    let mut strace = vec!["strace".to_owned(), "-f".into(), "-qq".into()];
    strace.extend(options.iter().map(ToString::to_string));
    let files = ["", ".tmp", ".previous", ".lock"].map(|end| format!("{}{end}", path.display()));
    for traced in [folder.display().to_string()].into_iter().chain(files) {
        strace.extend(["-P".to_owned(), traced]);
    }
    let strace: Vec<&str> = strace.iter().map(String::as_str).collect();
    let test = ignored_test_command("persistence::syscall_faults::child_saves_once");
    let mut command = command_through(&strace, &test);
    command.env(SAVE_PATH_VARIABLE, &path).output().unwrap()
}

/// The system calls of a save, each with its number among the calls of its name, from 1.
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
    for generation in 1..3 {
        file.save(&state_at(generation)).unwrap();
    }
    folder
}

/// The generation that a start restores, and its warnings.
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

fn is_strace_available() -> bool {
    let probe = Command::new("strace")
        .args(["-f", "-qq", "-e", "inject=all:error=EIO:when=60000", "true"])
        .output();
    let works = probe.is_ok_and(|output| output.status.success());
    require("strace with the permission to trace", works)
}

/// Injects the fault at every system call of a save in turn.
fn inject_at_every_syscall(fault: &str) {
    let calls = count_save_syscalls();
    assert!(calls.len() >= 10, "too few traced calls: {calls:?}");
    for (name, number) in calls {
        let folder = save_two_generations();
        let output = save_under_strace(
            folder.path(),
            &["-e", &format!("inject={name}:{fault}:when={number}")],
        );
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_injected = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
        assert!(is_injected, "no injection at {name} {number}:\n{trace}");
        let (generation, warnings) = restored_generation(folder.path());
        let is_saved = output.status.success();
        assert!(
            warnings.is_empty(),
            "{fault} at {name} {number}: {warnings:?}\n{trace}"
        );
        assert!(
            generation == Some(3) || (generation == Some(2) && !is_saved),
            "{fault} at {name} {number}: {generation:?}\n{trace}"
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
