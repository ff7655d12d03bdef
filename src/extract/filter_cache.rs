//! Cache of compiled filters by text. Many sources have the same filter, and validation and
//! extraction use the same program.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::compile::FilterError;
use super::filter::Filter;

/// Minimum number of texts to compile on one thread per processor.
const MIN_PARALLEL_TEXTS: usize = 64;

/// Compiled filters, or compile errors, by text.
#[derive(Debug, Clone, Default)]
pub struct FilterCache(HashMap<Arc<str>, Result<Filter, FilterError>>);

impl FilterCache {
    /// Compiles `texts`.
    pub fn compile_all<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let texts: HashSet<&str> = texts.into_iter().collect();
        let texts: Vec<&str> = texts.into_iter().collect();
        if texts.len() < MIN_PARALLEL_TEXTS {
            return Self(compile_each(&texts).into_iter().collect());
        }
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let workers: Vec<_> = texts
                .chunks(texts.len().div_ceil(threads))
                .map(|chunk| scope.spawn(move || compile_each(chunk)))
                .collect();
            // The texts of a thread that panicked are compiled on first use.
            Self(
                workers
                    .into_iter()
                    .flat_map(|worker| worker.join().unwrap_or_default())
                    .collect(),
            )
        })
    }

    /// Returns the filter of `text`, compiled now if it is not in the cache.
    pub fn get_or_compile(&mut self, text: &str) -> Result<Filter, FilterError> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        self.0
            .entry(text.into())
            .or_insert(Filter::compile(text))
            .clone()
    }
}

fn compile_each(texts: &[&str]) -> Vec<(Arc<str>, Result<Filter, FilterError>)> {
    texts
        .iter()
        .map(|text| (Arc::from(*text), Filter::compile(text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_compile_agrees() {
        let texts: Vec<String> = (0..MIN_PARALLEL_TEXTS * 2)
            .map(|n| {
                if n % 9 == 0 {
                    format!(".{n}x(")
                } else {
                    format!("{{n: {n}}}")
                }
            })
            .collect();
        let mut filters = FilterCache::compile_all(texts.iter().map(String::as_str));
        assert_eq!(filters.0.len(), texts.len());
        for text in &texts {
            assert_eq!(
                filters.get_or_compile(text).err(),
                Filter::compile(text).err(),
                "{text}"
            );
        }
        assert!(filters.get_or_compile(".later").is_ok());
    }
}
