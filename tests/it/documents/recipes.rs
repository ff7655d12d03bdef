//! `docs/recipes.md`: every block is a configuration, every filter makes of its answer what is written below it, and the
//! table tells the truth about calls.

use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use resumen::clock::Clock;
use resumen::config::{Config, duration_text, parse};
use resumen::domain::{Kind, Source};
use resumen::extract::{Extractor, Filter};
use serde_json::Value;

use super::{Part, parts};

const DAY: Duration = Duration::from_secs(86_400);

/// A recipe: its part of the document, its block, and the source that the block makes.
struct Recipe {
    part: Part,
    block: String,
    name: String,
}

fn recipes() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for part in parts("recipes.md") {
        let blocks: Vec<String> = part.blocks("toml").into_iter().map(str::to_owned).collect();
        let several = blocks.len() > 1;
        for (at, block) in blocks.into_iter().enumerate() {
            let header = block.lines().find(|line| line.starts_with('[')).unwrap();
            let name = header
                .trim_matches(['[', ']'])
                .split('.')
                .nth(1)
                .unwrap()
                .to_owned();
            // Each block of a part with several has one answer and one result.
            let json = part.blocks("json").into_iter().map(|text| super::Block {
                language: "json".into(),
                text: text.into(),
            });
            let own = if several {
                json.skip(2 * at).take(2).collect()
            } else {
                json.collect()
            };
            let (heading, text) = (part.heading.clone(), part.text.clone());
            recipes.push(Recipe {
                part: Part {
                    heading,
                    text,
                    blocks: own,
                },
                block,
                name,
            });
        }
    }
    recipes
}

/// Reads a configuration in a folder that has every file of `${file:…}`.
fn read(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for after in text.split("${file:").skip(1) {
        let path = folder.path().join(after.split('}').next().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let private = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path);
        std::io::Write::write_all(&mut private.unwrap(), b"a key of somebody").unwrap();
    }
    let config = parse(
        &folder.path().join("resumen.toml"),
        text.as_bytes(),
        &|_| None,
    );
    config.unwrap_or_else(|report| panic!("{report}"))
}

fn whole() -> Config {
    let blocks: Vec<String> = recipes().into_iter().map(|recipe| recipe.block).collect();
    read(&blocks.join("\n"))
}

fn source<'c>(config: &'c Config, name: &str) -> &'c Source {
    config
        .sources
        .iter()
        .find(|source| source.name.as_str() == name)
        .unwrap()
}

/// The filters of a source, in the order of its providers.
fn filters(source: &Source) -> Vec<&str> {
    match &source.kind {
        Kind::Derived { extract, .. } => vec![extract],
        Kind::Fetched { providers, .. } => providers
            .iter()
            .map(|provider| &*provider.extract)
            .collect(),
    }
}

#[test]
fn every_block_is_a_configuration_without_a_warning() {
    let whole = whole();
    assert_eq!(whole.warnings, []);
    assert!(whole.sources.len() > 25, "{}", whole.sources.len());
    for recipe in recipes()
        .iter()
        .filter(|recipe| !recipe.block.starts_with("[derived."))
    {
        assert_eq!(read(&recipe.block).sources.len(), 1, "{}", recipe.name);
    }
}

#[tokio::test]
async fn every_filter_makes_of_its_answer_what_is_written_below_it() {
    let (config, extractor, clock) = (whole(), Extractor::default(), Clock::start());
    for recipe in recipes() {
        let source = source(&config, &recipe.name);
        let filters = filters(source);
        let json = recipe.part.blocks("json");
        assert_eq!(
            json.len(),
            2 * filters.len(),
            "{}: an answer and a result for each provider",
            recipe.name
        );
        for (filter, pair) in filters.into_iter().zip(json.chunks(2)) {
            let compiled = Filter::compile(filter).unwrap();
            let by = clock.deadline(Duration::from_secs(20));
            let data = extractor
                .extract(&source.name, &compiled, pair[0].to_owned().into(), by)
                .await;
            let data = data.unwrap_or_else(|failure| panic!("{}: {failure}", recipe.name));
            let (got, expected): (Value, Value) = (
                serde_json::from_str(data.as_json()).unwrap(),
                serde_json::from_str(pair[1]).unwrap(),
            );
            assert_eq!(got, expected, "{}: {filter}", recipe.name);
        }
    }
}

#[test]
fn the_table_tells_interval_calls_limit_and_key_of_each_recipe() {
    let config = whole();
    let table = parts("recipes.md").swap_remove(0).rows();
    let recipes: Vec<_> = recipes()
        .into_iter()
        .filter(|recipe| recipe.part.text.contains("**Held**"))
        .collect();
    assert_eq!(table.len(), recipes.len());
    for (row, recipe) in table.iter().zip(&recipes) {
        let name = &recipe.name;
        assert_eq!(row[0], format!("[`{name}`](#{})", recipe.part.anchor()));
        let pace = source(&config, name).pace().unwrap();
        assert_eq!(row[2], duration_text(pace.interval), "{name}");
        let calls = |span: Duration| DAY.as_millis() / span.as_millis();
        assert_eq!(row[3], calls(pace.interval).to_string(), "{name}");
        if let Ok(allowed) = row[4].parse::<u128>() {
            assert!(
                calls(pace.min_interval) <= allowed,
                "{name}: live requests may ask more often than is allowed"
            );
        } else {
            assert_eq!(row[4], "–", "{name}");
        }
        let uses = |comment: bool| {
            recipe
                .block
                .lines()
                .any(|l| l.contains("${file:") && l.starts_with('#') == comment)
        };
        let key = if uses(false) {
            "yes"
        } else if uses(true) {
            "optional"
        } else {
            "no"
        };
        assert_eq!(row[5], key, "{name}");
    }
}

#[test]
fn every_recipe_says_limits_and_when_it_held() {
    for recipe in recipes()
        .iter()
        .filter(|recipe| !recipe.part.heading.starts_with("Two recipes"))
    {
        for said in ["- **Limits**: ", "- **Held**: "] {
            assert!(
                recipe.part.text.contains(said),
                "{} does not say {said}",
                recipe.name
            );
        }
    }
}
