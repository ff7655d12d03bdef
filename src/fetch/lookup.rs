//! Names to addresses, by the system's resolver.
//!
//! The system's lookup blocks a thread and cannot be cancelled. So it runs beside the request that wanted it, at most
//! one per host at a time; everybody who wants the same host waits for the same lookup, each with a deadline of its own.
//! Nothing is remembered once it has ended: the system and its resolver do that better. A resolver that is down holds
//! [`AT_ONCE`] threads at most; lookups that nobody waits for by the time they get their turn are left out.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::domain::{Code, Failure};

/// Lookups at once, of different hosts; whatever else needs a blocking thread finds one.
const AT_ONCE: usize = 64;

/// Asks for the addresses of a host.
pub type Ask = Arc<
    dyn Fn(Arc<str>) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

type Found = Result<Arc<[IpAddr]>, Failure>;

type Awaited = watch::Receiver<Option<Found>>;

/// The lookups in progress.
#[derive(Clone)]
pub(super) struct Lookup {
    ask: Ask,
    running: Arc<Mutex<HashMap<Arc<str>, Awaited>>>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Lookup {
    /// Lookups that `ask`.
    pub(super) fn new(ask: Ask) -> Self {
        Self {
            ask,
            running: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }

    /// The addresses of `host`, at least one, in the order in which they are to be tried.
    pub(super) async fn addresses(&self, host: &str) -> Found {
        let mut found = self.join(host);
        match found.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(found)) => found.clone(),
            _ => Err(Failure::new(
                Code::DnsFailed,
                "the name lookup ended without an answer",
            )),
        }
    }

    /// The lookup of `host` that is running, or a new one.
    fn join(&self, host: &str) -> Awaited {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = running.get(host) {
            return found.clone();
        }
        let host: Arc<str> = host.into();
        let (tell, found) = watch::channel(None);
        running.insert(Arc::clone(&host), found.clone());
        let lookup = self.clone();
        self.tasks.spawn(async move {
            let _turn = lookup.turns.acquire().await;
            if lookup.is_in_vain(&host, &tell) {
                return;
            }
            let ended = Leave {
                lookup: &lookup,
                host: &host,
            };
            let answer = (lookup.ask)(Arc::clone(&host)).await;
            drop(ended);
            tell.send_replace(Some(judge(answer)));
        });
        found
    }

    /// Whether nobody but the list waits for `host`; then it is taken off the list, so that the next to come starts anew.
    fn is_in_vain(&self, host: &Arc<str>, tell: &watch::Sender<Option<Found>>) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        tell.receiver_count() == 1 && running.remove(host).is_some()
    }
}

/// Takes a lookup off the list when it ends, also by a panic.
struct Leave<'l> {
    lookup: &'l Lookup,
    host: &'l Arc<str>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.lookup
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.host);
    }
}

/// Asks the system's resolver.
pub(super) fn system() -> Ask {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((&*host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

fn judge(answer: io::Result<Vec<IpAddr>>) -> Found {
    match answer {
        Ok(addresses) if addresses.is_empty() => {
            Err(Failure::new(Code::DnsFailed, "the name has no address"))
        }
        Ok(addresses) => Ok(addresses.into()),
        Err(error) => Err(Failure::new(
            Code::DnsFailed,
            format!("the name lookup failed: {}", reason(&error)),
        )),
    }
}

/// The resolver's own words, without the system call's.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit(": ").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn counting(delay: Duration) -> (Ask, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let ask: Ask = Arc::new(move |host: Arc<str>| {
            counter.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::sleep(delay).await;
                if &*host == "bug" {
                    panic!("planted")
                } else {
                    Ok(vec![IpAddr::from([127, 0, 0, 1])])
                }
            })
        });
        (ask, count)
    }

    #[tokio::test(start_paused = true)]
    async fn one_lookup_serves_all_who_want_the_host_and_outlives_those_who_leave() {
        let (ask, count) = counting(Duration::from_secs(10));
        let lookup = Lookup::new(ask);
        for _ in 0..5 {
            assert!(
                timeout(Duration::from_secs(1), lookup.addresses("slow"))
                    .await
                    .is_err()
            );
        }
        let (one, two) = tokio::join!(lookup.addresses("slow"), lookup.addresses("slow"));
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 1));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        lookup.addresses("slow").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_panics_fails_those_who_wait_and_nobody_later() {
        let (ask, count) = counting(Duration::ZERO);
        let lookup = Lookup::new(ask);
        for round in 1..=2 {
            assert_eq!(
                lookup.addresses("bug").await.unwrap_err().code,
                Code::DnsFailed
            );
            assert_eq!(count.load(Ordering::Relaxed), round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_is_down_is_asked_for_few_hosts_at_once_and_for_none_in_vain() {
        let (ask, count) = counting(Duration::from_secs(100));
        let lookup = Lookup::new(ask);
        let hosts: Vec<String> = (0..200).map(|n| format!("host-{n}")).collect();
        for host in &hosts {
            assert!(
                timeout(Duration::from_millis(1), lookup.addresses(host))
                    .await
                    .is_err()
            );
        }
        assert_eq!(count.load(Ordering::Relaxed), AT_ONCE);
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(count.load(Ordering::Relaxed), AT_ONCE);
        lookup.addresses("host-199").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), AT_ONCE + 1);
        assert!(lookup.running.lock().unwrap().is_empty());
    }

    #[test]
    fn the_resolvers_words_are_kept_without_the_system_calls() {
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(
            &*judge(Err(error)).unwrap_err().message,
            "the name lookup failed: name or service not known"
        );
        assert_eq!(
            &*judge(Ok(vec![])).unwrap_err().message,
            "the name has no address"
        );
    }
}
