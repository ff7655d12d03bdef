//! Negotiation of the media type by `Accept` (RFC 9110 §12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

use super::encoding::parse_weight;

/// How much a client prefers a media type. A type that is named more exactly is preferred among
/// those of one weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MediaPreference {
    /// In thousandths, never 0.
    weight: u16,
    specificity: usize,
}

/// Returns the client's preference of `media_type`, which may have parameters; `None` if the client
/// does not accept it. The most specific range that matches decides. A parameter of a range must
/// have the value that it has in `media_type`; one that `media_type` does not have is ignored, such
/// as the `escaping` of Prometheus.
pub(crate) fn media_preference(request: &HeaderMap, media_type: &str) -> Option<MediaPreference> {
    let mut fields = request.get_all(ACCEPT).iter().peekable();
    if fields.peek().is_none() {
        return Some(MediaPreference {
            weight: 1000,
            specificity: 0,
        });
    }
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| split_unquoted(field, ','))
        .filter_map(|range| match_range(range, media_type))
        .max_by_key(|preference| (preference.specificity, preference.weight))
        .filter(|preference| preference.weight > 0)
}

/// Whether a range of the client matches `media_type` by more than `*/*`.
pub(crate) fn is_media_type_named(request: &HeaderMap, media_type: &str) -> bool {
    media_preference(request, media_type).is_some_and(|preference| preference.specificity > 0)
}

/// The weight and the specificity of a media range; `None` if it is malformed or does not match.
fn match_range(range: &str, media_type: &str) -> Option<MediaPreference> {
    let (name, offered) = parse_media_type(media_type);
    let (range, parameters) = parse_media_type(range);
    let main_type = name.split('/').next().unwrap_or_default();
    let mut specificity = if range.eq_ignore_ascii_case(name) {
        2
    } else if range == "*/*" {
        0
    } else {
        let prefix = range.strip_suffix("/*")?;
        prefix.eq_ignore_ascii_case(main_type).then_some(1)?
    };
    let mut weight = 1000;
    for parameter in parameters {
        let (key, value) = split_parameter(parameter);
        if key.eq_ignore_ascii_case("q") {
            weight = parse_weight(parameter)?;
        }
        let mut offered = offered.iter().map(|one| split_parameter(one));
        if let Some((_, offered)) = offered.find(|(known, _)| known.eq_ignore_ascii_case(key)) {
            value.eq_ignore_ascii_case(offered).then_some(())?;
            specificity += 1;
        }
    }
    Some(MediaPreference {
        weight,
        specificity,
    })
}

/// The type and the parameters of a media type.
fn parse_media_type(text: &str) -> (&str, Vec<&str>) {
    let mut parts = split_unquoted(text, ';').map(str::trim);
    (parts.next().unwrap_or_default(), parts.collect())
}

/// The name and the value, without quotes, of a parameter.
fn split_parameter(parameter: &str) -> (&str, &str) {
    let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    (key.trim_end(), value.trim_start().trim_matches('"'))
}

/// The parts of `text` between the separators that are not in a quoted string.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |char| {
        is_quoted ^= char == '"';
        char == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    fn prefers_open_metrics(fields: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT, HeaderValue::from_static(field));
        }
        media_preference(&headers, OPEN_METRICS) > media_preference(&headers, TEXT)
    }

    #[test]
    fn open_metrics_is_chosen_when_named() {
        let yes: [&[&str]; 12] = [
            &["application/openmetrics-text"],
            &["Application/OpenMetrics-Text; Version=\"1.0.0\""],
            &["application/*"],
            &["application/openmetrics-text, */*"],
            &["text/plain;q=0.5", "application/openmetrics-text;q=0.6"],
            &["*/*, text/plain;q=0"],
            &["application/openmetrics-text; version=1.0.0, text/plain"],
            &["foo/bar; a=\"x, y; z\", application/openmetrics-text"],
            // Prometheus 2.
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
               version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            // Prometheus 3.
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
               application/openmetrics-text;version=0.0.1;q=0.4,\
               text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
               text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            ],
            &["application/openmetrics-text;q=0.001"],
            &["application/openmetrics-text; charset=utf-8; q=0.5, */*;q=0.4"],
        ];
        for fields in yes {
            assert!(prefers_open_metrics(fields), "{fields:?}");
        }
    }

    #[test]
    fn text_is_chosen_otherwise() {
        let no: [&[&str]; 14] = [
            &[],
            &[""],
            &["*/*"],
            &["text/html, application/xhtml+xml, */*;q=0.8"],
            &["text/plain, application/openmetrics-text"],
            &["text/*, application/openmetrics-text;q=0.9"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0, */*"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;q=2"],
            &["application/openmetrics-text;q=nan"],
            &["application/openmetrics"],
            &["application/json"],
            &["\"application/openmetrics-text"],
        ];
        for fields in no {
            assert!(!prefers_open_metrics(fields), "{fields:?}");
        }
    }
}
