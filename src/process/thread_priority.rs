//! The priority of background threads.
//!
//! Where serving threads and background threads share a processor, an answer that is ready must not
//! wait for a fetch that has seconds of time left. The kernel weighs threads by their
//! nice value, which a thread may always raise.

use rustix::process::{getpid, getpriority_process, setpriority_process};
use tracing::debug;

/// How much nicer background threads are than the process. Beside a serving thread that never idles,
/// they still get a quarter of its processor, which suffices for a thousand fetches a second, and
/// start some milliseconds late at most.
const BACKGROUND_INCREMENT: i32 = 5;

/// The highest nice value.
const MAX_NICE: i32 = 19;

/// The nice value of the background threads of this process.
#[derive(Debug, Clone, Copy)]
pub struct BackgroundPriority {
    nice: i32,
}

impl BackgroundPriority {
    /// Returns the priority that is below the one the process was started with, as far as the highest
    /// nice value allows.
    pub fn below_process() -> Self {
        // The nice value of the main thread, which never changes. A background thread inherits that
        // of its creator, often another background thread, so that its own is no base.
        let process_nice = getpriority_process(Some(getpid())).unwrap_or_default();
        if process_nice >= MAX_NICE {
            debug!(
                nice = process_nice,
                "no lower priority left for background threads"
            );
        }
        Self {
            nice: (process_nice + BACKGROUND_INCREMENT).min(MAX_NICE),
        }
    }

    /// Applies the priority to the calling thread. If the system refuses, the thread keeps its own.
    pub fn apply_to_current_thread(self) {
        let _ = setpriority_process(None, self.nice);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    fn thread_nice() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[test]
    fn priority_is_relative_to_process() {
        let process_nice = thread_nice();
        let priority = BackgroundPriority::below_process();
        let background = thread::spawn(move || {
            priority.apply_to_current_thread();
            // A thread that a background thread starts gets no second increment.
            BackgroundPriority::below_process().apply_to_current_thread();
            thread_nice()
        });
        let expected = (process_nice + BACKGROUND_INCREMENT).min(MAX_NICE);
        assert_eq!(background.join().unwrap(), expected);
        assert_eq!(thread_nice(), process_nice, "other threads keep theirs");
    }

    #[test]
    fn niced_process_keeps_the_difference() {
        for increment in ["10", "19"] {
            let output = Command::new("nice")
                .args(["-n", increment])
                .arg(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    concat!(module_path!(), "::priority_is_relative_to_process")
                        .split_once("::")
                        .unwrap()
                        .1,
                ])
                .output()
                .unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && stdout.contains("1 passed"),
                "nice {increment}: {stdout}"
            );
        }
    }
}
