//! Aside from the floors: how urgent a thread is.
//!
//! Where serving threads and others share a processor, an answer that is ready should not wait for a fetch or a filter
//! that has seconds. The kernel weighs threads by their nice value; nobody needs a right to be nicer.

/// The nice value of background threads: beside a serving thread that never rests they still get a quarter of its
/// processor, enough for a thousand fetches a second, and are some milliseconds late at most.
const BACKGROUND_NICE: i32 = 5;

/// Makes the calling thread give way to those that serve. A system that refuses leaves it as urgent as they are.
pub(crate) fn lower_thread_priority() {
    let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_changes_calling_thread_only() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let thread = std::thread::spawn(move || {
            lower_thread_priority();
            nice()
        });
        assert_eq!(thread.join().unwrap(), before.max(BACKGROUND_NICE));
        assert_eq!(nice(), before);
    }
}
