//! Threads with a stack that is deep enough for whatever a filter may recurse into. The memory is only reserved; what is
//! never reached is never taken. Starting one takes ten times as long as an ordinary evaluation, so a few are kept.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, Builder};

use parking_lot::Mutex;

/// Bytes of stack.
pub(super) const STACK_BYTES: usize = 512 << 20;
/// How many threads may wait for work.
const MAX_IDLE_THREADS: usize = 2;

/// Work, and whether its thread may be kept afterwards.
type EvaluationJob = Box<dyn FnOnce() -> Reuse + Send>;

/// What becomes of a thread after its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// It may wait for more.
    Yes,
    /// It ends, and gives back the stack that the work has taken.
    No,
}

/// The threads that evaluate. They end when nobody holds this any more, each after its work.
#[derive(Debug, Default)]
pub(super) struct EvaluationThreads {
    idle: Mutex<Vec<Sender<EvaluationJob>>>,
}

impl EvaluationThreads {
    /// Does `work` on a thread that waits for some, else on a new one.
    pub(super) fn run(
        self: &Arc<Self>,
        work: impl FnOnce() -> Reuse + Send + 'static,
    ) -> io::Result<()> {
        let idle = self.idle.lock().pop();
        let job: EvaluationJob = Box::new(work);
        match idle {
            Some(thread) => thread
                .send(job)
                .or_else(|refused| self.start_thread(refused.0)),
            None => self.start_thread(job),
        }
    }

    fn start_thread(self: &Arc<Self>, first: EvaluationJob) -> io::Result<()> {
        let threads = Arc::downgrade(self);
        let _detached = thread_builder("extract").spawn(move || run_jobs(&threads, first))?;
        Ok(())
    }

    /// Takes a thread that has nothing to do; false if there are enough.
    fn return_thread(&self, thread: Sender<EvaluationJob>) -> bool {
        let mut idle = self.idle.lock();
        let wanted = idle.len() < MAX_IDLE_THREADS;
        if wanted {
            idle.push(thread);
        }
        wanted
    }
}

fn run_jobs(threads: &Weak<EvaluationThreads>, first: EvaluationJob) {
    let mut next = Some(first);
    while let Some(job) = next {
        let (sender, jobs) = channel();
        let kept = job() == Reuse::Yes
            && threads
                .upgrade()
                .is_some_and(|threads| threads.return_thread(sender));
        next = if kept { jobs.recv().ok() } else { None };
    }
}

/// Does `work` on a deep stack while the caller waits; an error says why there was no thread, or that `work` panicked.
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

    fn run_and_get_id(threads: &Arc<EvaluationThreads>, keep: Reuse) -> ThreadId {
        let (tell, told) = channel();
        let work = move || {
            tell.send(thread::current().id()).unwrap();
            keep
        };
        threads.run(work).unwrap();
        told.recv().unwrap()
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
        let (tell, told) = channel();
        let all_run = Arc::new(std::sync::Barrier::new(8));
        for _ in 0..8 {
            let (tell, all_run) = (tell.clone(), Arc::clone(&all_run));
            let work = move || {
                all_run.wait();
                tell.send(thread::current().id()).unwrap();
                Reuse::Yes
            };
            threads.run(work).unwrap();
        }
        assert_eq!(told.iter().take(8).collect::<HashSet<_>>().len(), 8);
        wait_for_idle_count(&threads, MAX_IDLE_THREADS);
    }
}
