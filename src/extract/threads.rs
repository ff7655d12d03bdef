//! Threads with a stack that is deep enough for whatever a filter may recurse into. The memory is only reserved; what is
//! never reached is never taken. Starting one takes ten times as long as an ordinary evaluation, so a few are kept.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, Builder};

/// Bytes of stack.
pub(super) const DEPTH: usize = 512 << 20;
/// How many threads may wait for work.
const KEPT: usize = 2;

/// Work, and whether its thread may be kept afterwards.
type Job = Box<dyn FnOnce() -> Keep + Send>;

/// What becomes of a thread after its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It may wait for more.
    Yes,
    /// It ends, and gives back the stack that the work has taken.
    No,
}

/// The threads that evaluate. They end when nobody holds this any more, each after its work.
#[derive(Debug, Default)]
pub(super) struct Threads {
    idle: Mutex<Vec<Sender<Job>>>,
}

impl Threads {
    /// Does `work` on a thread that waits for some, else on a new one.
    pub(super) fn run(
        self: &Arc<Self>,
        work: impl FnOnce() -> Keep + Send + 'static,
    ) -> io::Result<()> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let job: Job = Box::new(work);
        match idle {
            Some(thread) => thread.send(job).or_else(|refused| self.start(refused.0)),
            None => self.start(job),
        }
    }

    fn start(self: &Arc<Self>, first: Job) -> io::Result<()> {
        let threads = Arc::downgrade(self);
        let _detached = builder("extract").spawn(move || serve(&threads, first))?;
        Ok(())
    }

    /// Takes a thread that has nothing to do; false if there are enough.
    fn take_back(&self, thread: Sender<Job>) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = idle.len() < KEPT;
        if wanted {
            idle.push(thread);
        }
        wanted
    }
}

fn serve(threads: &Weak<Threads>, first: Job) {
    let mut next = Some(first);
    while let Some(job) = next {
        let (sender, jobs) = channel();
        let kept = job() == Keep::Yes
            && threads
                .upgrade()
                .is_some_and(|threads| threads.take_back(sender));
        next = if kept { jobs.recv().ok() } else { None };
    }
}

/// Does `work` on a deep stack while the caller waits; an error says why there was no thread, or that `work` panicked.
pub(super) fn on_deep_stack<T: Send>(
    name: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = builder(name)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread: {error}"))?;
        thread
            .join()
            .map_err(|_| "a bug of ours, see the log".to_owned())
    })
}

fn builder(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(DEPTH)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread::ThreadId;

    use super::*;

    fn on(threads: &Arc<Threads>, keep: Keep) -> ThreadId {
        let (tell, told) = channel();
        let work = move || {
            tell.send(thread::current().id()).unwrap();
            keep
        };
        threads.run(work).unwrap();
        told.recv().unwrap()
    }

    fn idle(threads: &Threads) -> usize {
        threads.idle.lock().unwrap().len()
    }

    fn settle(threads: &Threads, expected: usize) {
        for _ in 0..10_000 {
            if idle(threads) == expected {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} idle threads instead of {expected}", idle(threads));
    }

    #[test]
    fn a_thread_is_used_again_unless_it_is_spent() {
        let threads = Arc::default();
        let first = on(&threads, Keep::Yes);
        settle(&threads, 1);
        assert_eq!(on(&threads, Keep::No), first);
        assert_ne!(on(&threads, Keep::Yes), first);
    }

    #[test]
    fn few_are_kept() {
        let threads: Arc<Threads> = Arc::default();
        let (tell, told) = channel();
        let all_run = Arc::new(std::sync::Barrier::new(8));
        for _ in 0..8 {
            let (tell, all_run) = (tell.clone(), Arc::clone(&all_run));
            let work = move || {
                all_run.wait();
                tell.send(thread::current().id()).unwrap();
                Keep::Yes
            };
            threads.run(work).unwrap();
        }
        assert_eq!(told.iter().take(8).collect::<HashSet<_>>().len(), 8);
        settle(&threads, KEPT);
    }
}
