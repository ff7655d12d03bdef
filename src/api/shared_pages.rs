//! Pages about the service, made by background threads: metrics and the health of the sources.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::process::{Clock, SharedWork, WorkQueue, WorkQueueFull};

/// How long a page of more than [`LARGE_PAGE_BYTES`] is served again. A smaller page is current: it is
/// made after the request, or was being made when the request arrived.
const LARGE_PAGE_LIFETIME: Duration = Duration::from_millis(250);

/// Length of a page, in bytes, from which it is served again.
const LARGE_PAGE_BYTES: usize = 64 << 10;

/// A page and its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PageKind {
    /// `/metrics` in the text format of Prometheus.
    PrometheusText,
    /// `/metrics` as `OpenMetrics`.
    OpenMetrics,
    /// `/salud/fuentes`.
    SourceHealth,
}

/// The pages in progress, and the latest large ones.
#[derive(Default)]
pub(super) struct SharedPages {
    /// `None` if a page cannot be made.
    in_progress: SharedWork<PageKind, Option<Bytes>>,
    latest: Mutex<HashMap<PageKind, (Instant, Bytes)>>,
}

impl SharedPages {
    /// The page that `make` returns, for all requests that wait for it; `None` if `make` does.
    pub(super) async fn get_or_make<F>(
        &self,
        queue: &WorkQueue,
        clock: Clock,
        kind: PageKind,
        make: F,
    ) -> Result<Option<Bytes>, WorkQueueFull>
    where
        F: FnOnce() -> Option<Bytes> + Send + 'static,
    {
        if let Some((made_at, page)) = self.latest.lock().get(&kind)
            && clock.instant() < *made_at + LARGE_PAGE_LIFETIME
        {
            return Ok(Some(page.clone()));
        }
        let page = self.in_progress.run(queue, kind, make).await?;
        let large = page.as_ref().filter(|page| page.len() > LARGE_PAGE_BYTES);
        let mut latest = self.latest.lock();
        match large {
            // All who waited for a page come here; the first one counts.
            Some(page) => match latest.get(&kind) {
                Some((_, known)) if known.as_ptr() == page.as_ptr() => {}
                _ => {
                    latest.insert(kind, (clock.instant(), page.clone()));
                }
            },
            None => {
                latest.remove(&kind);
            }
        }
        Ok(page)
    }
}
