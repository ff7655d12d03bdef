//! What is known of a source, under another definition of it.

use std::sync::Arc;

use super::name::Name;
use super::source::Source;
use super::source_state::SourceState;
use super::timestamp::Time;

impl SourceState {
    /// This entry under a definition whose readings are the same. One that is asked otherwise has no plan any more, so it
    /// is asked at once; one that is asked at other times is planned anew from its latest attempt.
    #[must_use]
    pub(crate) fn with_source(&self, source: &Arc<Source>) -> Self {
        let mut entry = Self {
            source: Arc::clone(source),
            ..self.clone()
        };
        if self.source.providers() != source.providers() {
            entry.history.next_attempt = None;
            entry.history.provider_attempts = self
                .history
                .provider_attempts
                .iter()
                .filter(|t| has_provider(source, &t.provider))
                .cloned()
                .collect();
            entry.history.failure_streaks = self
                .history
                .failure_streaks
                .iter()
                .filter(|streak| has_provider(source, &streak.provider))
                .cloned()
                .collect();
        } else if self.source.schedule() != source.schedule() {
            let planned = |last| {
                source
                    .schedule()
                    .map(|pace| pace.next_attempt(last, self.history.failure_count, 0.5, None))
            };
            entry.history.next_attempt = self.history.last_attempt.and_then(planned);
        }
        entry.clamp_to_retry_after()
    }

    /// The same, its next attempt planned no sooner than the first of its providers may be asked again, if all of them
    /// want to be left alone.
    #[must_use]
    pub(crate) fn clamp_to_retry_after(mut self) -> Self {
        let held = |name: &Name| {
            self.history
                .provider_attempts
                .iter()
                .find(|t| t.provider == *name)?
                .retry_at
        };
        let each = self.source.providers().iter().map(|p| held(&p.name));
        let first = each
            .collect::<Option<Vec<Time>>>()
            .and_then(|all| all.into_iter().min());
        self.history.next_attempt = self.history.next_attempt.max(first);
        self
    }
}

fn has_provider(source: &Source, provider: &Name) -> bool {
    source.providers().iter().any(|p| p.name == *provider)
}
