//! What a process uses, from `/proc` and its `/metrics`.

use std::fs;
use std::path::PathBuf;

use super::http_reply::http_get;

/// Resources that a process holds.
#[derive(Debug, Clone, Copy)]
pub struct ResourceUsage {
    pub resident_kib: usize,
    /// Without those of filter workers: how many of the three have started depends on the load.
    pub descriptors: usize,
    pub threads: usize,
    /// Tokio tasks, from `resumen_tasks`.
    pub tasks: usize,
}

/// Resources of the service `pid` that listens at `base`.
pub fn measure_usage(pid: u32, base: &str) -> ResourceUsage {
    let count = |list: &str| fs::read_dir(format!("/proc/{pid}/{list}")).unwrap().count();
    // The service has a socket and a process descriptor of each worker, and no other child.
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_process = |path: PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.as_os_str() == "anon_inode:[pidfd]")
    };
    let workers = descriptors
        .filter(|entry| is_process(entry.as_ref().unwrap().path()))
        .count();
    ResourceUsage {
        resident_kib: resident_kib(pid),
        descriptors: count("fd").saturating_sub(2 * workers),
        threads: count("task"),
        tasks: metric_value(&http_get(base, "/metrics").body, "resumen_tasks").unwrap() as usize,
    }
}

/// Resident memory of a process.
pub fn resident_kib(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = value.unwrap().trim().trim_end_matches(" kB");
    value.parse().unwrap()
}

/// The value of a series, named with its labels, on a page of `/metrics`.
pub fn metric_value(page: &str, series: &str) -> Option<f64> {
    let after_name = |line: &'_ str| Some(line.strip_prefix(series)?.strip_prefix(' ')?.to_owned());
    page.lines()
        .find_map(after_name)
        .map(|text| text.parse().unwrap())
}

/// Lowers the priority of this process's threads with this name to a nice value of 10.
pub fn lower_thread_priority(thread_name: &str) {
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap();
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if name.trim_end() == thread_name {
            let id = thread.file_name().to_str().unwrap().parse().unwrap();
            rustix::process::setpriority_process(rustix::process::Pid::from_raw(id), 10).unwrap();
        }
    }
}
