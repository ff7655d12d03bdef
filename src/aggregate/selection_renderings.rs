//! The latest renderings of selections: of some sources, of all with another timeout, or in another form.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Name, Time};
use crate::render::{BodyForm, Rendering};

/// Maximum number of renderings that are kept. Clients may request any combination of sources.
const MAX_SELECTIONS: usize = 64;

/// Maximum size of the bodies that are kept beside the newest one, in bytes.
const MAX_SELECTION_BYTES: usize = 1 << 20;

/// What a client requests of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The sources, in this order; `None` for all. A name without a source is left out.
    pub names: Option<Vec<Name>>,
    /// The `timeout_s` of the answer; `None` for the default one.
    pub timeout: Option<Duration>,
    /// The form of the answer.
    pub form: BodyForm,
}

/// Renderings of one snapshot, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct SelectionRenderings(Vec<(Arc<Selection>, Arc<Rendering>)>);

impl SelectionRenderings {
    /// Returns the rendering of `selection` that is valid at `now`.
    pub(super) fn find(&self, selection: &Selection, now: Time) -> Option<Arc<Rendering>> {
        let mut known = self.0.iter();
        let (_, rendering) = known
            .find(|(known, rendering)| now <= rendering.valid_until && **known == *selection)?;
        Some(Arc::clone(rendering))
    }

    /// Returns these renderings with another one. Those that are not valid at `now` are left out, and
    /// the oldest ones beyond the limits. The newest one is kept, however large.
    #[must_use]
    pub(super) fn with(&self, selection: Selection, rendering: Arc<Rendering>, now: Time) -> Self {
        let older = self.0.iter().filter(|(_, known)| now <= known.valid_until);
        let mut kept_bytes = rendering.body.len();
        let kept = older
            .rev()
            .take(MAX_SELECTIONS - 1)
            .take_while(|(_, known)| {
                kept_bytes += known.body.len();
                kept_bytes <= MAX_SELECTION_BYTES
            });
        let mut selections: Vec<_> = kept.cloned().collect();
        selections.reverse();
        selections.push((Arc::new(selection), rendering));
        Self(selections)
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
        let form = BodyForm::Summary;
        let mut rendering = render_summary(&snapshot, &[], &form, &mode, NOW);
        rendering.body = vec![b' '; bytes].into();
        Arc::new(rendering)
    }

    fn selection(seconds: usize) -> Selection {
        Selection {
            timeout: Some(Duration::from_secs(seconds as u64)),
            ..Selection::default()
        }
    }

    /// The positions that are kept of renderings of these sizes.
    fn kept_positions(sizes: &[usize]) -> Vec<usize> {
        let mut selections = SelectionRenderings::default();
        for (position, bytes) in sizes.iter().enumerate() {
            selections = selections.with(selection(position), rendering_of(*bytes), NOW);
        }
        let is_kept = |at: &usize| selections.find(&selection(*at), NOW).is_some();
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
        let old = SelectionRenderings::default().with(selection(0), rendering_of(1), NOW);
        let later = NOW.plus(Duration::from_secs(1));
        assert!(old.find(&selection(0), later).is_none());
        assert_eq!(old.with(selection(1), rendering_of(1), later).0.len(), 1);
    }
}
