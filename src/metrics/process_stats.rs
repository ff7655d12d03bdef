//! The `process_*` metrics, read from the operating system.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::{fmt, fs};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::Time;
use crate::process::Clock;

use super::encoder::{millis_to_seconds, write_counter, write_gauge};

/// Reads the `process_*` metrics on each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    pub(super) clock: Clock,
    pub(super) started_at: Time,
    /// When a configuration was last accepted, in milliseconds since the epoch.
    pub(super) last_reload_success_ms: Arc<AtomicI64>,
}

impl ProcessCollector {
    /// Returns a time as it is output, in seconds since the epoch.
    fn seconds(&self, time: Time) -> f64 {
        millis_to_seconds(self.clock.shift().apply(time).as_millis())
    }
}

impl Collector for ProcessCollector {
    /// Writes the `process_*` families. A figure that the system does not provide is left out.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let cpu_time = clock_gettime(ClockId::ProcessCPUTime);
        write_counter(
            encoder,
            "process_cpu_seconds",
            "Processor time of this process.",
            cpu_time.tv_sec as f64 + cpu_time.tv_nsec as f64 / 1e9,
        )?;
        write_gauge(
            encoder,
            "process_start_time_seconds",
            "When this process started, since the epoch.",
            self.seconds(self.started_at),
        )?;
        let last_success = Time::from_millis(self.last_reload_success_ms.load(Relaxed));
        write_gauge(
            encoder,
            "resumen_config_last_reload_success_timestamp_seconds",
            "When a configuration was last accepted, since the epoch.",
            self.seconds(last_success),
        )?;
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            // The system gives memory in KiB.
            let fields = [
                (
                    "process_resident_memory_bytes",
                    "VmRSS:",
                    "Memory in use.",
                    1024,
                ),
                (
                    "process_virtual_memory_bytes",
                    "VmSize:",
                    "Memory mapped.",
                    1024,
                ),
                ("process_threads", "Threads:", "Threads.", 1),
            ];
            for (name, key, help, factor) in fields {
                if let Some(value) = parse_status_field(&status, key) {
                    write_gauge(encoder, name, help, value * factor)?;
                }
            }
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            // The directory listing itself holds one descriptor open.
            let open = descriptors.count().saturating_sub(1);
            write_gauge(encoder, "process_open_fds", "Descriptors in use.", open)?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            write_gauge(encoder, "process_max_fds", "Descriptors allowed.", limit)?;
        }
        Ok(())
    }
}

/// The number after `key` in the text of `/proc/self/status`.
fn parse_status_field(status: &str, key: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_field_is_found() {
        let status = "VmSize:\t  10 kB\nVmRSS:\t    4096 kB\n";
        assert_eq!(parse_status_field(status, "VmRSS:"), Some(4096));
        assert_eq!(parse_status_field("VmSize:\t  10 kB\n", "VmRSS:"), None);
    }
}
