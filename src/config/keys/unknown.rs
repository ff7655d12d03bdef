//! Help for unknown keys: the key that was probably meant, or what to do instead of it.

use crate::text::find_nearest;

use super::declarations::{all_keys, section_keys};
use super::key::{Key, Section};

/// Names of other programs that have no counterpart here, and what to do instead.
const UNSUPPORTED: [(&str, &str); 5] = [
    (
        "insecure insecure_skip_verify skip_verify tls_skip_verify verify verify_ssl ssl_verify \
         ignore_ssl allow_insecure",
        "there is no such key: name the server's certificate in `ca_file`",
    ),
    (
        "basic_auth authentication authorization bearer_token token api_key",
        "there is no such key: `username` and `password` send Basic credentials, `headers` a fixed token, `auth` the \
         token of an `[auth.NAME]`",
    ),
    (
        "retries retry max_retries retry_count",
        "there is no such key: a failure is retried after 5s, 10s, … up to `interval`",
    ),
    (
        "epoch_timestamp",
        "there is no such key: a sample has the time of its scrape; export the time as a metric of its own",
    ),
    (
        "log log_level logging level debug",
        "there is no such key: set the environment variable `RESUMEN_LOG`",
    ),
];

/// What an unknown key in a table was probably meant to be; otherwise where it belongs, or the known keys.
pub(crate) fn unknown_key_help(name: &str, section: Section) -> String {
    let letters = letters_of(name);
    let is_alias = |names: &str| names.split(' ').any(|other| letters_of(other) == letters);
    // Aliases before the edit distance: an alias is an exact hit, and `jq` resembles no key.
    if let Some(key) = section_keys(section).find(|key| is_alias(key.aliases)) {
        return format!("did you mean `{}`?", key.name);
    }
    if let Some((_, help)) = UNSUPPORTED.iter().find(|(names, _)| is_alias(names)) {
        return (*help).into();
    }
    let places = |key: &Key| {
        let places = key.sections.iter().map(|section| match section {
            Section::Source => "`[sources.NAME]`",
            Section::Provider => "`[[sources.NAME.providers]]`",
            Section::Derived => "`[derived.NAME]`",
            Section::Auth => "`[auth.NAME]`",
            Section::Metric => "`[[sources.NAME.metrics]]`",
            other => other.description(),
        });
        places.collect::<Vec<_>>().join(" or in ")
    };
    // The exact name of another table's key is more probable than a spelling error.
    if let Some(key) = all_keys().find(|key| key.name == name) {
        return format!("`{name}` belongs in {}", places(key));
    }
    if let Some(near) = find_nearest(name, section_keys(section).map(|key| key.name)) {
        return format!("did you mean `{near}`?");
    }
    if let Some(key) = all_keys().find(|key| is_alias(key.aliases)) {
        return format!("did you mean `{}` in {}?", key.name, places(key));
    }
    let names: Vec<&str> = section_keys(section).map(|key| key.name).collect();
    format!("known here: {}", names.join(", "))
}

/// A name without letter case, `-` and `_`: other programs spell `refreshInterval` or `update-interval`.
fn letters_of(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_'));
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_are_recognised() {
        let help = |name| unknown_key_help(name, Section::Source);
        assert_eq!(help("jsonpath"), "did you mean `extract`?");
        assert_eq!(help("refreshInterval"), "did you mean `interval`?");
        assert_eq!(help("update-interval"), "did you mean `interval`?");
        assert!(help("verify_ssl").contains("`ca_file`"));
        assert!(help("token").contains("`headers`"));
        let help = |name| unknown_key_help(name, Section::Root);
        assert_eq!(help("port"), "did you mean `listen` in `[server]`?");
        assert_eq!(help("redis_prefix"), "`redis_prefix` belongs in `[store]`");
    }

    #[test]
    fn alias_is_no_key_of_its_table() {
        for key in all_keys() {
            for section in key.sections {
                let mut names = section_keys(*section).map(|other| other.name);
                let taken = names.find(|name| key.aliases.split(' ').any(|alias| alias == *name));
                assert_eq!(taken, None, "an alias of {}", key.name);
            }
        }
    }
}
