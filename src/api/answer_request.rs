//! What a request for sources or for one value asks for: `/resumen`, `/valor` and `/insignia`.

use std::time::Duration;

use http::HeaderMap;

use crate::aggregate::Selection;
use crate::config::AccessGroup;
use crate::domain::{Source, SourceSet};
use crate::render::{BodyForm, ValuePath};
use crate::server::{
    DATA_GROUPS, ProblemDetails, ProblemKind, SNAPSHOT_GROUPS, ServerContext, is_media_type_named,
    media_preference,
};

use super::query::{
    SUMMARY_PARAMETERS, SummaryQuery, VALUE_PARAMETERS, percent_decode, require_no_parameters,
    unknown_source_problem,
};

/// Beginnings of the paths of single values and of their badges.
const VALUE_PREFIX: &str = "/valor/";
const BADGE_PREFIX: &str = "/insignia/";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A parsed request.
pub(super) struct AnswerRequest {
    /// The sources and the form of the answer.
    pub(super) selection: Selection,
    /// For a live answer: the maximum age of a reading that is not fetched again. `None` selects
    /// the snapshot.
    pub(super) max_age: Option<Duration>,
    /// Groups that grant an answer from the snapshot.
    pub(super) groups: &'static [AccessGroup],
}

/// The source and the path that a path of a URL names.
struct ValueAddress {
    /// The source as it was written, decoded.
    source: String,
    /// `None` if a segment is empty or not percent-encoded UTF-8, which no value is at.
    path: Option<ValuePath>,
}

impl AnswerRequest {
    /// Parses the path, the query and the headers of a request for one of these routes.
    pub(super) fn parse(
        server: &ServerContext,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Self, ProblemDetails> {
        let snapshot = server.cache.snapshot();
        let source_set = snapshot.source_set();
        let max_timeout = server.settings.max_timeout;
        if let Some(rest) = path.strip_prefix(BADGE_PREFIX) {
            require_no_parameters(query)?;
            return Ok(Self::of_badge(rest, source_set));
        }
        let Some(rest) = path.strip_prefix(VALUE_PREFIX) else {
            let query = SummaryQuery::parse(query, SUMMARY_PARAMETERS, source_set, max_timeout)?;
            return Ok(Self {
                selection: Selection {
                    names: query.sources,
                    timeout: query.timeout,
                    form: query.form,
                },
                max_age: query.max_age,
                groups: SNAPSHOT_GROUPS,
            });
        };
        let query = SummaryQuery::parse(query, VALUE_PARAMETERS, source_set, max_timeout)?;
        let ValueAddress { source, path } = ValueAddress::parse(rest);
        let Some(source) = source_set.get(&source) else {
            let kind = ProblemKind::NoSuchSource;
            return Err(unknown_source_problem(kind, &source, source_set));
        };
        let Some(path) = path else {
            let detail = "a segment of the path is empty or not percent-encoded UTF-8";
            return Err(ProblemDetails::new(ProblemKind::UnknownPath, detail).with_got(rest));
        };
        let preference = media_preference(headers, JSON);
        let is_json =
            is_media_type_named(headers, JSON) && preference >= media_preference(headers, TEXT);
        Ok(Self {
            selection: Selection {
                names: Some(vec![source.name.clone()]),
                timeout: query.timeout,
                form: BodyForm::Value { path, is_json },
            },
            max_age: query.max_age,
            groups: DATA_GROUPS,
        })
    }

    /// A badge is an image in any case: of a source that is not configured, too.
    fn of_badge(rest: &str, source_set: &SourceSet) -> Self {
        let ValueAddress { source, path } = ValueAddress::parse(rest);
        let known = source_set.get(&source).filter(|_| path.is_some());
        let path = path.unwrap_or_default();
        let label = badge_label(known.map(AsRef::as_ref), &source, &path);
        Self {
            selection: Selection {
                names: Some(
                    known
                        .map(|source| source.name.clone())
                        .into_iter()
                        .collect(),
                ),
                timeout: None,
                form: BodyForm::Badge { path, label },
            },
            max_age: None,
            groups: DATA_GROUPS,
        }
    }
}

/// `disk.fs.0.used`, or in the words of the configuration `Disk Root`.
fn badge_label(known: Option<&Source>, name: &str, path: &[String]) -> String {
    let key = path.join(".");
    let appearance = known.map(|source| &source.appearance);
    let title = appearance.and_then(|appearance| appearance.title.as_deref());
    let label = appearance.and_then(|appearance| appearance.path(&key)?.label.as_deref());
    let is_plain = title.is_none() && label.is_none();
    let separator = match (is_plain, key.is_empty()) {
        (_, true) => "",
        (true, false) => ".",
        (false, false) => " ",
    };
    format!(
        "{}{separator}{}",
        title.unwrap_or(name),
        label.unwrap_or(&key)
    )
}

impl ValueAddress {
    /// Splits before it decodes: a slash within a key is `%2F`.
    fn parse(rest: &str) -> Self {
        let mut segments = rest.split('/');
        let source = segments.next().unwrap_or_default();
        Self {
            source: percent_decode(source).unwrap_or_else(|| source.to_owned()),
            path: segments
                .map(|segment| percent_decode(segment).filter(|key| !key.is_empty()))
                .collect(),
        }
    }
}

/// Returns what follows the source in the path of a single value, as it was written.
pub(super) fn written_value_path(path: &str) -> &str {
    let rest = path.strip_prefix(VALUE_PREFIX).unwrap_or(path);
    rest.split_once('/').map_or("", |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> (String, Option<Vec<String>>) {
        let ValueAddress { source, path } = ValueAddress::parse(rest);
        (source, path)
    }

    #[test]
    fn path_is_decoded_after_splitting() {
        let path = |segments: &[&str]| Some(segments.iter().map(ToString::to_string).collect());
        assert_eq!(parsed("btc"), ("btc".to_owned(), path(&[])));
        assert_eq!(
            parsed("b%74c/a%2Fb/c.d/%c3%b1/0"),
            ("btc".to_owned(), path(&["a/b", "c.d", "ñ", "0"]))
        );
        for rest in ["btc/", "btc//a", "btc/a/", "btc/%zz", "btc/%ff"] {
            assert_eq!(parsed(rest), ("btc".to_owned(), None), "{rest}");
        }
    }
}
