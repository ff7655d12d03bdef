//! Evaluates the programs of a source's metrics, and reads what they gave.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::error::ExtractError;
use super::extractor::Extractor;
use super::metric_programs::{MAX_SERIES, MetricPrograms};
use super::raw_body::RawBody;
use super::worker_pool::{Evaluation, FilterPurpose};
use crate::domain::{Code, JsonData, MetricFailure, MetricResults, MetricSeries, Name, Redactor};
use crate::process::Clock;
use crate::text::escape_bounded;

/// Time limit of a program.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of a part of a program that failed, and of an isolated metric.
const PART_TIMEOUT: Duration = Duration::from_millis(500);

/// Number of parts that a program is divided into when it fails.
const PARTS: usize = 8;

/// Time after which no further program of the reading is started.
const READING_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of escaped characters of a filter's error.
const MAX_MESSAGE_CHARS: usize = 119;

/// One series of a program's result.
#[derive(Deserialize)]
#[serde(untagged)]
enum SeriesRow {
    /// The value and the values of the labels.
    Texts(Vec<String>),
    /// Why the series is left out.
    Message(String),
}

impl Extractor {
    /// Evaluates the metrics of a source over `data`, one reading of it. Does not fail as a whole: what cannot be
    /// evaluated is among the failures.
    ///
    /// A program that does not end, or takes too much memory, is divided until the metric is found. That metric is isolated:
    /// with the next readings it does not delay the others, and of all isolated ones only one is evaluated again.
    pub async fn evaluate_metrics(
        &self,
        source: &Name,
        programs: &MetricPrograms,
        data: &JsonData,
        clock: Clock,
    ) -> MetricResults {
        let body: RawBody = Bytes::copy_from_slice(data.as_json().as_bytes()).into();
        let run = async |metrics: &[usize], purpose, limit| {
            let evaluation = Evaluation {
                source,
                purpose,
                filter: &programs.program(metrics),
                body: &body,
            };
            self.evaluate_in_worker(&evaluation, clock.deadline(limit))
                .await
        };
        let mut reader = ResultReader::new(programs, self.redactor());
        let end = clock.now().plus(READING_TIMEOUT);
        let groups = programs.groups().into_iter();
        let mut waiting: VecDeque<_> = groups.map(|group| (group, PROGRAM_TIMEOUT)).collect();
        let mut failing: Vec<usize> = Vec::new();
        let mut is_any_evaluated = false;
        while let Some((metrics, limit)) = waiting.pop_front() {
            if clock.now() >= end {
                reader.fail_all(&metrics, "not evaluated: other metrics took too long");
                continue;
            }
            let result = run(&metrics, FilterPurpose::Metrics, limit).await;
            if result.is_err() && metrics.len() > 1 {
                let parts = metrics.chunks(metrics.len().div_ceil(PARTS));
                waiting.extend(parts.map(|part| (part.to_vec(), PART_TIMEOUT)));
                continue;
            }
            if result.is_err() {
                failing.extend(&metrics);
            } else {
                is_any_evaluated = true;
            }
            reader.read_program(&metrics, result);
        }
        let mut isolated = programs.isolated();
        while let Some(metric) = isolated.pop_front() {
            let result = run(&[metric], FilterPurpose::IsolatedMetric, PART_TIMEOUT).await;
            let is_failed = result.is_err();
            reader.read_program(&[metric], result);
            if is_failed {
                // The others wait for the next reading, which begins with the first of them.
                reader.fail_all(
                    isolated.make_contiguous(),
                    "not evaluated: the filter did not end before, or took too much memory",
                );
                isolated.push_back(metric);
                break;
            }
        }
        // Without another metric there is nothing to protect, and the cause may be the system.
        if is_any_evaluated {
            isolated.extend(failing);
        }
        programs.isolate(isolated);
        reader.into_results()
    }
}

/// Collects the results of a source's programs.
struct ResultReader<'r> {
    results: MetricResults,
    programs: &'r MetricPrograms,
    redactor: &'r Redactor,
}

impl<'r> ResultReader<'r> {
    fn new(programs: &'r MetricPrograms, redactor: &'r Redactor) -> Self {
        Self {
            results: MetricResults::default(),
            programs,
            redactor,
        }
    }

    /// The results in the order of the metrics, which isolated ones are not read in.
    fn into_results(mut self) -> MetricResults {
        self.results.series.sort_by_key(|series| series.metric);
        self.results.failures.sort_by_key(|failure| failure.metric);
        self.results
    }

    /// Adds the result of the program of `metrics`.
    fn read_program(&mut self, metrics: &[usize], result: Result<String, ExtractError>) {
        let rows = result.and_then(|json| {
            let rows: Vec<Vec<SeriesRow>> = serde_json::from_str(&json).unwrap_or_default();
            // The worker is not trusted to have run the program.
            let is_whole = rows.len() == metrics.len();
            let damaged = || ExtractError::new(Code::Panic, "the filter worker answered no series");
            is_whole.then_some(rows).ok_or_else(damaged)
        });
        match rows {
            Ok(rows) => {
                for (metric, rows) in metrics.iter().zip(rows) {
                    for row in rows {
                        self.read_row(*metric, row);
                    }
                }
            }
            Err(error) => {
                let failure = error.into_failure(self.redactor);
                self.fail_all(metrics, &failure.message);
            }
        }
    }

    fn read_row(&mut self, metric: usize, row: SeriesRow) {
        let mut texts = match row {
            SeriesRow::Texts(texts) => texts.into_iter(),
            SeriesRow::Message(message) => return self.fail(metric, &message),
        };
        let text = texts.next().unwrap_or_default();
        let Some(value) = parse_number(&text) else {
            return self.fail(metric, &format!("value: no number: {text}"));
        };
        // OpenMetrics forbids it, and a parser may reject the whole page.
        if value < 0.0 && self.programs.is_counter(metric) {
            return self.fail(metric, &format!("value: a negative counter: {text}"));
        }
        if self.results.series.len() == MAX_SERIES {
            self.results.omitted_count += 1;
            return;
        }
        self.results.series.push(MetricSeries {
            metric,
            label_values: texts.collect(),
            value,
        });
    }

    /// Counts a series of each of `metrics`.
    fn fail_all(&mut self, metrics: &[usize], message: &str) {
        for metric in metrics {
            self.fail(*metric, message);
        }
    }

    /// Counts a series that is left out. The message may quote data.
    fn fail(&mut self, metric: usize, message: &str) {
        let failures = &mut self.results.failures;
        // A metric is read at once, so the last failure is the only one that may be of this metric.
        match failures.last_mut().filter(|last| last.metric == metric) {
            Some(last) => last.count += 1,
            None => failures.push(MetricFailure {
                metric,
                count: 1,
                message: escape_bounded(&self.redactor.redact(message), MAX_MESSAGE_CHARS),
            }),
        }
    }
}

/// Returns the number that a text is; `None` if it is none, or not finite.
fn parse_number(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{MetricKind, SecretSet, SourceMetric};
    use crate::extract::evaluate::evaluate_body;

    fn metric(each: &str, value: &str, labels: &[(&str, &str)]) -> SourceMetric {
        let labels = labels.iter();
        SourceMetric {
            name: "m".into(),
            help: "".into(),
            kind: MetricKind::Gauge,
            each: each.into(),
            value: value.into(),
            labels: labels
                .map(|(name, filter)| (Arc::from(*name), Arc::from(*filter)))
                .collect(),
        }
    }

    /// The results of metrics over `data`, evaluated in this process.
    fn results_of(metrics: &[SourceMetric], data: &str) -> MetricResults {
        let programs = MetricPrograms::compile(metrics).unwrap();
        let secrets = SecretSet::new(["topsecret".to_owned()]);
        let redactor = Redactor::new(secrets);
        let mut reader = ResultReader::new(&programs, &redactor);
        let body = Bytes::copy_from_slice(data.as_bytes()).into();
        for group in programs.groups() {
            let result = evaluate_body(&programs.program(&group), &body);
            reader.read_program(&group, result);
        }
        reader.into_results()
    }

    /// The value of a metric without labels, or why there is none.
    fn value_of(value: &str, data: &str) -> Result<f64, String> {
        let mut results = results_of(&[metric(".", value, &[])], data);
        match results.failures.pop() {
            Some(failure) => Err(failure.message),
            None => Ok(results.series[0].value),
        }
    }

    #[test]
    fn values_are_numbers_booleans_or_texts() {
        let data = r#"{"n":97123.45,"big":12345678901234567890,"t":true,"f":false,"text":" -1.5e3 ","plus":"+7"}"#;
        for (value, expected) in [
            (".n", 97123.45),
            (".big", 12_345_678_901_234_567_890.0),
            (".t", 1.0),
            (".f", 0.0),
            (".text", -1500.0),
            (".plus", 7.0),
            (".n * 2 # twice", 194_246.9),
            ("def half: . / 2; .n | half", 48561.725),
        ] {
            assert_eq!(value_of(value, data), Ok(expected), "{value}");
        }
    }

    #[test]
    fn failing_values_tell_why() {
        let data = r#"{"text":"EUR","nan":"NaN","huge":1e400,"list":[],"s":"topsecret"}"#;
        for (value, expected) in [
            (".text", "value: no number: EUR"),
            (".nan", "value: no number: NaN"),
            (".huge", "value: a number that is not finite"),
            ("nan", "value: a number that is not finite"),
            (".absent", "value: null"),
            (".list", "value: an array"),
            (".", "value: an object"),
            ("empty", "value: no result"),
            (".text, 1", "value: several results"),
            ("repeat(1)", "value: several results"),
            ("error(\"no trade\")", "value: no trade"),
            ("error({a: 1})", "value: {\"a\":1}"),
            (".s", "value: no number: ***"),
        ] {
            assert_eq!(value_of(value, data), Err(expected.to_owned()), "{value}");
        }
        let message = value_of(".text.x", data).unwrap_err();
        assert!(message.starts_with("value: cannot index"), "{message}");
    }

    #[test]
    fn counters_are_not_negative() {
        let mut counter = metric(".[]", ".", &[]);
        counter.kind = MetricKind::Counter;
        let results = results_of(&[counter, metric(".[0]", ".", &[])], "[-1,2]");
        let values: Vec<f64> = results.series.iter().map(|series| series.value).collect();
        assert_eq!(values, [2.0, -1.0]);
        assert_eq!(results.failures[0].message, "value: a negative counter: -1");
    }

    #[test]
    fn failing_filter_leaves_out_its_series_only() {
        let data = r#"{"rates":[{"name":"EUR","value":1},{"name":null,"value":2},{"name":7,"value":"x"},{"name":true,"value":4}],"n":5}"#;
        let metrics = [
            metric(".rates[]", ".value", &[("quote", ".name")]),
            metric(".n[]", ".", &[]),
            metric(".n", ".", &[]),
            metric("1, error(\"end\"), 2", ".", &[]),
        ];
        let results = results_of(&metrics, data);
        let series = |metric, labels: &[&str], value| MetricSeries {
            metric,
            label_values: labels.iter().map(|text| (*text).to_owned()).collect(),
            value,
        };
        let expected = [
            series(0, &["EUR"], 1.0),
            series(0, &["true"], 4.0),
            series(2, &[], 5.0),
            series(3, &[], 1.0),
        ];
        assert_eq!(results.series, expected);
        let failures = results.failures.iter();
        let failures: Vec<_> = failures
            .map(|failure| (failure.metric, failure.count, &*failure.message))
            .collect();
        assert_eq!(failures[0], (0, 2, "label quote: null"));
        assert_eq!((failures[1].0, failures[1].1), (1, 1));
        assert!(failures[1].2.starts_with("each: "), "{failures:?}");
        assert_eq!(failures[2], (3, 1, "each: end"));
    }

    #[test]
    fn series_are_limited() {
        let results = results_of(
            &[
                metric("range(9999)", ".", &[]),
                metric("repeat(1)", ".", &[]),
            ],
            "1",
        );
        assert_eq!(results.series.len(), MAX_SERIES);
        assert_eq!(results.omitted_count, 10_000);
        let label = [("l", "\"x\" * 2000")];
        let results = results_of(&[metric(".", ".", &label)], "1");
        let message = "label l: a text of more than 1024 bytes";
        assert_eq!(results.failures[0].message, message);
    }

    #[test]
    fn many_metrics_need_several_programs() {
        let metrics: Vec<_> = (0..2000)
            .map(|n| metric(".", &format!(". + {n}"), &[("l", "\"x\"")]))
            .collect();
        let programs = MetricPrograms::compile(&metrics).unwrap();
        assert!(programs.groups().len() > 1);
        let results = results_of(&metrics, "1");
        assert_eq!(results.series.len(), 2000);
        let is_right = |(n, series): (usize, &MetricSeries)| {
            series.metric == n && (series.value - (n + 1) as f64).abs() < 1e-9
        };
        assert!(results.series.iter().enumerate().all(is_right));
    }

    #[test]
    fn filters_that_are_too_long_are_told() {
        let long = format!("\"{}\" | length", "x".repeat(65_000));
        let metrics = [metric(".", ".", &[]), metric(".", &long, &[])];
        let (position, error) = MetricPrograms::compile(&metrics).unwrap_err();
        assert_eq!(position, 1);
        assert!(error.message.contains("65536 bytes"), "{error}");
    }

    proptest! {
        #[test]
        fn label_values_arrive_unchanged(value in "\\PC{0,20}|[\\x00-\\x1f\"\\\\]{0,8}") {
            let data = serde_json::to_string(&value).unwrap();
            let results = results_of(&[metric(".", "1", &[("l", ".")])], &data);
            prop_assert_eq!(&results.series[0].label_values, &[value]);
        }
    }
}
