//! The latest renderings of selections: of some sources, or of all with another timeout.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Time;
use crate::render::Rendering;

/// Maximum number of renderings that are kept. Clients may request any combination of sources.
const MAX_SELECTIONS: usize = 16;

/// Maximum size of the bodies that are kept beside the newest one, in bytes.
const MAX_SELECTION_BYTES: usize = 1 << 20;

/// Renderings of one snapshot, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct SelectionRenderings(Vec<Arc<SelectionRendering>>);

#[derive(Debug)]
struct SelectionRendering {
    positions: Vec<usize>,
    timeout: Duration,
    rendering: Arc<Rendering>,
}

impl SelectionRenderings {
    /// Returns the rendering of the sources at these positions that is valid at `now`.
    pub(super) fn find(
        &self,
        positions: &[usize],
        timeout: Duration,
        now: Time,
    ) -> Option<Arc<Rendering>> {
        let is_wanted = |selection: &&Arc<SelectionRendering>| {
            selection.is_valid(now)
                && selection.timeout == timeout
                && selection.positions == positions
        };
        let found = self.0.iter().find(is_wanted)?;
        Some(Arc::clone(&found.rendering))
    }

    /// Returns these renderings with another one. Those that are not valid at `now` are left out, and
    /// the oldest ones beyond the limits. The newest one is kept, however large.
    #[must_use]
    pub(super) fn with(
        &self,
        positions: Vec<usize>,
        timeout: Duration,
        rendering: Arc<Rendering>,
        now: Time,
    ) -> Self {
        let newest = SelectionRendering {
            positions,
            timeout,
            rendering,
        };
        let older = self.0.iter().filter(|selection| selection.is_valid(now));
        let mut kept_bytes = newest.rendering.body.len();
        let kept = older
            .rev()
            .take(MAX_SELECTIONS - 1)
            .take_while(|selection| {
                kept_bytes += selection.rendering.body.len();
                kept_bytes <= MAX_SELECTION_BYTES
            });
        let mut selections: Vec<_> = kept.cloned().collect();
        selections.reverse();
        selections.push(Arc::new(newest));
        Self(selections)
    }
}

impl SelectionRendering {
    fn is_valid(&self, now: Time) -> bool {
        now <= self.rendering.valid_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Snapshot, SourceSet};
    use crate::render::{RenderMode, render_summary};

    const NOW: Time = Time::from_millis(1_795_330_510_000);
    const TIMEOUT: Duration = Duration::from_secs(4);

    fn rendering_of(bytes: usize) -> Arc<Rendering> {
        let snapshot = Snapshot::new(Arc::new(SourceSet::new(Vec::new())));
        let mode = RenderMode::Snapshot { timeout: TIMEOUT };
        let mut rendering = render_summary(&snapshot, &[], &mode, NOW);
        rendering.body = vec![b' '; bytes].into();
        Arc::new(rendering)
    }

    /// The positions that are kept of renderings of these sizes.
    fn kept_positions(sizes: &[usize]) -> Vec<usize> {
        let mut selections = SelectionRenderings::default();
        for (position, bytes) in sizes.iter().enumerate() {
            selections = selections.with(vec![position], TIMEOUT, rendering_of(*bytes), NOW);
        }
        let is_kept = |at: &usize| selections.find(&[*at], TIMEOUT, NOW).is_some();
        (0..sizes.len()).filter(is_kept).collect()
    }

    #[test]
    fn newest_selections_are_kept() {
        let kept = kept_positions(&[100; MAX_SELECTIONS + 2]);
        assert_eq!(kept.first(), Some(&2));
        assert_eq!(kept.len(), MAX_SELECTIONS);
        assert_eq!(kept_positions(&[100, MAX_SELECTION_BYTES + 1]), [1]);
        let half = MAX_SELECTION_BYTES / 2;
        assert_eq!(kept_positions(&[half, half, half]), [1, 2]);
    }

    #[test]
    fn expired_selection_is_dropped() {
        let old = SelectionRenderings::default().with(vec![0], TIMEOUT, rendering_of(1), NOW);
        let later = NOW.plus(Duration::from_secs(1));
        assert!(old.find(&[0], TIMEOUT, later).is_none());
        assert_eq!(
            old.with(vec![1], TIMEOUT, rendering_of(1), later).0.len(),
            1
        );
    }
}
