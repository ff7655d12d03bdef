//! `[derived.NAME]`: the inputs exist, and no source depends on itself.

use std::collections::{HashMap, HashSet};

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{FreshnessPolicy, Name, Source, SourceKind};
use crate::text::find_nearest;

use super::appearance_rules::validate_appearance;
use super::metric_rules::{MetricFamilies, validate_metrics};
use super::name_rules::validate_name;
use super::source_rules::attribution;

/// Maximum number of known names in a message.
const MAX_LISTED_NAMES: usize = 8;

/// The valid derived sources in the order of the file.
pub(crate) fn validate_derived_sources(
    root: &Table,
    fetched: &[Source],
    families: &mut MetricFamilies,
    loader: &mut ConfigLoader<'_>,
) -> Vec<Source> {
    let tables = root.tables("derived");
    let known = KnownNames::new(root.tables("sources"), tables);
    let inputs: Vec<Vec<Name>> = tables
        .iter()
        .map(|table| validate_inputs(table, &known, loader))
        .collect();

    // A derived source is fresh as long as the longest-lived of its inputs, so its inputs come first.
    let mut policies: HashMap<&str, FreshnessPolicy> = HashMap::new();
    policies.extend(
        fetched
            .iter()
            .map(|source| (source.name.as_str(), source.freshness_policy)),
    );
    for at in sort_by_dependency(tables, &inputs, loader) {
        let of_inputs = || {
            inputs[at]
                .iter()
                .filter_map(|name| policies.get(name.as_str()))
        };
        let policy = FreshnessPolicy {
            ttl: of_inputs().map(|input| input.ttl).max().unwrap_or_default(),
            max_stale: of_inputs()
                .map(|input| input.max_stale)
                .max()
                .unwrap_or_default(),
        };
        policies.insert(&tables[at].name.value, policy);
    }

    let sources = tables.iter().zip(&inputs).filter_map(|(table, inputs)| {
        let name = validate_name(&table.name, "derived source", loader)?;
        if known.fetched.contains(name.as_str()) {
            let message = format!("`{name}` is a source and a derived source");
            loader.error(&table.name.span, &message, "expected another name");
        }
        let extract = table.text("extract").map_or(".", |text| &text.value);
        Some(Source {
            freshness_policy: policies[name.as_str()],
            name,
            kind: SourceKind::Derived {
                inputs: inputs.clone(),
                extract: extract.into(),
            },
            attribution: attribution(table),
            appearance: validate_appearance(table, loader).into(),
            metrics: validate_metrics(&[table], families, loader),
        })
    });
    sources.collect()
}

/// The names of all sources of the file.
struct KnownNames<'t> {
    fetched: HashSet<&'t str>,
    all: HashSet<&'t str>,
    /// `all` in the order of the file.
    ordered: Vec<&'t str>,
}

impl<'t> KnownNames<'t> {
    fn new(sources: &'t [Table], derived: &'t [Table]) -> Self {
        let name = |table: &'t Table| &*table.name.value;
        let fetched: HashSet<&str> = sources.iter().map(name).collect();
        let mut all = HashSet::new();
        let names = sources.iter().chain(derived).map(name);
        let ordered = names.filter(|name| all.insert(*name)).collect();
        Self {
            fetched,
            all,
            ordered,
        }
    }

    /// The name that `text` spells, if there is such a source.
    fn find(&self, text: &SpannedStr) -> Result<Name, ValueError> {
        if let Ok(name) = Name::new(&text.value)
            && self.all.contains(name.as_str())
        {
            return Ok(name);
        }
        let names = &self.ordered;
        // As written: the value of a reference must not be shown.
        let help = match find_nearest(text.as_written(), names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.len() <= MAX_LISTED_NAMES => format!("known: {}", names.join(", ")),
            None => format!("known: {}, …", names[..MAX_LISTED_NAMES].join(", ")),
        };
        refuse(format!("unknown source {text}"), help)
    }
}

/// The valid inputs of a derived source.
fn validate_inputs(
    table: &Table,
    known: &KnownNames<'_>,
    loader: &mut ConfigLoader<'_>,
) -> Vec<Name> {
    let source = &table.name;
    let help = "expected the names of sources, such as `from = [\"btc\", \"usd\"]`";
    let Some(span) = table.span_of("from") else {
        let message = format!("derived source {source} has no `from`");
        loader.missing(&table.span, &message, help);
        return Vec::new();
    };
    let texts = table.text_list("from").unwrap_or_default();
    if texts.is_empty() && !table.is_invalid("from") {
        let message = format!("derived source {source} has no inputs");
        loader.error(span, &message, help);
    }
    let mut inputs = Vec::with_capacity(texts.len());
    for text in texts {
        match loader.check(text, known.find(text)) {
            Some(name) if inputs.contains(&name) => {
                let message = format!("the input `{name}` is written twice");
                loader.error(&text.span, &message, "expected each input once");
            }
            input => inputs.extend(input),
        }
    }
    inputs
}

/// The positions of the derived sources, each after its inputs. Every cycle becomes a problem at its first source.
///
/// A depth-first search with a stack on the heap: a chain of dependencies may have thousands of links.
fn sort_by_dependency(
    tables: &[Table],
    inputs: &[Vec<Name>],
    loader: &mut ConfigLoader<'_>,
) -> Vec<usize> {
    let mut positions: HashMap<&str, usize> = HashMap::new();
    positions.extend(
        tables
            .iter()
            .enumerate()
            .map(|(at, table)| (&*table.name.value, at)),
    );
    let mut order = Vec::with_capacity(tables.len());
    let (mut is_done, mut is_on_path) = (vec![false; tables.len()], vec![false; tables.len()]);
    for start in 0..tables.len() {
        // The sources on the way from `start`, each with the number of its visited inputs.
        let mut path = Vec::new();
        if !is_done[start] {
            is_on_path[start] = true;
            path.push((start, 0));
        }
        while let Some((source, visited)) = path.last_mut() {
            let source = *source;
            let Some(input) = inputs[source].get(*visited) else {
                is_done[source] = true;
                is_on_path[source] = false;
                order.push(source);
                path.pop();
                continue;
            };
            *visited += 1;
            // A fetched source has no position.
            let Some(&input) = positions.get(input.as_str()) else {
                continue;
            };
            if is_on_path[input] {
                let on_path = path.iter().map(|(source, _)| *source);
                let cycle = on_path.skip_while(|source| *source != input);
                let cycle: Vec<&Table> = cycle.map(|at| &tables[at]).collect();
                report_cycle(&cycle, loader);
            } else if !is_done[input] {
                is_on_path[input] = true;
                path.push((input, 0));
            }
        }
    }
    order
}

fn report_cycle(cycle: &[&Table], loader: &mut ConfigLoader<'_>) {
    let first = cycle[0];
    let message = format!("derived source `{}` depends on itself", first.name.value);
    let round = cycle.iter().chain(&cycle[..1]);
    let names: Vec<&str> = round.map(|table| &*table.name.value).collect();
    let help = names.join(" → ");
    loader.error(first.span_of("from").unwrap_or(&first.span), &message, help);
}
