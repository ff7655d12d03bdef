//! Serialised responses from one snapshot, by the target and the fields that they depend on.

use bytes::Bytes;
use http::StatusCode;

use crate::domain::Time;
use crate::metrics::RouteId;

use super::parse::RequestFields;

/// Maximum number of cached responses.
const MAX_CACHED_RESPONSES: usize = 32;

/// The cached responses.
#[derive(Default)]
pub(super) struct ResponseCache {
    /// [`Cache::publication`](crate::aggregate::Cache::publication) that they were built from.
    publication: u64,
    /// [`AccessControl::generation`](super::super::access_control::AccessControl::generation) that
    /// the remembered heads were admitted under.
    access_generation: u64,
    responses: Vec<CachedResponse>,
    /// Index of the response that the next insertion replaces when the cache is full.
    next_evicted: usize,
}

/// A serialised response.
pub(super) struct CachedResponse {
    /// The request head that it answered last. Clients repeat the same head, and comparing bytes is
    /// cheaper than parsing. A head is remembered only after its request was admitted.
    pub(super) head: Vec<u8>,
    /// What it depends on: [`RequestFields::as_key`].
    pub(super) key: [Option<Box<[u8]>>; 5],
    /// Last instant at which it may be sent.
    pub(super) valid_until: Time,
    /// The route that it is counted under.
    pub(super) route: RouteId,
    pub(super) status: StatusCode,
    pub(super) body_length: u64,
    /// The head, with the body if that is small.
    pub(super) start: Bytes,
    /// A larger body, shared with the rendering; else empty.
    pub(super) rest: Bytes,
}

impl ResponseCache {
    /// Removes the responses that another snapshot was the basis of, or that other tokens admitted.
    pub(super) fn set_basis(&mut self, publication: u64, access_generation: u64) {
        if self.publication != publication || self.access_generation != access_generation {
            self.responses.clear();
            self.publication = publication;
            self.access_generation = access_generation;
        }
    }

    /// The index of a response, valid at `now`, whose last request head is repeated at the start of `input`.
    pub(super) fn find_by_head(&self, input: &[u8], now: Time) -> Option<usize> {
        self.responses
            .iter()
            .position(|response| now <= response.valid_until && input.starts_with(&response.head))
    }

    /// The index of the response, valid at `now`, to a request with these fields.
    pub(super) fn find_by_fields(&self, fields: &RequestFields<'_>, now: Time) -> Option<usize> {
        let key = fields.as_key();
        self.responses.iter().position(|response| {
            let known = response.key.iter().map(Option::as_deref);
            now <= response.valid_until && known.eq(key)
        })
    }

    /// The response at `index`.
    pub(super) fn get(&self, index: usize) -> &CachedResponse {
        &self.responses[index]
    }

    /// Sets the head that the response at `index` answered last, and returns the response.
    pub(super) fn remember_head(&mut self, index: usize, head: &[u8]) -> &CachedResponse {
        let response = &mut self.responses[index];
        response.head.clear();
        response.head.extend_from_slice(head);
        response
    }

    /// Adds a response, in place of those that are not valid at `now`, or of the oldest if the cache is
    /// full. Returns its index.
    pub(super) fn insert(&mut self, response: CachedResponse, now: Time) -> usize {
        self.responses.retain(|known| now <= known.valid_until);
        if self.responses.len() < MAX_CACHED_RESPONSES {
            self.responses.push(response);
            return self.responses.len() - 1;
        }
        let index = self.next_evicted;
        self.next_evicted = (index + 1) % MAX_CACHED_RESPONSES;
        self.responses[index] = response;
        index
    }
}
