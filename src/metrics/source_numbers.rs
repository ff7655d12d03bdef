//! The numbers of the newest reading of each source, found once for each reading.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::{JsonData, SourceIdentity, SourceSet, Time};

use super::path_admission::PathAdmission;
use super::value_metrics::{ExtractedNumbers, collect_numbers};

/// The numbers of all sources that are exported. A search of large data takes long: only background threads
/// ask for them.
#[derive(Debug, Default)]
pub(crate) struct SourceNumbers(Mutex<HashMap<SourceIdentity, NumbersOfSource>>);

/// The numbers of one source.
#[derive(Debug)]
struct NumbersOfSource {
    data: JsonData,
    numbers: Arc<ExtractedNumbers>,
    admission: PathAdmission,
}

impl SourceNumbers {
    /// The numbers in `data`, the reading of this source, whose paths are admitted at `now`.
    pub(crate) fn numbers_of(
        &self,
        identity: SourceIdentity,
        data: &JsonData,
        now: Time,
    ) -> Arc<ExtractedNumbers> {
        let mut sources = self.0.lock();
        let known = sources.get(&identity);
        if let Some(known) = known.filter(|known| known.data.is_same(data)) {
            return Arc::clone(&known.numbers);
        }
        let mut admission = sources
            .remove(&identity)
            .map_or_else(|| PathAdmission::new(now), |known| known.admission);
        let mut numbers = collect_numbers(data);
        numbers.omitted_count +=
            admission.retain_admitted(&mut numbers.by_path, now, |(path, _)| Some(path));
        let numbers = Arc::new(numbers);
        let newest = NumbersOfSource {
            data: data.clone(),
            numbers: Arc::clone(&numbers),
            admission,
        };
        sources.insert(identity, newest);
        numbers
    }

    /// Forgets the sources that are not in `source_set`.
    pub(crate) fn retain_sources(&self, source_set: &SourceSet) {
        let positions = 0..source_set.sources().len();
        let identities: HashSet<SourceIdentity> = positions
            .map(|position| source_set.identity(position))
            .collect();
        let mut sources = self.0.lock();
        sources.retain(|identity, _| identities.contains(identity));
    }
}
