//! Steps of the wall clock by an hour, while the program runs and between two runs: ages stay true, and
//! no provider is called. Needs `faketime`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use resumen::process::Clock;
use serde_json::Value;

use crate::support::requirements::require;
use crate::support::service_process::{ServiceFixture, ServiceProcess};

/// The library that changes the wall clock of a program.
fn find_faketime_library() -> Option<PathBuf> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let path = |folder| PathBuf::from(format!("/usr/lib/{folder}/faketime/libfaketimeMT.so.1"));
    let found = folders.into_iter().map(path).find(|path| path.exists());
    require("faketime", found.is_some());
    found
}

/// A service whose wall clock the test sets.
struct SteppedClock {
    fixture: ServiceFixture,
    library: PathBuf,
}

impl SteppedClock {
    /// Sets the offset of the wall clock.
    fn set_offset(&self, seconds: i64) {
        let draft = self.fixture.folder.path().join("offset.draft");
        fs::write(&draft, format!("{seconds:+}")).unwrap();
        fs::rename(draft, self.offset_file()).unwrap();
    }

    fn offset_file(&self) -> PathBuf {
        self.fixture.folder.path().join("offset")
    }

    fn start(&self) -> ServiceProcess {
        let mut command = self.fixture.command();
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.offset_file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        ServiceProcess::start(&mut command)
    }
}

fn age_of_a(service: &ServiceProcess) -> Duration {
    let a = service.source_a();
    let is_fresh = a["ok"] == true && a["stale"] == false;
    assert!(is_fresh, "{a}");
    Duration::from_millis(a["age_ms"].as_u64().unwrap())
}

/// The difference between the wall clock and the program's clock at the last save.
fn clock_offset_seconds(fixture: &ServiceFixture) -> i64 {
    let saved: Value = serde_json::from_str(&fixture.saved_state()).unwrap();
    let read = |clock: &str| {
        saved["state"]["taken"][clock]
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
    let service = stepped.start();
    let (clock, before) = (Clock::start(), age_of_a(&service));
    let start = clock.time_point();
    let assert_true_age = |age: Duration| {
        let max = before + clock.elapsed_since(start) + Duration::from_millis(50);
        assert!(
            (before..=max).contains(&age),
            "{age:?} is not in {before:?} to {max:?}"
        );
    };
    stepped.fixture.wait_until_saved("0.10");
    stepped.set_offset(seconds);
    // Longer than the interval at which the refresher reads the clock.
    while clock.elapsed_since(start) < Duration::from_millis(2500) {
        assert_true_age(age_of_a(&service));
    }
    assert_eq!(
        stepped.fixture.provider.call_count(),
        1,
        "no call because of the step"
    );
    // Every instant that is output follows the wall clock, also that of a reading from before the step.
    let wall = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let body: Value = serde_json::from_str(&service.get("/resumen").body).unwrap();
    let expected = clock.now().as_millis() + seconds * 1000;
    let age = body["resultados"]["a"]["age_ms"].as_i64().unwrap();
    for (time, expected) in [
        (&body["generated_at"], expected),
        (&body["resultados"]["a"]["fetched_at"], expected - age),
    ] {
        let difference = wall(time).as_millisecond() - expected;
        assert!(difference.abs() < 1000, "{time} differs by {difference} ms");
    }
    let series = "resumen_source_last_success_timestamp_seconds{source=\"a\"}";
    let difference = service.metric(series) - (expected - age) as f64 / 1000.0;
    assert!(difference.abs() < 1.0, "{series} differs by {difference} s");
    service.stop();
    let offset = clock_offset_seconds(&stepped.fixture);
    assert!((offset - seconds).abs() < 5, "the offset is {offset} s");
    stepped.fixture.fail_provider();
    for offset in [seconds, 0] {
        stepped.set_offset(offset);
        let service = stepped.start();
        assert_true_age(age_of_a(&service));
        service.stop();
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
