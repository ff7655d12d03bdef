//! Name lookup with the system's resolver.
//!
//! A system lookup blocks a thread and cannot be cancelled. It therefore runs in a task, at most
//! one per host at a time, and all requests to the host wait for it, each until its deadline.
//! Results are not cached here: the system does that. A resolver that does not respond blocks at
//! most [`MAX_CONCURRENT_LOOKUPS`] threads; a queued lookup without waiters is dropped.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::domain::{Code, Failure};

/// Maximum number of concurrent lookups. It leaves blocking threads for other work.
const MAX_CONCURRENT_LOOKUPS: usize = 64;

/// Resolves a host name to its addresses.
pub type ResolveFn = Arc<
    dyn Fn(Arc<str>) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

type AddressResult = Result<Arc<[IpAddr]>, Failure>;

type PendingLookup = watch::Receiver<Option<AddressResult>>;

/// Lookups in progress, by host.
#[derive(Clone)]
pub(super) struct NameResolver {
    resolve: ResolveFn,
    in_progress: Arc<Mutex<HashMap<Arc<str>, PendingLookup>>>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl NameResolver {
    /// Returns a resolver that performs lookups with `resolve`.
    pub(super) fn new(resolve: ResolveFn) -> Self {
        Self {
            resolve,
            in_progress: Arc::default(),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS)),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns the addresses of `host`, at least one, in order of preference.
    pub(super) async fn resolve_host(&self, host: &str) -> AddressResult {
        let mut lookup = self.join_lookup(host);
        match lookup.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            _ => Err(Failure::new(
                Code::DnsFailed,
                "the name lookup ended without an answer",
            )),
        }
    }

    /// Returns the running lookup of `host`, or starts one.
    fn join_lookup(&self, host: &str) -> PendingLookup {
        let mut in_progress = self.in_progress.lock();
        if let Some(lookup) = in_progress.get(host) {
            return lookup.clone();
        }
        let host: Arc<str> = host.into();
        let (sender, lookup) = watch::channel(None);
        in_progress.insert(Arc::clone(&host), lookup.clone());
        let resolver = self.clone();
        self.tasks.spawn(async move {
            // A lookup may have waited for the others so long that its callers have given up.
            let _permit = resolver.permits.acquire().await;
            if resolver.cancel_if_unwanted(&host, &sender) {
                return;
            }
            let guard = LookupGuard {
                resolver: &resolver,
                host: &host,
            };
            // From here on the lookup runs to its end even without waiters: a thread is blocked in
            // it.
            let result = (resolver.resolve)(Arc::clone(&host)).await;
            // Removed before its waiters wake, so that their next lookup starts anew.
            drop(guard);
            sender.send_replace(Some(convert_result(result)));
        });
        lookup
    }

    /// Removes the lookup of `host` if it has no waiters, that is if the map has the only receiver;
    /// returns whether it did.
    fn cancel_if_unwanted(
        &self,
        host: &Arc<str>,
        sender: &watch::Sender<Option<AddressResult>>,
    ) -> bool {
        let mut in_progress = self.in_progress.lock();
        // Under the lock of the map, so that no call can join the lookup between the two steps.
        sender.receiver_count() == 1 && in_progress.remove(host).is_some()
    }
}

/// Removes a lookup from the map when it ends, even by a panic.
struct LookupGuard<'l> {
    resolver: &'l NameResolver,
    host: &'l Arc<str>,
}

impl Drop for LookupGuard<'_> {
    fn drop(&mut self) {
        self.resolver.in_progress.lock().remove(self.host);
    }
}

/// Returns the system's resolver.
pub(super) fn system_resolver() -> ResolveFn {
    Arc::new(|host| {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((&*host, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    })
}

fn convert_result(result: io::Result<Vec<IpAddr>>) -> AddressResult {
    match result {
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

/// Returns the resolver's part of the error text, without the name of the system call.
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
        let resolve: ResolveFn = Arc::new(move |host: Arc<str>| {
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
        (resolve, count)
    }

    #[tokio::test(start_paused = true)]
    async fn lookup_is_shared_per_host() {
        let (resolve, count) = counting_resolver(Duration::from_secs(10));
        let resolver = NameResolver::new(resolve);
        for _ in 0..5 {
            assert!(
                timeout(Duration::from_secs(1), resolver.resolve_host("slow"))
                    .await
                    .is_err()
            );
        }
        let (first, second) =
            tokio::join!(resolver.resolve_host("slow"), resolver.resolve_host("slow"));
        assert_eq!((first.unwrap().len(), second.unwrap().len()), (1, 1));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        resolver.resolve_host("slow").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn lookup_panic_fails_its_waiters() {
        let (resolve, count) = counting_resolver(Duration::ZERO);
        let resolver = NameResolver::new(resolve);
        for round in 1..=2 {
            assert_eq!(
                resolver.resolve_host("bug").await.unwrap_err().code,
                Code::DnsFailed
            );
            assert_eq!(count.load(Ordering::Relaxed), round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_lookups_are_limited() {
        let (resolve, count) = counting_resolver(Duration::from_secs(100));
        let resolver = NameResolver::new(resolve);
        let hosts: Vec<String> = (0..200).map(|n| format!("host-{n}")).collect();
        for host in &hosts {
            assert!(
                timeout(Duration::from_millis(1), resolver.resolve_host(host))
                    .await
                    .is_err()
            );
        }
        assert_eq!(count.load(Ordering::Relaxed), MAX_CONCURRENT_LOOKUPS);
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(count.load(Ordering::Relaxed), MAX_CONCURRENT_LOOKUPS);
        resolver.resolve_host("host-199").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), MAX_CONCURRENT_LOOKUPS + 1);
        assert!(resolver.in_progress.lock().is_empty());
    }

    #[test]
    fn lookup_error_keeps_the_reason() {
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(
            &*convert_result(Err(error)).unwrap_err().message,
            "the name lookup failed: name or service not known"
        );
        assert_eq!(
            &*convert_result(Ok(vec![])).unwrap_err().message,
            "the name has no address"
        );
    }
}
