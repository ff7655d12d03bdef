//! What the system tells of this process.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::encoder::{MetricType, MetricsEncoder};

/// Adds the usual `process_*` families; what the system does not tell is left out.
pub(crate) fn write_os_metrics(page: &mut MetricsEncoder, started: f64) {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let spent = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
    page.write_metric(
        "process_cpu_seconds_total",
        MetricType::Counter,
        "Processor time of this process.",
        spent,
    );
    page.write_metric(
        "process_start_time_seconds",
        MetricType::Gauge,
        "When this process began, since the epoch.",
        started,
    );
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let memory = [
            ("process_resident_memory_bytes", "VmRSS:", "Memory in use."),
            ("process_virtual_memory_bytes", "VmSize:", "Memory mapped."),
        ];
        for (name, key, help) in memory {
            if let Some(kibibytes) = parse_status_field(&status, key) {
                page.write_metric(name, MetricType::Gauge, help, kibibytes * 1024);
            }
        }
        if let Some(threads) = parse_status_field(&status, "Threads:") {
            page.write_metric("process_threads", MetricType::Gauge, "Threads.", threads);
        }
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // The listing itself holds one open.
        let open = descriptors.count().saturating_sub(1);
        page.write_metric(
            "process_open_fds",
            MetricType::Gauge,
            "Descriptors in use.",
            open,
        );
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        page.write_metric(
            "process_max_fds",
            MetricType::Gauge,
            "Descriptors allowed.",
            limit,
        );
    }
}

/// The number behind a key of `/proc/self/status`.
fn parse_status_field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_field_is_found() {
        assert_eq!(
            parse_status_field("VmSize:\t  10 kB\nVmRSS:\t    4096 kB\n", "VmRSS:"),
            Some(4096)
        );
        assert_eq!(parse_status_field("VmSize:\t  10 kB\n", "VmRSS:"), None);
    }
}
