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
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::domain::{Code, Failure};

/// Lookups at once, of different hosts; whatever else needs a blocking thread finds one.
const MAX_CONCURRENT_LOOKUPS: usize = 64;

/// Asks for the addresses of a host.
pub type ResolveFn = Arc<
    dyn Fn(Arc<str>) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

type AddressResult = Result<Arc<[IpAddr]>, Failure>;

type PendingLookup = watch::Receiver<Option<AddressResult>>;

/// The lookups in progress.
#[derive(Clone)]
pub(crate) struct NameResolver {
    resolve: ResolveFn,
    in_progress: Arc<Mutex<HashMap<Arc<str>, PendingLookup>>>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl NameResolver {
    /// Lookups that `ask`.
    pub(crate) fn new(ask: ResolveFn) -> Self {
        Self {
            resolve: ask,
            in_progress: Arc::default(),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS)),
            tasks: TaskTracker::new(),
        }
    }

    /// The addresses of `host`, at least one, in the order in which they are to be tried.
    pub(crate) async fn resolve_host(&self, host: &str) -> AddressResult {
        let mut found = self.join_lookup(host);
        match found.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(found)) => found.clone(),
            _ => Err(Failure::new(
                Code::DnsFailed,
                "the name lookup ended without an answer",
            )),
        }
    }

    /// The lookup of `host` that is running, or a new one.
    fn join_lookup(&self, host: &str) -> PendingLookup {
        let mut running = self.in_progress.lock();
        if let Some(found) = running.get(host) {
            return found.clone();
        }
        let host: Arc<str> = host.into();
        let (tell, found) = watch::channel(None);
        running.insert(Arc::clone(&host), found.clone());
        let lookup = self.clone();
        self.tasks.spawn(async move {
            let _turn = lookup.permits.acquire().await;
            if lookup.cancel_if_unwanted(&host, &tell) {
                return;
            }
            let ended = LookupGuard {
                resolver: &lookup,
                host: &host,
            };
            let answer = (lookup.resolve)(Arc::clone(&host)).await;
            drop(ended);
            tell.send_replace(Some(convert_answer(answer)));
        });
        found
    }

    /// Whether nobody but the list waits for `host`; then it is taken off the list, so that the next to come starts anew.
    fn cancel_if_unwanted(
        &self,
        host: &Arc<str>,
        tell: &watch::Sender<Option<AddressResult>>,
    ) -> bool {
        let mut running = self.in_progress.lock();
        tell.receiver_count() == 1 && running.remove(host).is_some()
    }
}

/// Takes a lookup off the list when it ends, also by a panic.
struct LookupGuard<'l> {
    resolver: &'l NameResolver,
    host: &'l Arc<str>,
}

impl Drop for LookupGuard<'_> {
    fn drop(&mut self) {
        self.resolver.in_progress.lock().remove(self.host);
    }
}

/// Asks the system's resolver.
pub(crate) fn system_resolver() -> ResolveFn {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((&*host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

fn convert_answer(answer: io::Result<Vec<IpAddr>>) -> AddressResult {
    match answer {
        Ok(addresses) if addresses.is_empty() => {
            Err(Failure::new(Code::DnsFailed, "the name has no address"))
        }
        Ok(addresses) => Ok(addresses.into()),
        Err(error) => Err(Failure::new(
            Code::DnsFailed,
            format!("the name lookup failed: {}", resolver_reason(&error)),
        )),
    }
}

/// The resolver's own words, without the system call's.
fn resolver_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit(": ").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn counting_resolver(delay: Duration) -> (ResolveFn, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let ask: ResolveFn = Arc::new(move |host: Arc<str>| {
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
    async fn lookup_is_shared_per_host() {
        let (ask, count) = counting_resolver(Duration::from_secs(10));
        let lookup = NameResolver::new(ask);
        for _ in 0..5 {
            assert!(
                timeout(Duration::from_secs(1), lookup.resolve_host("slow"))
                    .await
                    .is_err()
            );
        }
        let (one, two) = tokio::join!(lookup.resolve_host("slow"), lookup.resolve_host("slow"));
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 1));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        lookup.resolve_host("slow").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn lookup_panic_fails_its_waiters() {
        let (ask, count) = counting_resolver(Duration::ZERO);
        let lookup = NameResolver::new(ask);
        for round in 1..=2 {
            assert_eq!(
                lookup.resolve_host("bug").await.unwrap_err().code,
                Code::DnsFailed
            );
            assert_eq!(count.load(Ordering::Relaxed), round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_lookups_are_limited() {
        let (ask, count) = counting_resolver(Duration::from_secs(100));
        let lookup = NameResolver::new(ask);
        let hosts: Vec<String> = (0..200).map(|n| format!("host-{n}")).collect();
        for host in &hosts {
            assert!(
                timeout(Duration::from_millis(1), lookup.resolve_host(host))
                    .await
                    .is_err()
            );
        }
        assert_eq!(count.load(Ordering::Relaxed), MAX_CONCURRENT_LOOKUPS);
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(count.load(Ordering::Relaxed), MAX_CONCURRENT_LOOKUPS);
        lookup.resolve_host("host-199").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), MAX_CONCURRENT_LOOKUPS + 1);
        assert!(lookup.in_progress.lock().is_empty());
    }

    #[test]
    fn lookup_error_keeps_the_reason() {
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(
            &*convert_answer(Err(error)).unwrap_err().message,
            "the name lookup failed: name or service not known"
        );
        assert_eq!(
            &*convert_answer(Ok(vec![])).unwrap_err().message,
            "the name has no address"
        );
    }
}
