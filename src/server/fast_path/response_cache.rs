//! Serialised responses from one rendering, by the request fields that they depend on.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::render::Rendering;

use super::parse::RequestFields;

/// Maximum number of cached responses.
const MAX_CACHED_RESPONSES: usize = 8;

/// The cached responses of one rendering.
#[derive(Default)]
pub(super) struct ResponseCache {
    rendering: Option<Arc<Rendering>>,
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
    /// The values of the fields that it depends on: [`RequestFields::as_array`].
    pub(super) field_values: [Option<Box<[u8]>>; 3],
    pub(super) status: StatusCode,
    pub(super) body_length: u64,
    /// The head, with the body if that is small.
    pub(super) start: Bytes,
    /// A larger body, shared with the rendering; else empty.
    pub(super) rest: Bytes,
}

impl ResponseCache {
    /// Sets the rendering that responses are built from, and the generation of the tokens. A new one
    /// clears the cache.
    pub(super) fn set_basis(&mut self, rendering: Arc<Rendering>, access_generation: u64) {
        let is_current = self
            .rendering
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, &rendering));
        if !is_current || self.access_generation != access_generation {
            self.responses.clear();
            self.access_generation = access_generation;
            self.rendering = Some(rendering);
        }
    }

    /// The rendering that responses are built from.
    pub(super) fn rendering(&self) -> Option<&Rendering> {
        self.rendering.as_deref()
    }

    /// The index of a response whose last request head is repeated at the start of `input`.
    pub(super) fn find_by_head(&self, input: &[u8]) -> Option<usize> {
        self.responses
            .iter()
            .position(|response| input.starts_with(&response.head))
    }

    /// The index of the response to a request with these fields.
    pub(super) fn find_by_fields(&self, fields: &RequestFields<'_>) -> Option<usize> {
        let values = fields.as_array();
        self.responses.iter().position(|response| {
            let cached = response.field_values.iter();
            cached.zip(values).all(|(a, b)| a.as_deref() == b)
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

    /// Adds a response, in place of the oldest if the cache is full. Returns its index.
    pub(super) fn insert(&mut self, response: CachedResponse) -> usize {
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
