//! A run of one hour under random faults and load: memory, descriptors, threads and tasks must not grow.

use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;

use crate::support::fake_provider::{FakeProvider, FakeResponse};
use crate::support::polling_clients::PollingClients;
use crate::support::process_usage::{ResourceUsage, measure_usage};
use crate::support::service_process::ServiceFixture;

/// The median of one value of the samples.
fn median_usage(samples: &[ResourceUsage], value: impl Fn(&ResourceUsage) -> usize) -> usize {
    let mut values: Vec<usize> = samples.iter().map(value).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn set_random_fault(provider: &FakeProvider, rng: &mut fastrand::Rng) {
    let statuses = [
        "200 OK",
        "200 OK",
        "503 Service Unavailable",
        "302 Found",
        "429 Too Many Requests",
    ];
    let bodies = ["{\"n\":1}", "{\"n\":2}", "<html>", "", "{\"n\":", "null"];
    let status = statuses[rng.usize(..statuses.len())];
    let body = bodies[rng.usize(..bodies.len())].to_owned();
    let delay = Duration::from_millis(rng.u64(0..40) * rng.u64(0..40));
    provider.update_response(|answer| {
        *answer = FakeResponse {
            status,
            headers: String::new(),
            body,
            delay,
        }
    });
}

/// Runs the service under faults and load, and takes a sample every 250 ms.
fn run_soak(length: Duration) -> Vec<ResourceUsage> {
    let fixture = ServiceFixture::new();
    let sources = "[sources.quick]\nurl = \"URL\"\ninterval = \"1s\"\ntimeout = \"1s\"\nmin_interval = \"20ms\"\n";
    let sources = sources.replace("URL", &fixture.provider.url());
    fixture.write_config(&sources);
    let service = fixture.start();
    let all_clients = [
        PollingClients::new(2, service.address(), "/resumen", true),
        PollingClients::new(1, service.address(), "/resumen", false),
        PollingClients::new(2, service.address(), "/resumen?fresh=1&timeout=0.5", true),
        PollingClients::new(1, service.address(), "/metrics", false),
    ];
    let (clock, mut rng) = (Clock::start(), fastrand::Rng::with_seed(7));
    let (start, mut samples) = (clock.time_point(), Vec::new());
    while clock.elapsed_since(start) < length {
        set_random_fault(&fixture.provider, &mut rng);
        if rng.u8(..20) == 0 {
            let invalid = if rng.bool() {
                "[sources.c]\nurl = \"nonsense\"\n"
            } else {
                ""
            };
            fixture.write_config(&format!("{sources}{invalid}"));
            service.send_signal(Signal::HUP);
        }
        std::thread::sleep(Duration::from_millis(250));
        samples.push(measure_usage(service.process.pid(), &service.base_url));
    }
    for clients in all_clients {
        assert!(clients.stop_and_count().unwrap() > 0);
    }
    service.stop();
    samples
}

#[test]
#[ignore = "an hour, or RESUMEN_SOAK_SECONDS: `cargo test --release --test it soak -- --ignored --nocapture`"]
fn soak_leaks_no_resources() {
    let seconds = std::env::var_os("RESUMEN_SOAK_SECONDS")
        .and_then(|value| value.into_string().ok()?.parse().ok());
    let samples = run_soak(Duration::from_secs(seconds.unwrap_or(3600)));
    // In the first quarter, buffers, pools and the allocator reach their sizes.
    let quarter = samples.len() / 4;
    let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    let check = |name: &str, value: fn(&ResourceUsage) -> usize, slack: usize| {
        let (before, after) = (median_usage(early, value), median_usage(late, value));
        eprintln!("{name}: {before} in the second quarter, {after} in the last");
        assert!(after <= before + slack, "{name} grows");
    };
    check("memory, KiB", |usage| usage.resident_kib, 4096);
    check("descriptors", |usage| usage.descriptors, 8);
    check("threads", |usage| usage.threads, 4);
    check("tasks", |usage| usage.tasks, 8);
}
