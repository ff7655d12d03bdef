//! The machine's clock is set by an hour while the program runs, and between two runs: ages stay true, and nobody is asked
//! for it.
//!
//! Needs Debian's `faketime`. Where it is missing, this is skipped and says so; `RESUMEN_REQUIRE_ALL=1` makes that a
//! failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resumen::clock::Clock;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, get};
use crate::survival::{Stage, listens};

/// The library that comes between a program and its wall clock, and lets all others through.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn library() -> Option<PathBuf> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/aarch64-linux-gnu/faketime",
    ];
    let found = folders
        .iter()
        .map(|folder| Path::new(folder).join("libfaketimeMT.so.1"))
        .find(|path| path.exists());
    let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(found.is_some() || !required, "faketime is missing");
    if found.is_none() {
        println!("skipped: faketime is missing");
    }
    found
}

/// A stage whose program believes another wall clock.
struct Stepped {
    stage: Stage,
    library: PathBuf,
}

impl Stepped {
    /// Sets the program's wall clock so many seconds off.
    fn set(&self, seconds: i64) {
        let draft = self.stage.folder.path().join("offset.draft");
        fs::write(&draft, format!("{seconds:+}")).unwrap();
        fs::rename(draft, self.offset()).unwrap();
    }

    fn offset(&self) -> PathBuf {
        self.stage.folder.path().join("offset")
    }

    fn start(&self) -> (Program, String) {
        let mut command = self.stage.command();
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.offset());
        command
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let program = Program::start(&mut command);
        let base = listens(&program);
        (program, base)
    }
}

fn age(base: &str) -> Duration {
    let body: Value = serde_json::from_str(&get(base, "/resumen").body).unwrap();
    let a = &body["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["stale"]),
        (&true.into(), &false.into()),
        "{a}"
    );
    Duration::from_millis(a["age_ms"].as_u64().unwrap())
}

/// By how many seconds the program's wall clock was ahead of its own when it saved last.
fn off(stage: &Stage) -> i64 {
    let text = fs::read_to_string(stage.state()).unwrap();
    let taken: Value = serde_json::from_str(&text).unwrap();
    let read = |clock: &str| {
        taken["state"]["taken"][clock]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    (read("wall").as_millisecond() - read("at").as_millisecond()) / 1000
}

fn an_hour_off(seconds: i64) {
    let Some(library) = library() else { return };
    let stepped = Stepped {
        stage: Stage::new(),
        library,
    };
    stepped.set(0);
    let (program, base) = stepped.start();
    let (clock, before) = (Clock::start(), age(&base));
    let begun = clock.mark();
    let is_true = |age: Duration| {
        let passed = clock.since(begun);
        assert!(
            age >= before && age <= before + passed + Duration::from_millis(50),
            "{before:?} + {passed:?}: {age:?}"
        );
    };
    stepped.stage.saved("0.10");
    stepped.set(seconds);
    // Longer than between two looks of the refresher.
    while clock.since(begun) < Duration::from_millis(2500) {
        is_true(age(&base));
    }
    assert_eq!(stepped.stage.stub.calls(), 1, "nobody was asked for it");
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
    assert!((off(&stepped.stage) - seconds).abs() < 5, "it was set");
    stepped.stage.fails();
    for offset in [seconds, 0] {
        stepped.set(offset);
        let (program, base) = stepped.start();
        is_true(age(&base));
        program.signal(Signal::TERM);
        program.end();
    }
}

#[test]
fn a_clock_that_is_set_forward_ages_nothing() {
    an_hour_off(3600);
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_young() {
    an_hour_off(-3600);
}
