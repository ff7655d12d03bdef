//! Filters by their texts, each compiled once: many sources have the same one, and whoever checks a text and whoever runs
//! it need the same program.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::{Filter, FilterError};

/// From this many texts on they are compiled on as many threads as there are processors.
const MANY: usize = 64;

/// What became of each text. It grows by what is asked for.
#[derive(Debug, Clone, Default)]
pub struct Filters(HashMap<Arc<str>, Result<Filter, FilterError>>);

impl Filters {
    /// Compiles these texts.
    pub fn compile<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let texts: HashSet<&str> = texts.into_iter().collect();
        let texts: Vec<&str> = texts.into_iter().collect();
        if texts.len() < MANY {
            return Self(all(&texts).into_iter().collect());
        }
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let shares = texts.chunks(texts.len().div_ceil(threads));
            let shares: Vec<_> = shares
                .map(|share| scope.spawn(move || all(share)))
                .collect();
            // What a panic left out is compiled by whoever asks for it.
            Self(
                shares
                    .into_iter()
                    .flat_map(|share| share.join().unwrap_or_default())
                    .collect(),
            )
        })
    }

    /// The filter of this text; compiled now, unless it is known.
    pub fn get(&mut self, text: &str) -> Result<Filter, FilterError> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        self.0
            .entry(text.into())
            .or_insert(Filter::compile(text))
            .clone()
    }
}

fn all(texts: &[&str]) -> Vec<(Arc<str>, Result<Filter, FilterError>)> {
    texts
        .iter()
        .map(|text| (Arc::from(*text), Filter::compile(text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_texts_are_compiled_as_one_by_one() {
        let texts: Vec<String> = (0..MANY * 2)
            .map(|n| {
                if n % 9 == 0 {
                    format!(".{n}x(")
                } else {
                    format!("{{n: {n}}}")
                }
            })
            .collect();
        let mut filters = Filters::compile(texts.iter().map(String::as_str));
        assert_eq!(filters.0.len(), texts.len());
        for text in &texts {
            assert_eq!(
                filters.get(text).err(),
                Filter::compile(text).err(),
                "{text}"
            );
        }
        assert!(filters.get(".later").is_ok());
    }
}
