//! The functions that a filter may call: those of jaq that only calculate, listed by name, and this crate's own.
//!
//! Left out is all that reaches outside of the filter or ends it: `halt`, `env`, `input`, `debug`, `stderr`, `now`, the
//! machine's time zone, modules.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jaq_core::data::JustLut;
use jaq_core::load;
use jaq_core::load::parse::{Def, Term};
use jaq_core::native::Fun;
use jaq_json::Val;

use super::dependencies::CallGraph;
use super::natives::native_functions;
use super::substitute::substitute_operators;

/// Native functions of jaq that are allowed, by name.
#[rustfmt::skip]
const ALLOWED_NATIVES: &[&str] = &[
    // values
    "error_empty", "path", "path_value", "keys_unsorted", "key_values", "first", "last", "limit", "skip", "length",
    "contains", "has", "indices", "bsearch", "range", "reverse", "sort", "sort_by", "group_by", "min_by_or_empty",
    "max_by_or_empty",
    // text
    "utf8bytelength", "explode", "implode", "ascii_downcase", "ascii_upcase", "startswith", "endswith", "ltrimstr",
    "rtrimstr", "trim", "ltrim", "rtrim", "escape_sh", "escape_html", "unescape_html", "encode_uri", "decode_uri",
    "encode_base64", "decode_base64", "matches", "split_matches", "split_",
    // numbers
    "floor", "round", "ceil", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc",
    "exp", "exp10", "exp2", "expm1", "fabs", "frexp", "ilogb", "j0", "j1", "lgamma", "log", "log10", "log1p", "log2",
    "modf", "nearbyint", "rint", "sin", "sinh", "sqrt", "tan", "tanh", "tgamma", "trunc", "y0", "y1", "atan2",
    "copysign", "fdim", "fmax", "fmin", "fmod", "hypot", "jn", "ldexp", "nextafter", "pow", "remainder", "scalbln",
    "yn", "fma",
    // dates
    "fromdateiso8601", "todateiso8601", "strftime", "gmtime", "strptime", "mktime",
];

/// Definitions of jaq in whose place ours stand, for those that use them too.
const REPLACED_DEFINITIONS: &[&str] = &["repeat", "getpath"];

/// Definitions of jaq that are not allowed.
#[rustfmt::skip]
const REFUSED_DEFINITIONS: &[&str] = &[
    "stderr", "debug", "halt", "halt_error",
    // ours are native functions
    "tonumber", "tostring", "delpaths",
    // ours stand in the prelude, behind what they call
    "index", "rindex",
];

/// Native functions of jaq that the prelude wraps, and the names by which it calls them.
const RENAMED_NATIVES: &[(&str, &str)] = &[
    ("mktime", "__mktime"),
    ("strptime", "__strptime"),
    ("indices", "__indices"),
];

/// Helpers of the library that a filter has no use for.
#[rustfmt::skip]
const HELPER_NAMES: &[&str] = &[
    "error_empty", "path_value", "key_values", "min_by_or_empty", "max_by_or_empty", "escape_sh", "escape_html",
    "unescape_html", "encode_uri", "decode_uri", "encode_base64", "decode_base64", "matches", "split_matches", "split_",
    "scan_", "totype", "capture_of_match",
];

/// Every definition, in an order in which each one finds what it calls.
static DEFINITIONS: LazyLock<Vec<Def<&'static str>>> = LazyLock::new(load_definitions);

/// The call graph of [`DEFINITIONS`].
static CALL_GRAPH: LazyLock<CallGraph> = LazyLock::new(|| CallGraph::new(&DEFINITIONS));

/// The definitions and the native functions of the library that `term` can reach.
pub(super) fn reachable_library<'s>(
    term: &mut Term<&'s str>,
) -> (Vec<Def<&'s str>>, Vec<Fun<JustLut<Val>>>) {
    let reached = CALL_GRAPH.reachable_names(term);
    let defs = DEFINITIONS
        .iter()
        .filter(|def| reached.contains(def.name))
        .cloned()
        .collect();
    (
        defs,
        select_natives(|name| reached.contains(name)).collect(),
    )
}

/// Returns the native functions of the library whose names `wanted` accepts.
fn select_natives(wanted: impl Fn(&str) -> bool + Copy) -> impl Iterator<Item = Fun<JustLut<Val>>> {
    let jaq = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        // By a list of what is allowed: a function of a new jaq is refused until it was reviewed.
        .filter(|(name, ..)| ALLOWED_NATIVES.contains(name))
        .map(|(name, arguments, native)| {
            let renamed = RENAMED_NATIVES.iter().find(|(old, _)| *old == name);
            (renamed.map_or(name, |(_, new)| *new), arguments, native)
        })
        .filter(move |(name, ..)| wanted(name));
    jaq.chain(
        native_functions()
            .into_iter()
            .filter(move |(name, ..)| wanted(name)),
    )
}

/// What a filter can call: names, and with how many arguments.
pub(super) fn callable_names() -> BTreeMap<&'static str, Vec<usize>> {
    let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let callable = |name: &str| !name.starts_with("__") && !HELPER_NAMES.contains(&name);
    let defs = DEFINITIONS.iter().map(|def| (def.name, def.args.len()));
    for (name, arity) in
        defs.chain(select_natives(|_| true).map(|(name, args, _)| (name, args.len())))
    {
        if callable(name) {
            names.entry(name).or_default().push(arity);
        }
    }
    for arities in names.values_mut() {
        arities.sort_unstable();
    }
    names
}

fn load_definitions() -> Vec<Def<&'static str>> {
    let mut ours =
        load::parse(include_str!("prelude.jq"), |parser| parser.defs()).unwrap_or_default();
    // Like a filter: the prelude is written in jq and means jq's operators.
    for definition in &mut ours {
        substitute_operators(&mut definition.body);
    }
    let same = |a: &Def<&str>, b: &Def<&str>| a.name == b.name && a.args.len() == b.args.len();
    let jaq = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let mut all: Vec<_> = jaq
        .filter(|def| !REFUSED_DEFINITIONS.contains(&def.name))
        .map(|def| {
            match ours
                .iter()
                .position(|mine| same(mine, &def) && REPLACED_DEFINITIONS.contains(&mine.name))
            {
                // In jaq's place, so that jaq's later definitions call ours.
                Some(position) => ours.remove(position),
                None => def,
            }
        })
        .collect();
    all.append(&mut ours);
    all
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::*;

    #[test]
    fn listed_names_exist() {
        let funs: Vec<_> = select_natives(|_| true).map(|(name, ..)| name).collect();
        for name in ALLOWED_NATIVES {
            let renamed = RENAMED_NATIVES.iter().find(|(old, _)| old == name);
            let name = renamed.map_or(name, |(_, new)| new);
            assert!(funs.contains(name), "{name}");
        }
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

    /// The reachable definitions are found by this crate, not by jaq: each name must compile with them alone.
    #[test]
    fn every_callable_name_compiles() {
        for (name, arities) in callable_names() {
            for arity in arities {
                let args = vec!["."; arity].join("; ");
                let text = if arity == 0 {
                    name.to_owned()
                } else {
                    format!("{name}({args})")
                };
                let text = if name.starts_with('@') {
                    format!("{name} \"\\(.)\"")
                } else {
                    text
                };
                let compiled = Filter::compile(&text);
                assert!(compiled.is_ok(), "{text}: {compiled:?}");
            }
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
