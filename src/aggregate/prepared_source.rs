//! A fetched source with its filters compiled.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::{JsonData, Provider, Reading, Schedule, Source, SourceIdentity, SourceKind};
use crate::extract::{Extractor, Filter, FilterError};
use crate::fetch::Validators;

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
    /// The last response of each provider that a request can ask about.
    last_responses: Arc<[Mutex<Option<LastResponse>>]>,
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
            last_responses: providers.iter().map(|_| Mutex::default()).collect(),
            providers,
        }))
    }

    /// Returns the validators of the response of the provider at `position` that `held` came from; `None` if it came from
    /// elsewhere: another provider, another process, or another filter.
    pub(super) fn held_validators(&self, position: usize, held: &Reading) -> Option<Validators> {
        let last = self.last_responses[position].lock();
        let last = last.as_ref()?;
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
        *self.last_responses[position].lock() = validators.map(|validators| LastResponse {
            data: data.clone(),
            validators,
        });
    }
}
