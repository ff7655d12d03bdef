//! Work that is too long for a serving thread: renderings of large summaries, compression, pages.
//!
//! While a serving thread computes, its other connections wait. So such work runs on background
//! threads with a lower priority, once for all requests that wait for the same result, in queues whose
//! length is limited: requests beyond it are answered 503 `busy` at once.

use std::sync::Arc;

use http::HeaderMap;
use tokio::runtime::Handle;

use crate::panel::PanelAsset;
use crate::process::{SharedWork, WorkQueue, WorkQueueFull};
use crate::render::{ContentCoding, EncodedBodies, Rendering};
use crate::server::{missing_coding, missing_form};

/// Maximum number of different pieces of work that wait or run in one queue.
const MAX_QUEUED_WORK: usize = 64;

/// The queues, and the compressions in progress. Renderings, live answers, and what takes longest have
/// queues of their own, so that none of them waits for another kind.
pub(super) struct BackgroundWork {
    /// Renderings of the snapshot.
    pub(super) renderings: WorkQueue,
    /// Renderings of live answers, which have a deadline.
    pub(super) live_answers: WorkQueue,
    /// Pages.
    pub(super) pages: WorkQueue,
    /// The serialisation of the panel's history in progress.
    pub(super) panel_history: SharedWork<(), Arc<PanelAsset>>,
    codings: WorkQueue,
    /// By the address of the body's encodings, which every waiter keeps alive, and the coding.
    codings_in_progress: SharedWork<(usize, ContentCoding), ()>,
}

impl BackgroundWork {
    /// Queues without work, on the blocking threads of `runtime`.
    pub(super) fn new(runtime: &Handle) -> Self {
        let queue = || WorkQueue::new(runtime.clone(), MAX_QUEUED_WORK);
        Self {
            renderings: queue(),
            live_answers: queue(),
            pages: queue(),
            panel_history: SharedWork::default(),
            codings: queue(),
            codings_in_progress: SharedWork::default(),
        }
    }

    /// Makes the coding that the response of `rendering` to this request needs, if it takes long.
    pub(super) async fn prepare_coding(
        &self,
        rendering: &Rendering,
        request: &HeaderMap,
    ) -> Result<(), WorkQueueFull> {
        match missing_coding(rendering, request) {
            Some(coding) => self.encode(&rendering.encoded_bodies, coding).await,
            None => Ok(()),
        }
    }

    /// Makes the coding that the response to this request needs of `forms`, if it takes long.
    pub(super) async fn prepare_form(
        &self,
        forms: &Arc<EncodedBodies>,
        request: &HeaderMap,
    ) -> Result<(), WorkQueueFull> {
        match missing_form(forms, request) {
            Some(coding) => self.encode(forms, coding).await,
            None => Ok(()),
        }
    }

    async fn encode(
        &self,
        forms: &Arc<EncodedBodies>,
        coding: ContentCoding,
    ) -> Result<(), WorkQueueFull> {
        let key = (Arc::as_ptr(forms).addr(), coding);
        let forms = Arc::clone(forms);
        let work = move || {
            forms.get_or_encode(coding, false);
        };
        self.codings_in_progress.run(&self.codings, key, work).await
    }
}
