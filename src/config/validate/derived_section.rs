//! Derived sources: their inputs exist, and none depends on itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::config::ConfigLoader;
use crate::config::{RawConfig, RawDerived};
use crate::config::{SpannedStr, closest_match, quote};
use crate::domain::{FreshnessPolicy, Name, Source, SourceKind};

use super::{source_section, validate_name};

/// Every derived source that can be made out, in the file's order.
pub(crate) fn validate_derived_sources(
    raw: &RawConfig,
    fetched: &[Source],
    cx: &mut ConfigLoader<'_>,
) -> Vec<Source> {
    let known = KnownSources::new(raw);
    let inputs: Vec<Vec<Name>> = raw
        .derived
        .iter()
        .map(|one| validate_inputs(one, &known, cx))
        .collect();
    report_cycles(raw, &inputs, cx);
    let mut shelves: HashMap<Name, FreshnessPolicy> = fetched
        .iter()
        .map(|one| (one.name.clone(), one.freshness_policy))
        .collect();
    let mut found: Vec<Source> = Vec::new();
    for (one, from) in raw.derived.iter().zip(inputs) {
        if let Some(source) = build_derived_source(one, from, &known, cx) {
            found.push(source);
        }
    }
    inherit_freshness_policies(&mut found, &mut shelves);
    found
}

/// The names that `from` may hold.
struct KnownSources<'r> {
    fetched_names: HashSet<&'r str>,
    all_names: HashSet<&'r str>,
    ordered_names: Vec<&'r str>,
}

impl<'r> KnownSources<'r> {
    fn new(raw: &'r RawConfig) -> Self {
        let fetched: HashSet<&str> = raw
            .sources
            .iter()
            .map(|one| one.name.value.as_str())
            .collect();
        let derived = raw.derived.iter().map(|one| one.name.value.as_str());
        let mut all = HashSet::new();
        let each = raw
            .sources
            .iter()
            .map(|one| one.name.value.as_str())
            .chain(derived);
        let order = each.filter(|name| all.insert(*name)).collect();
        Self {
            fetched_names: fetched,
            all_names: all,
            ordered_names: order,
        }
    }
}

fn build_derived_source(
    raw: &RawDerived,
    from: Vec<Name>,
    known: &KnownSources<'_>,
    cx: &mut ConfigLoader<'_>,
) -> Option<Source> {
    if let Some(text) = &raw.extract {
        cx.check_filter(text);
    }
    let name = validate_name(&raw.name.clone().into(), "derived source", cx)?;
    if known.fetched_names.contains(name.as_str()) {
        let message = format!("`{name}` is a source and a derived source");
        cx.problems
            .add_error(&raw.name.span, message, "expected another name");
    }
    let extract = raw.extract.as_ref().map_or(".", |text| &text.value).into();
    let attribution = source_section::parse_attribution(raw.attribution.as_ref());
    let shelf = FreshnessPolicy {
        ttl: Duration::ZERO,
        max_stale: Duration::ZERO,
    };
    Some(Source {
        name,
        kind: SourceKind::Derived {
            inputs: from,
            extract,
        },
        freshness_policy: shelf,
        attribution,
    })
}

fn validate_inputs(
    raw: &RawDerived,
    known: &KnownSources<'_>,
    cx: &mut ConfigLoader<'_>,
) -> Vec<Name> {
    let what = quote(&raw.name.value);
    let help = "expected the names of sources, such as `from = [\"btc\", \"usd\"]`";
    let Some(from) = &raw.from else {
        if !raw.has_from {
            cx.problems.add_missing(
                &raw.span,
                format!("derived source {what} has no `from`"),
                help,
            );
        }
        return Vec::new();
    };
    if from.value.is_empty() {
        cx.problems.add_error(
            &from.span,
            format!("derived source {what} has no inputs"),
            help,
        );
    }
    let mut inputs = Vec::with_capacity(from.value.len());
    for text in &from.value {
        match validate_input(text, &inputs, known) {
            Ok(name) => inputs.push(name),
            Err((message, help)) => cx.problems.add_error(&text.span, message, help),
        }
    }
    inputs
}

fn validate_input(
    text: &SpannedStr,
    before: &[Name],
    known: &KnownSources<'_>,
) -> Result<Name, (String, String)> {
    let name = Name::new(&text.value)
        .ok()
        .filter(|name| known.all_names.contains(name.as_str()));
    let Some(name) = name else {
        let near = closest_match(text.as_written(), known.ordered_names.iter().copied());
        let help = near.map_or_else(
            || list_known_names(&known.ordered_names),
            |near| format!("did you mean `{near}`?"),
        );
        return Err((format!("unknown source {text}"), help));
    };
    if before.contains(&name) {
        return Err((
            format!("`{name}` stands twice"),
            "expected each input once".into(),
        ));
    }
    Ok(name)
}

/// The known names, as many as fit a line.
fn list_known_names(names: &[&str]) -> String {
    let some = names.iter().take(8).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        format!("known: {some}, …")
    } else {
        format!("known: {some}")
    }
}

/// Tells each circle once, where its first source is defined.
fn report_cycles(raw: &RawConfig, inputs: &[Vec<Name>], cx: &mut ConfigLoader<'_>) {
    let place: HashMap<&str, usize> = raw
        .derived
        .iter()
        .enumerate()
        .map(|(index, one)| (one.name.value.as_str(), index))
        .collect();
    let mut done = vec![false; inputs.len()];
    for start in 0..inputs.len() {
        for circle in find_cycles(start, inputs, &place, &mut done) {
            let mut names: Vec<&str> = circle
                .iter()
                .map(|index| raw.derived[*index].name.value.as_str())
                .collect();
            names.push(names[0]);
            let one = &raw.derived[circle[0]];
            let span = one.from.as_ref().map_or(&one.span, |from| &from.span);
            let message = format!("derived source `{}` depends on itself", names[0]);
            cx.problems.add_error(span, message, names.join(" → "));
        }
    }
}

/// The circles that a walk from `start` closes. It keeps its own stack: a chain may have thousands of links.
fn find_cycles(
    start: usize,
    inputs: &[Vec<Name>],
    place: &HashMap<&str, usize>,
    done: &mut [bool],
) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let mut path: Vec<(usize, usize)> = vec![(start, 0)];
    let mut on_path: HashSet<usize> = HashSet::from([start]);
    while let Some((index, next)) = path.last_mut().filter(|_| !done[start]) {
        let here = *index;
        let Some(input) = inputs[here].get(*next) else {
            done[here] = true;
            on_path.remove(&here);
            path.pop();
            continue;
        };
        *next += 1;
        let Some(&to) = place.get(input.as_str()).filter(|to| !done[**to]) else {
            continue;
        };
        if on_path.insert(to) {
            path.push((to, 0));
        } else {
            let circle = path
                .iter()
                .map(|(index, _)| *index)
                .skip_while(|index| *index != to)
                .collect();
            found.push(circle);
        }
    }
    found
}

/// Gives each derived source the widest shelf of its inputs, whatever the order in which they are defined. Those in a
/// circle, and those with an input that is a problem, keep none.
fn inherit_freshness_policies(
    derived: &mut [Source],
    shelves: &mut HashMap<Name, FreshnessPolicy>,
) {
    let mut users: HashMap<Name, Vec<usize>> = HashMap::new();
    let mut waits: Vec<usize> = vec![0; derived.len()];
    for (index, source) in derived.iter().enumerate() {
        for input in source
            .inputs()
            .iter()
            .filter(|input| !shelves.contains_key(*input))
        {
            users.entry(input.clone()).or_default().push(index);
            waits[index] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..derived.len())
        .filter(|index| waits[*index] == 0)
        .collect();
    while let Some(index) = ready.pop() {
        let source = &mut derived[index];
        let inputs = source.inputs().iter().filter_map(|name| shelves.get(name));
        source.freshness_policy =
            inputs.fold(source.freshness_policy, |widest, one| FreshnessPolicy {
                ttl: widest.ttl.max(one.ttl),
                max_stale: widest.max_stale.max(one.max_stale),
            });
        shelves.insert(source.name.clone(), source.freshness_policy);
        for user in users.remove(&source.name).unwrap_or_default() {
            waits[user] -= 1;
            ready.extend((waits[user] == 0).then_some(user));
        }
    }
}
