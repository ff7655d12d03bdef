//! Renderings of summaries for the handlers: small ones at once, large ones by background threads.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{timeout, timeout_at};

use crate::aggregate::{LiveResult, Selection};
use crate::domain::{Name, Time};
use crate::process::{Deadline, SendBudget, SharedWork, WorkQueueFull};
use crate::render::{
    BodyForm, LARGE_BODY_BYTES, ReadingOrigin, RenderMode, Rendering, estimate_body_bytes,
    render_summary,
};
use crate::server::{ProblemDetails, ServerContext};

use super::background_work::BackgroundWork;

/// How long after its deadline a live answer may be rendered. It is never more than 25 ms late.
const LIVE_RENDER_GRACE: Duration = Duration::from_millis(20);

/// How long a response that no other request shares waits for room in the send budget.
pub(super) const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Waits for room in the send budget. Without any in this time, the request is answered `busy`.
pub(super) async fn wait_for_room(
    budget: &SendBudget,
    limit: Duration,
) -> Result<(), WorkQueueFull> {
    timeout(limit, budget.wait_for_room())
        .await
        .map_err(|_| WorkQueueFull)
}

/// The large renderings in progress.
#[derive(Default)]
pub(super) struct SharedRenderings {
    snapshot: SharedWork<Selection, Arc<Rendering>>,
    live: SharedWork<LiveKey, Arc<Rendering>>,
}

/// What the body of a live answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LiveKey {
    /// Address of the snapshot, which every waiter keeps alive.
    snapshot: usize,
    positions: Vec<usize>,
    form: BodyForm,
    timeout: Duration,
    sources: Vec<(ReadingOrigin, Option<Name>)>,
    was_collapsed: bool,
}

impl SharedRenderings {
    /// A valid rendering of `selection` from the snapshot.
    pub(super) async fn render_snapshot(
        &self,
        server: &ServerContext,
        work: &BackgroundWork,
        selection: &Selection,
    ) -> Result<Arc<Rendering>, WorkQueueFull> {
        let (cache, clock) = (&server.cache, server.clock);
        if *selection != Selection::default() {
            wait_for_room(cache.send_budget(), ROOM_WAIT).await?;
        }
        if let Some(rendering) = cache.quick_rendering(selection, clock.now()) {
            return Ok(rendering);
        }
        let (cache, wanted) = (Arc::clone(cache), selection.clone());
        let render = move || {
            let render = || cache.selected_rendering(&wanted, clock.now());
            // A machine that is busy may take longer than a rendering is valid. The second one is sent
            // in any case.
            let first = Some(render()).filter(|first| clock.now() <= first.valid_until);
            first.unwrap_or_else(render)
        };
        self.snapshot
            .run(&work.renderings, selection.clone(), render)
            .await
    }

    /// The rendering of a live answer.
    pub(super) async fn render_live(
        &self,
        server: &ServerContext,
        work: &BackgroundWork,
        result: LiveResult,
        form: &BodyForm,
        deadline: Deadline,
    ) -> Result<Arc<Rendering>, ProblemDetails> {
        let clock = server.clock;
        let result = Arc::new(result);
        let latest = deadline.at + LIVE_RENDER_GRACE;
        wait_for_room(
            server.cache.send_budget(),
            latest.saturating_duration_since(clock.instant()),
        )
        .await?;
        if estimate_body_bytes(&result.snapshot, &result.positions, form) <= LARGE_BODY_BYTES {
            let rendering = render_result(&result, form, deadline.limit, clock.now());
            return Ok(Arc::new(rendering.counted_in(server.cache.send_budget())));
        }
        let key = LiveKey {
            snapshot: Arc::as_ptr(&result.snapshot).addr(),
            positions: result.positions.clone(),
            form: form.clone(),
            timeout: deadline.limit,
            sources: result
                .notes
                .iter()
                .map(|note| (note.origin, note.late_source.clone()))
                .collect(),
            was_collapsed: result.was_collapsed,
        };
        let (rendered, form) = (Arc::clone(&result), form.clone());
        let budget = Arc::clone(server.cache.send_budget());
        let render = move || {
            let rendering = render_result(&rendered, &form, deadline.limit, clock.now());
            Arc::new(rendering.counted_in(&budget))
        };
        let shared = self.live.run(&work.live_answers, key, render);
        // An answer that is late would break its deadline; one that says `busy` is not.
        let shared = timeout_at(latest, shared).await;
        let shared = shared.unwrap_or(Err(WorkQueueFull))?;
        let own = shared.with_wait_times(&result.snapshot, &result.positions, &result.notes);
        Ok(Arc::new(own))
    }
}

fn render_result(result: &LiveResult, form: &BodyForm, timeout: Duration, now: Time) -> Rendering {
    let mode = RenderMode::Live {
        timeout,
        source_results: &result.notes,
        is_collapsed: result.was_collapsed,
    };
    render_summary(&result.snapshot, &result.positions, form, &mode, now)
}
