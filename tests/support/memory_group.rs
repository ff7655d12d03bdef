//! A control group with a limit of memory, as a container has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::wait::wait_until;

static GROUPS: AtomicUsize = AtomicUsize::new(0);

/// A group without processes, removed when dropped: its processes must have ended by then.
pub struct MemoryGroup {
    path: PathBuf,
}

impl MemoryGroup {
    /// A group of version 1, else of version 2. `None`, said on the test's output, where neither can
    /// be made.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn with_limit(bytes: u64) -> Option<Self> {
        let number = GROUPS.fetch_add(1, Relaxed);
        let name = format!("resumen-test-{}-{number}", std::process::id());
        for (parent, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let path = Path::new(parent).join(&name);
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Self { path };
            // In another file system the file would be an ordinary one.
            let is_group = group.path.join("cgroup.procs").exists();
            if is_group && fs::write(group.path.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "no memory group can be made");
        eprintln!("skipped: no memory group can be made");
        None
    }

    /// The program in this group, with its output piped.
    pub fn command(&self, program: &Path) -> Command {
        let script = format!(
            "echo $$ > '{}/cgroup.procs'; exec '{}' \"$@\"",
            self.path.display(),
            program.display()
        );
        let mut command = Command::new("sh");
        command
            // As in the image.
            .envs([
                ("MALLOC_ARENA_MAX", "2"),
                ("MALLOC_MMAP_THRESHOLD_", "131072"),
            ])
            .args(["-c", &script, "sh"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// How many of its processes the system has ended for want of memory.
    pub fn memory_kills(&self) -> usize {
        // Version 1, then version 2.
        let files = ["memory.oom_control", "memory.events"].map(|name| self.path.join(name));
        let text = files
            .iter()
            .find_map(|file| fs::read_to_string(file).ok())
            .unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.unwrap().parse().unwrap()
    }

    /// The memory of the group, in KiB, with what the kernel has for it and the pages of files that it has
    /// read.
    pub fn used_kib(&self) -> usize {
        self.read_kib(["memory.usage_in_bytes", "memory.current"])
    }

    /// The most that [`Self::used_kib`] has been.
    pub fn peak_kib(&self) -> usize {
        self.read_kib(["memory.max_usage_in_bytes", "memory.peak"])
    }

    /// The value of the first of these files that exists.
    fn read_kib(&self, names: [&str; 2]) -> usize {
        let mut files = names.iter().map(|name| self.path.join(name));
        let text = files.find_map(|file| fs::read_to_string(file).ok());
        let bytes: usize = text.unwrap().trim().parse().unwrap();
        bytes >> 10
    }

    /// The ids of the processes in the group.
    pub fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            wait_until("an empty group", || fs::remove_dir(&self.path).is_ok());
        }
    }
}
