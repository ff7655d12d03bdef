//! A fetched source with its filters compiled.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::{JsonData, Provider, Reading, Schedule, Source, SourceIdentity, SourceKind};
use crate::extract::{Extractor, Filter, FilterError};
use crate::fetch::Validators;

/// Weight of the refused conditional requests after which a provider gets no more of them: some servers cannot handle
/// what they ask for by an `ETag`.
const MAX_REFUSALS: u8 = 2;

/// A fetched source that a flight can attempt. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PreparedSource {
    /// The definition.
    pub source: Arc<Source>,
    /// The identity of the readings.
    pub identity: SourceIdentity,
    /// When the providers are called.
    pub schedule: Schedule,
    /// The providers in order of preference, each with its filter.
    pub providers: Arc<[(Provider, Filter)]>,
    /// What conditional requests to each provider need.
    conditions: Arc<[Mutex<ProviderConditions>]>,
}

/// What conditional requests to a provider need.
#[derive(Debug, Default)]
struct ProviderConditions {
    /// The last response that a request can ask about.
    last: Option<LastResponse>,
    /// The weight of the refusals since the last 304; at most [`MAX_REFUSALS`].
    refusals: u8,
}

/// The data that a response gave, and its validators.
#[derive(Debug)]
struct LastResponse {
    data: JsonData,
    validators: Validators,
}

impl PreparedSource {
    /// Compiles the filters of a fetched source; `None` for a derived one. A filter that
    /// `extractor` has compiled before is reused.
    pub fn new(source: &Arc<Source>, extractor: &Extractor) -> Result<Option<Self>, FilterError> {
        let SourceKind::Fetched {
            providers,
            schedule,
        } = &source.kind
        else {
            return Ok(None);
        };
        let providers = providers
            .iter()
            .map(|provider| {
                let filter = extractor.compile_filter(&provider.extract)?;
                Ok((provider.clone(), filter))
            })
            .collect::<Result<Arc<[_]>, FilterError>>()?;
        Ok(Some(Self {
            source: Arc::clone(source),
            identity: SourceIdentity::from_source(source),
            schedule: *schedule,
            conditions: providers.iter().map(|_| Mutex::default()).collect(),
            providers,
        }))
    }

    /// Returns the validators of the response of the provider at `position` that `held` came from; `None` if it came from
    /// elsewhere: another provider, another process, or another filter.
    pub(super) fn held_validators(&self, position: usize, held: &Reading) -> Option<Validators> {
        let conditions = self.conditions[position].lock();
        let last = conditions.last.as_ref()?;
        let is_held =
            held.data.is_same(&last.data) && held.provider == self.providers[position].0.name;
        is_held.then(|| last.validators.clone())
    }

    /// Records the data and the validators of a response of the provider at `position`.
    pub(super) fn record_response(
        &self,
        position: usize,
        data: &JsonData,
        validators: Option<Validators>,
    ) {
        let mut conditions = self.conditions[position].lock();
        let validators = validators.filter(|_| conditions.refusals < MAX_REFUSALS);
        conditions.last = validators.map(|validators| LastResponse {
            data: data.clone(),
            validators,
        });
    }

    /// Records that the provider at `position` can answer a conditional request.
    pub(super) fn record_unchanged(&self, position: usize) {
        self.conditions[position].lock().refusals = 0;
    }

    /// Records that a request with validators failed with this status at the provider at `position`: the next one has no
    /// condition.
    pub(super) fn record_refused_condition(&self, position: usize, status: u16) {
        let mut conditions = self.conditions[position].lock();
        conditions.last = None;
        // These are about the request; other statuses may have another cause, so that one of them is no proof.
        let weight = if matches!(status, 400 | 412 | 501) {
            MAX_REFUSALS
        } else {
            1
        };
        conditions.refusals = conditions.refusals.saturating_add(weight).min(MAX_REFUSALS);
    }
}
