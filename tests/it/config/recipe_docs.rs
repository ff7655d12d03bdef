//! `docs/recipes.md`: every block is a valid configuration, every filter gives the documented result, and the table has the
//! correct numbers of calls.

use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use resumen::config::{Config, parse};
use resumen::domain::{BodyFormat, Source, SourceKind};
use resumen::extract::{Filter, RawBody};
use resumen::process::Clock;
use resumen::text::{UnitStyle, format_duration};
use serde_json::Value;

use crate::support::markdown::{CodeBlock, MarkdownSection, markdown_sections};

const ONE_DAY: Duration = Duration::from_secs(86_400);

/// A recipe: its section of the document, its block, and the name of the block's source.
struct DocumentedRecipe {
    section: MarkdownSection,
    block: String,
    name: String,
}

fn load_recipes() -> Vec<DocumentedRecipe> {
    let mut recipes = Vec::new();
    for section in markdown_sections("recipes.md") {
        let blocks: Vec<String> = section
            .blocks_in_language("toml")
            .into_iter()
            .map(str::to_owned)
            .collect();
        let has_several = blocks.len() > 1;
        for (index, block) in blocks.into_iter().enumerate() {
            let header = block.lines().find(|line| line.starts_with('[')).unwrap();
            let name = header
                .trim_matches(['[', ']'])
                .split('.')
                .nth(1)
                .unwrap()
                .to_owned();
            // In a section with several blocks, each has one response and one result.
            let data = section.blocks.iter().filter(|data| data.language != "toml");
            let data = data.map(|data| CodeBlock {
                language: data.language.clone(),
                text: data.text.clone(),
            });
            let blocks_of_recipe = if has_several {
                data.skip(2 * index).take(2).collect()
            } else {
                data.collect()
            };
            let (heading, text) = (section.heading.clone(), section.text.clone());
            recipes.push(DocumentedRecipe {
                section: MarkdownSection {
                    heading,
                    text,
                    blocks: blocks_of_recipe,
                },
                block,
                name,
            });
        }
    }
    recipes
}

/// Loads a configuration from a folder that has every file of `${file:…}` and of `ca_file`.
pub fn load_recipe(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for rest in text.split("ca_file = \"").skip(1) {
        let path = folder.path().join(rest.split('"').next().unwrap());
        let authority = rcgen::generate_simple_self_signed(["nas.lan".to_owned()]).unwrap();
        std::fs::write(path, authority.cert.pem()).unwrap();
    }
    for rest in text.split("${file:").skip(1) {
        let path = folder.path().join(rest.split('}').next().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path);
        std::io::Write::write_all(&mut file.unwrap(), b"an-example-key").unwrap();
    }
    let config = parse(
        &folder.path().join("resumen.toml"),
        text.as_bytes(),
        &|name| (name == "RTE_CLIENT_ID").then(|| "a-client-id".to_owned()),
    );
    config.unwrap_or_else(|report| panic!("{report}"))
}

fn load_all_recipes() -> Config {
    let blocks: Vec<String> = load_recipes()
        .into_iter()
        .map(|recipe| recipe.block)
        .collect();
    load_recipe(&blocks.join("\n"))
}

fn source<'c>(config: &'c Config, name: &str) -> &'c Source {
    config
        .sources
        .iter()
        .find(|source| source.name.as_str() == name)
        .unwrap()
}

/// Returns the filters of a source with the formats of their bodies, in the order of its providers.
fn filters(source: &Source) -> Vec<(&str, BodyFormat)> {
    match &source.kind {
        SourceKind::Derived { extract, .. } => vec![(extract, BodyFormat::Json)],
        SourceKind::Fetched { providers, .. } => providers
            .iter()
            .map(|provider| (&*provider.extract, provider.request.format.clone()))
            .collect(),
    }
}

#[test]
fn recipes_give_no_warnings() {
    let config = load_all_recipes();
    assert_eq!(config.warnings, []);
    assert!(config.sources.len() > 25, "{}", config.sources.len());
    for recipe in load_recipes()
        .iter()
        .filter(|recipe| !recipe.block.starts_with("[derived."))
    {
        assert_eq!(
            load_recipe(&recipe.block).sources.len(),
            1,
            "{}",
            recipe.name
        );
    }
}

#[tokio::test]
async fn recipe_filters_give_documented_values() {
    let (config, extractor, clock) = (
        load_all_recipes(),
        crate::support::scripted_fetch::test_extractor(),
        Clock::start(),
    );
    for recipe in load_recipes() {
        let source = source(&config, &recipe.name);
        let filters = filters(source);
        let blocks = &recipe.section.blocks;
        assert_eq!(
            blocks.len(),
            2 * filters.len(),
            "{}: a response and a result for each provider",
            recipe.name
        );
        for ((filter, format), pair) in filters.into_iter().zip(blocks.chunks(2)) {
            let compiled = Filter::compile(filter).unwrap();
            let deadline = clock.deadline(Duration::from_secs(20));
            let body = RawBody {
                bytes: pair[0].text.clone().into(),
                format,
                charset: None,
            };
            let data = extractor
                .extract_body(&source.name, &compiled, &body, deadline)
                .await;
            let data = data.unwrap_or_else(|failure| panic!("{}: {failure}", recipe.name));
            let (result, expected): (Value, Value) = (
                serde_json::from_str(data.as_json()).unwrap(),
                serde_json::from_str(&pair[1].text).unwrap(),
            );
            assert_eq!(result, expected, "{}: {filter}", recipe.name);
        }
    }
}

#[test]
fn recipe_table_matches_recipes() {
    let config = load_all_recipes();
    let table = markdown_sections("recipes.md").swap_remove(0).table_rows();
    let recipes: Vec<_> = load_recipes()
        .into_iter()
        .filter(|recipe| recipe.section.text.contains("**Held**"))
        .collect();
    assert_eq!(table.len(), recipes.len());
    for (row, recipe) in table.iter().zip(&recipes) {
        let name = &recipe.name;
        assert_eq!(
            row[0],
            format!("[`{name}`](#{})", recipe.section.heading_anchor())
        );
        let schedule = source(&config, name).schedule().unwrap();
        assert_eq!(
            row[2],
            format_duration(schedule.interval, UnitStyle::Syntax),
            "{name}"
        );
        let calls = |span: Duration| ONE_DAY.as_millis() / span.as_millis();
        assert_eq!(row[3], calls(schedule.interval).to_string(), "{name}");
        if let Ok(allowed) = row[4].parse::<u128>() {
            assert!(
                calls(schedule.min_interval) <= allowed,
                "{name}: live requests can exceed the allowed calls"
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
fn recipes_state_limit_and_date() {
    for recipe in load_recipes().iter().filter(|recipe| {
        !["Two recipes", "Formats"]
            .iter()
            .any(|start| recipe.section.heading.starts_with(start))
    }) {
        for label in ["- **Limits**: ", "- **Held**: "] {
            assert!(
                recipe.section.text.contains(label),
                "{} lacks {label}",
                recipe.name
            );
        }
    }
}
