//! Waiting for a condition, with a limit.

use std::time::Duration;

use resumen::process::Clock;

/// Maximum time that a test waits for an event, on a machine that runs other tests meanwhile.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `poll` until it returns a value. Panics after `WAIT_LIMIT`.
#[track_caller]
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::start();
    let end = clock.instant() + WAIT_LIMIT;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(clock.instant() < end, "not within {WAIT_LIMIT:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` is true. Panics after `WAIT_LIMIT`.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// The same in an asynchronous test.
pub async fn wait_until_async(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let ended = tokio::time::timeout(WAIT_LIMIT, poll).await;
    assert!(ended.is_ok(), "not within {WAIT_LIMIT:?}: {what}");
}
