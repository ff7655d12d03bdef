//! The `process_*` metrics, read from the operating system.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::domain::Time;

use super::encoder::{MetricType, MetricsEncoder, millis_to_seconds};

/// Writes the `process_*` families. A figure that the system does not provide is left out.
pub(super) fn write_os_metrics(encoder: &mut MetricsEncoder, started_at: Time) {
    let cpu_time = clock_gettime(ClockId::ProcessCPUTime);
    encoder.write_metric(
        "process_cpu_seconds_total",
        MetricType::Counter,
        "Processor time of this process.",
        cpu_time.tv_sec as f64 + cpu_time.tv_nsec as f64 / 1e9,
    );
    encoder.write_metric(
        "process_start_time_seconds",
        MetricType::Gauge,
        "When this process started, since the epoch.",
        millis_to_seconds(started_at.as_millis()),
    );
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let memory = [
            ("process_resident_memory_bytes", "VmRSS:", "Memory in use."),
            ("process_virtual_memory_bytes", "VmSize:", "Memory mapped."),
        ];
        for (name, key, help) in memory {
            if let Some(kibibytes) = parse_status_field(&status, key) {
                encoder.write_metric(name, MetricType::Gauge, help, kibibytes * 1024);
            }
        }
        if let Some(threads) = parse_status_field(&status, "Threads:") {
            encoder.write_metric("process_threads", MetricType::Gauge, "Threads.", threads);
        }
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // The directory listing itself holds one descriptor open.
        let open = descriptors.count().saturating_sub(1);
        encoder.write_metric(
            "process_open_fds",
            MetricType::Gauge,
            "Descriptors in use.",
            open,
        );
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        encoder.write_metric(
            "process_max_fds",
            MetricType::Gauge,
            "Descriptors allowed.",
            limit,
        );
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
