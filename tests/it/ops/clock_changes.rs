//! The machine's clock is set by an hour while the program runs, and between two runs: ages stay true, and nobody is asked
//! for it.
//!
//! Needs Debian's `faketime`. Where it is missing, this is skipped and says so; `RESUMEN_REQUIRE_ALL=1` makes that a
//! failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;
use serde_json::Value;

use crate::persistence::restart_survival::{ServiceFixture, listening_url};
use crate::support::child_process::{TestProcess, http_get};

/// The library that comes between a program and its wall clock, and lets all others through.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
fn find_faketime_library() -> Option<PathBuf> {
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
struct SteppedClock {
    fixture: ServiceFixture,
    library: PathBuf,
}

impl SteppedClock {
    /// Sets the program's wall clock so many seconds off.
    fn set_offset(&self, seconds: i64) {
        let draft = self.fixture.folder.path().join("offset.draft");
        fs::write(&draft, format!("{seconds:+}")).unwrap();
        fs::rename(draft, self.offset_file()).unwrap();
    }

    fn offset_file(&self) -> PathBuf {
        self.fixture.folder.path().join("offset")
    }

    fn start(&self) -> (TestProcess, String) {
        let mut command = self.fixture.build_command();
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.offset_file());
        command
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let program = TestProcess::start(&mut command);
        let base = listening_url(&program);
        (program, base)
    }
}

fn age_of_a(base: &str) -> Duration {
    let body: Value = serde_json::from_str(&http_get(base, "/resumen").body).unwrap();
    let a = &body["resultados"]["a"];
    assert_eq!(
        (&a["ok"], &a["stale"]),
        (&true.into(), &false.into()),
        "{a}"
    );
    Duration::from_millis(a["age_ms"].as_u64().unwrap())
}

/// By how many seconds the program's wall clock was ahead of its own when it saved last.
fn clock_offset_seconds(stage: &ServiceFixture) -> i64 {
    let text = fs::read_to_string(stage.state_path()).unwrap();
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

fn assert_ages_stay_true(seconds: i64) {
    let Some(library) = find_faketime_library() else {
        return;
    };
    let stepped = SteppedClock {
        fixture: ServiceFixture::new(),
        library,
    };
    stepped.set_offset(0);
    let (program, base) = stepped.start();
    let (clock, before) = (Clock::start(), age_of_a(&base));
    let begun = clock.time_point();
    let is_true = |age: Duration| {
        let passed = clock.elapsed_since(begun);
        assert!(
            age >= before && age <= before + passed + Duration::from_millis(50),
            "{before:?} + {passed:?}: {age:?}"
        );
    };
    stepped.fixture.wait_until_saved("0.10");
    stepped.set_offset(seconds);
    // Longer than between two looks of the refresher.
    while clock.elapsed_since(begun) < Duration::from_millis(2500) {
        is_true(age_of_a(&base));
    }
    assert_eq!(
        stepped.fixture.provider.call_count(),
        1,
        "nobody was asked for it"
    );
    program.send_signal(Signal::TERM);
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
    assert!(
        (clock_offset_seconds(&stepped.fixture) - seconds).abs() < 5,
        "it was set"
    );
    stepped.fixture.fail_provider();
    for offset in [seconds, 0] {
        stepped.set_offset(offset);
        let (program, base) = stepped.start();
        is_true(age_of_a(&base));
        program.send_signal(Signal::TERM);
        program.wait_for_exit();
    }
}

#[test]
fn forward_step_keeps_ages() {
    assert_ages_stay_true(3600);
}

#[test]
fn backward_step_keeps_ages() {
    assert_ages_stay_true(-3600);
}
