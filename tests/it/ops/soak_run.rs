//! An hour of chaos: what the process holds must not grow.

use std::fs;
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;

use crate::persistence::restart_survival::{ServiceFixture, socket_address};
use crate::support::child_process::http_get;
use crate::support::fake_provider::{FakeProvider, FakeResponse};
use crate::support::polling_clients::PollingClients;

/// What a process holds: KiB of memory, descriptors, threads, tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResourceUsage {
    pub(crate) resident_kib: usize,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) tasks: usize,
}

/// A number that the program tells of itself.
fn metric_value(base: &str, metric: &str) -> usize {
    let page = http_get(base, "/metrics").body;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric}:\n{page}"))
        .parse()
        .unwrap()
}

pub(crate) fn measure_usage(pid: u32, base: &str) -> ResourceUsage {
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    ResourceUsage {
        resident_kib: memory,
        descriptors: count("fd"),
        threads: count("task"),
        tasks: metric_value(base, "resumen_tasks"),
    }
}

/// The median of one measure over some samples.
fn median_usage(samples: &[ResourceUsage], of: impl Fn(&ResourceUsage) -> usize) -> usize {
    let mut values: Vec<usize> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn set_random_fault(stub: &FakeProvider, dice: &mut fastrand::Rng) {
    let statuses = [
        "200 OK",
        "200 OK",
        "503 Service Unavailable",
        "302 Found",
        "429 Too Many Requests",
    ];
    let bodies = ["{\"n\":1}", "{\"n\":2}", "<html>", "", "{\"n\":", "null"];
    let status = statuses[dice.usize(..statuses.len())];
    let body = bodies[dice.usize(..bodies.len())].to_owned();
    let delay = Duration::from_millis(dice.u64(0..40) * dice.u64(0..40));
    stub.update_response(|answer| {
        *answer = FakeResponse {
            status,
            headers: String::new(),
            body,
            delay,
        }
    });
}

/// Chaos for that long, a sample every quarter of a second.
fn run_soak(length: Duration) -> Vec<ResourceUsage> {
    let stage = ServiceFixture::new();
    let more = "[sources.quick]\nurl = \"URL\"\ninterval = \"1s\"\ntimeout = \"1s\"\nmin_interval = \"20ms\"\n";
    let more = more.replace("URL", &stage.provider.url());
    stage.write_config(&more);
    let (program, base) = stage.start_process();
    let crowds = [
        PollingClients::new(2, socket_address(&base), "/resumen", true),
        PollingClients::new(1, socket_address(&base), "/resumen", false),
        PollingClients::new(
            2,
            socket_address(&base),
            "/resumen?fresh=1&timeout=0.5",
            true,
        ),
        PollingClients::new(1, socket_address(&base), "/metrics", false),
    ];
    let (clock, mut dice) = (Clock::start(), fastrand::Rng::with_seed(7));
    let (begun, mut samples) = (clock.time_point(), Vec::new());
    while clock.elapsed_since(begun) < length {
        set_random_fault(&stage.provider, &mut dice);
        if dice.u8(..20) == 0 {
            let bad = if dice.bool() {
                "[sources.c]\nurl = \"nonsense\"\n"
            } else {
                ""
            };
            stage.write_config(&format!("{more}{bad}"));
            program.send_signal(Signal::HUP);
        }
        std::thread::sleep(Duration::from_millis(250));
        samples.push(measure_usage(program.pid(), &base));
    }
    for crowd in crowds {
        assert!(crowd.stop_and_count().unwrap() > 0);
    }
    program.send_signal(Signal::TERM);
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
    samples
}

#[test]
#[ignore = "an hour, or RESUMEN_SOAK_SECONDS: `cargo test --release --test it soak -- --ignored --nocapture`"]
fn soak_leaks_no_resources() {
    let seconds = std::env::var_os("RESUMEN_SOAK_SECONDS")
        .and_then(|value| value.into_string().ok()?.parse().ok());
    let samples = run_soak(Duration::from_secs(seconds.unwrap_or(3600)));
    // The first quarter warms up: buffers, pools and the allocator find their size.
    let quarter = samples.len() / 4;
    let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    let show = |name: &str, of: fn(&ResourceUsage) -> usize, room: usize| {
        let (before, after) = (median_usage(early, of), median_usage(late, of));
        eprintln!("{name}: {before} in the second quarter, {after} in the last");
        assert!(after <= before + room, "{name} grows");
    };
    show("memory, KiB", |held| held.resident_kib, 4096);
    show("descriptors", |held| held.descriptors, 8);
    show("threads", |held| held.threads, 4);
    show("tasks", |held| held.tasks, 8);
}
