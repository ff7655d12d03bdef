//! The latest document that depends on the configured sources only: `/openapi.json`, the appearance
//! of the sources, the content policy of the panel.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::SourceSet;

/// A document and the sources that it names.
#[derive(Default)]
pub(super) struct DocumentCache(Mutex<Option<(Arc<SourceSet>, Bytes)>>);

impl DocumentCache {
    /// The document that names the sources of `source_set`.
    pub(super) fn get_or_build(
        &self,
        source_set: &Arc<SourceSet>,
        build: impl FnOnce() -> String,
    ) -> Bytes {
        let mut cached = self.0.lock();
        match &*cached {
            Some((known, document)) if Arc::ptr_eq(known, source_set) => document.clone(),
            _ => {
                let document = Bytes::from(build());
                *cached = Some((Arc::clone(source_set), document.clone()));
                document
            }
        }
    }
}
