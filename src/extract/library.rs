//! Functions that a filter may call: an allow-list of jaq's pure functions, and the program's own.
//!
//! Functions with access to the outside are omitted: `halt`, `env`, `input`, `debug`, `stderr`,
//! `now`, the time zone of the machine, modules.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jaq_core::load;
use jaq_core::load::parse::{Def, Term};
use jaq_core::native::Fun;

use super::dependencies::CallGraph;
use super::limits::LimitedData;
use super::{builtins, instrument, regex_functions};

/// Names of the allowed native functions of jaq.
#[rustfmt::skip]
const ALLOWED_NATIVES: &[&str] = &[
    // values
    "error_empty", "path", "path_value", "keys_unsorted", "key_values", "first", "last", "limit", "skip", "length",
    "contains", "has", "indices", "bsearch", "reverse", "sort", "sort_by", "group_by", "min_by_or_empty",
    "max_by_or_empty",
    // text
    "utf8bytelength", "explode", "implode", "ascii_downcase", "ascii_upcase", "startswith", "endswith", "ltrimstr",
    "rtrimstr", "trim", "ltrim", "rtrim", "escape_sh", "escape_html", "unescape_html", "encode_uri", "decode_uri",
    "encode_base64", "decode_base64",
    // numbers
    "floor", "round", "ceil", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc",
    "exp", "exp10", "exp2", "expm1", "fabs", "frexp", "ilogb", "j0", "j1", "lgamma", "log", "log10", "log1p", "log2",
    "modf", "nearbyint", "rint", "sin", "sinh", "sqrt", "tan", "tanh", "tgamma", "trunc", "y0", "y1", "atan2",
    "copysign", "fdim", "fmax", "fmin", "fmod", "hypot", "jn", "ldexp", "nextafter", "pow", "remainder", "scalbln",
    "yn", "fma",
    // dates
    "fromdateiso8601", "todateiso8601", "strftime", "gmtime", "strptime", "mktime",
];

/// Native functions that `prelude.jq` wraps, with the names under which it calls them.
const RENAMED_NATIVES: &[(&str, &str)] = &[("strftime", "__strftime"), ("mktime", "__mktime")];

/// Definitions of jaq that `prelude.jq` replaces, also for other definitions that call them.
const REPLACED_DEFINITIONS: &[&str] = &["repeat", "recurse", "while", "until", "getpath"];

/// Definitions of jaq that are omitted.
const REFUSED_DEFINITIONS: &[&str] = &["stderr", "debug", "halt", "halt_error", "tonumber"];

/// Internal helpers of the library, which a filter cannot call.
#[rustfmt::skip]
const HELPER_NAMES: &[&str] = &[
    "error_empty", "path_value", "key_values", "min_by_or_empty", "max_by_or_empty", "escape_sh", "escape_html",
    "unescape_html", "encode_uri", "decode_uri", "encode_base64", "decode_base64", "matches", "split_matches", "split_",
    "scan_", "totype", "capture_of_match",
];

/// All definitions, instrumented, each after the definitions that it calls.
static DEFINITIONS: LazyLock<Vec<Def<&'static str>>> = LazyLock::new(load_definitions);

/// Calls between the definitions.
static CALL_GRAPH: LazyLock<CallGraph> = LazyLock::new(|| CallGraph::new(&DEFINITIONS));

/// Returns the definitions and the native functions that `term` can reach.
pub(super) fn reachable_library<'s>(
    term: &Term<&'s str>,
) -> (Vec<Def<&'s str>>, Vec<Fun<LimitedData>>) {
    let reachable = CALL_GRAPH.reachable_names(term);
    let defs = DEFINITIONS
        .iter()
        .filter(|def| reachable.contains(def.name))
        .cloned()
        .collect();
    (
        defs,
        select_natives(|name| reachable.contains(name)).collect(),
    )
}

/// Returns the native functions whose name `is_selected`.
fn select_natives(
    is_selected: impl Fn(&str) -> bool + Copy,
) -> impl Iterator<Item = Fun<LimitedData>> {
    let jaq = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    // Few functions are selected, so that test comes before the search of the list.
    let jaq = jaq
        .filter(move |(name, ..)| is_selected(local_name(name)) && ALLOWED_NATIVES.contains(name));
    let jaq = jaq.map(|(name, args, run)| (local_name(name), args, run));
    jaq.chain(
        builtins::native_functions()
            .into_iter()
            .chain(regex_functions::regex_functions())
            .filter(move |(name, ..)| is_selected(name)),
    )
}

/// Returns the name of a native function of jaq in this library.
fn local_name(jaq_name: &'static str) -> &'static str {
    RENAMED_NATIVES
        .iter()
        .find(|(name, _)| *name == jaq_name)
        .map_or(jaq_name, |(_, renamed)| renamed)
}

/// Returns the names that a filter can call, each with its possible numbers of arguments.
pub(super) fn callable_names() -> BTreeMap<&'static str, Vec<usize>> {
    let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let is_callable = |name: &str| !name.starts_with("__") && !HELPER_NAMES.contains(&name);
    let defs = DEFINITIONS.iter().map(|def| (def.name, def.args.len()));
    for (name, arity) in
        defs.chain(select_natives(|_| true).map(|(name, args, _)| (name, args.len())))
    {
        if is_callable(name) {
            names.entry(name).or_default().push(arity);
        }
    }
    for arities in names.values_mut() {
        arities.sort_unstable();
    }
    names
}

fn load_definitions() -> Vec<Def<&'static str>> {
    let mut own =
        load::parse(include_str!("prelude.jq"), |parser| parser.defs()).unwrap_or_default();
    let same = |a: &Def<&str>, b: &Def<&str>| a.name == b.name && a.args.len() == b.args.len();
    let jaq = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let mut all: Vec<_> = jaq
        .filter(|def| !REFUSED_DEFINITIONS.contains(&def.name))
        .map(|def| {
            // At the place of jaq's definition, because later definitions call it.
            match own.iter().position(|replacement| {
                same(replacement, &def) && REPLACED_DEFINITIONS.contains(&replacement.name)
            }) {
                Some(position) => own.remove(position),
                None => def,
            }
        })
        .collect();
    all.append(&mut own);
    all.into_iter()
        .map(instrument::instrument_definition)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_names_exist() {
        let funs: Vec<_> = select_natives(|_| true).map(|(name, ..)| name).collect();
        for name in ALLOWED_NATIVES {
            assert!(funs.contains(&local_name(name)), "{name}");
        }
        assert!(
            RENAMED_NATIVES
                .iter()
                .all(|(jaq, _)| ALLOWED_NATIVES.contains(jaq))
        );
        let jaq: Vec<_> = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs())
            .map(|def| def.name)
            .collect();
        for name in REFUSED_DEFINITIONS {
            assert!(jaq.contains(name), "{name}");
        }
        for name in HELPER_NAMES {
            assert!(funs.contains(name) || jaq.contains(name), "{name}");
        }
    }

    #[test]
    fn prelude_definitions_parse() {
        let names = callable_names();
        for name in [
            "repeat",
            "getpath",
            "IN",
            "leaf_paths",
            "date",
            "map",
            "tonumber",
            "range",
        ] {
            assert!(names.contains_key(name), "{name}");
        }
        assert_eq!(names["range"], [1, 2, 3]);
    }
}
