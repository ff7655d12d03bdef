//! Threads with a deep stack for the recursion of filters. The stack is only reserved: the system
//! commits the pages that are used. Starting a thread takes ten times as long as a typical
//! evaluation, so a few idle threads are reused.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, Builder};

use parking_lot::Mutex;

/// Size of the stack, in bytes.
pub(super) const STACK_BYTES: usize = 512 << 20;
/// Maximum number of idle threads.
const MAX_IDLE_THREADS: usize = 2;

/// Work for a thread; returns whether the thread may be reused.
type EvaluationJob = Box<dyn FnOnce() -> Reuse + Send>;

/// Whether a thread may be reused after its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// The thread waits for more work.
    Yes,
    /// The thread ends, which frees the stack that the work committed.
    No,
}

/// Pool of evaluation threads. When the pool is dropped, each thread ends after its work.
#[derive(Debug, Default)]
pub(super) struct EvaluationThreads {
    idle: Mutex<Vec<Sender<EvaluationJob>>>,
}

impl EvaluationThreads {
    /// Runs `work` on an idle thread, or on a new one if there is none.
    pub(super) fn run(
        self: &Arc<Self>,
        work: impl FnOnce() -> Reuse + Send + 'static,
    ) -> io::Result<()> {
        let idle = self.idle.lock().pop();
        let job: EvaluationJob = Box::new(work);
        match idle {
            Some(thread) => thread
                .send(job)
                .or_else(|unsent| self.start_thread(unsent.0)),
            None => self.start_thread(job),
        }
    }

    fn start_thread(self: &Arc<Self>, first: EvaluationJob) -> io::Result<()> {
        let threads = Arc::downgrade(self);
        let _detached = thread_builder("extract").spawn(move || run_jobs(&threads, first))?;
        Ok(())
    }

    /// Adds `thread` to the idle ones; returns false if there are enough.
    fn return_thread(&self, thread: Sender<EvaluationJob>) -> bool {
        let mut idle = self.idle.lock();
        let has_space = idle.len() < MAX_IDLE_THREADS;
        if has_space {
            idle.push(thread);
        }
        has_space
    }
}

fn run_jobs(threads: &Weak<EvaluationThreads>, first: EvaluationJob) {
    let mut next = Some(first);
    while let Some(job) = next {
        let (sender, jobs) = channel();
        let is_reused = job() == Reuse::Yes
            && threads
                .upgrade()
                .is_some_and(|threads| threads.return_thread(sender));
        next = if is_reused { jobs.recv().ok() } else { None };
    }
}

/// Runs `work` on a thread with a deep stack and waits for it. An error means that the thread did
/// not start or that `work` panicked.
pub(super) fn run_on_deep_stack<T: Send>(
    name: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread_builder(name)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread: {error}"))?;
        thread
            .join()
            .map_err(|_| "a bug of ours, see the log".to_owned())
    })
}

fn thread_builder(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread::ThreadId;

    use super::*;

    fn run_and_get_id(threads: &Arc<EvaluationThreads>, reuse: Reuse) -> ThreadId {
        let (sender, receiver) = channel();
        let work = move || {
            sender.send(thread::current().id()).unwrap();
            reuse
        };
        threads.run(work).unwrap();
        receiver.recv().unwrap()
    }

    fn idle_count(threads: &EvaluationThreads) -> usize {
        threads.idle.lock().len()
    }

    fn wait_for_idle_count(threads: &EvaluationThreads, expected: usize) {
        for _ in 0..10_000 {
            if idle_count(threads) == expected {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} idle threads instead of {expected}", idle_count(threads));
    }

    #[test]
    fn thread_is_reused_if_allowed() {
        let threads = Arc::default();
        let first = run_and_get_id(&threads, Reuse::Yes);
        wait_for_idle_count(&threads, 1);
        assert_eq!(run_and_get_id(&threads, Reuse::No), first);
        assert_ne!(run_and_get_id(&threads, Reuse::Yes), first);
    }

    #[test]
    fn idle_threads_are_limited() {
        let threads: Arc<EvaluationThreads> = Arc::default();
        let (sender, receiver) = channel();
        let all_run = Arc::new(std::sync::Barrier::new(8));
        for _ in 0..8 {
            let (sender, all_run) = (sender.clone(), Arc::clone(&all_run));
            let work = move || {
                all_run.wait();
                sender.send(thread::current().id()).unwrap();
                Reuse::Yes
            };
            threads.run(work).unwrap();
        }
        assert_eq!(receiver.iter().take(8).collect::<HashSet<_>>().len(), 8);
        wait_for_idle_count(&threads, MAX_IDLE_THREADS);
    }
}
