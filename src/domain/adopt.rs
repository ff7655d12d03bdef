//! What is known of a source, under another definition of it.

use std::sync::Arc;

use super::{Entry, Name, Source, Time};

impl Entry {
    /// This entry under a definition whose readings are the same. One that is asked otherwise has no plan any more, so it
    /// is asked at once; one that is asked at other times is planned anew from its latest attempt.
    #[must_use]
    pub(super) fn under(&self, source: &Arc<Source>) -> Self {
        let mut entry = Self {
            source: Arc::clone(source),
            ..self.clone()
        };
        if self.source.providers() != source.providers() {
            entry.trail.next = None;
            entry.trail.tries = self
                .trail
                .tries
                .iter()
                .filter(|t| has(source, &t.provider))
                .cloned()
                .collect();
            entry.trail.streaks = self
                .trail
                .streaks
                .iter()
                .filter(|streak| has(source, &streak.provider))
                .cloned()
                .collect();
        } else if self.source.pace() != source.pace() {
            let planned = |last| {
                source
                    .pace()
                    .map(|pace| pace.next(last, self.trail.failures, 0.5, None))
            };
            entry.trail.next = self.trail.last.and_then(planned);
        }
        entry.held_back()
    }

    /// The same, its next attempt planned no sooner than the first of its providers may be asked again, if all of them
    /// want to be left alone.
    #[must_use]
    pub(super) fn held_back(mut self) -> Self {
        let held = |name: &Name| {
            self.trail
                .tries
                .iter()
                .find(|t| t.provider == *name)?
                .held_until
        };
        let each = self.source.providers().iter().map(|p| held(&p.name));
        let first = each
            .collect::<Option<Vec<Time>>>()
            .and_then(|all| all.into_iter().min());
        self.trail.next = self.trail.next.max(first);
        self
    }
}

fn has(source: &Source, provider: &Name) -> bool {
    source.providers().iter().any(|p| p.name == *provider)
}
