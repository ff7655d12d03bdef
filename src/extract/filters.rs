//! Cache of compiled filters by their texts: many sources share one text, and validation and extraction use the same
//! result.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::filter::Filter;
use super::filter_error::FilterError;

/// From this many texts on they are compiled on as many threads as there are processors.
const MIN_PARALLEL_TEXTS: usize = 64;

/// The result of compiling each text. Texts are added on request and never removed.
#[derive(Debug, Clone, Default)]
pub struct FilterCache(HashMap<Arc<str>, Result<Filter, FilterError>>);

impl FilterCache {
    /// Compiles these texts.
    pub fn compile_all<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let texts: HashSet<&str> = texts.into_iter().collect();
        let texts: Vec<&str> = texts.into_iter().collect();
        if texts.len() < MIN_PARALLEL_TEXTS {
            return Self(compile_each(&texts).into_iter().collect());
        }
        // 10,000 filters take half a second on one processor.
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let shares = texts.chunks(texts.len().div_ceil(threads));
            let shares: Vec<_> = shares
                .map(|share| scope.spawn(move || compile_each(share)))
                .collect();
            // A text that a panic left out is compiled when it is needed.
            Self(
                shares
                    .into_iter()
                    .flat_map(|share| share.join().unwrap_or_default())
                    .collect(),
            )
        })
    }

    /// The filter of this text; compiled now, unless it is known.
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
