//! The JSON Schema of the configuration: its checked-in copy, and what it accepts and refuses.

use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use resumen::config::json_schema;
use serde_json::Value;

use super::{config_files, load};
use crate::support::child_process::run_program;

const SCHEMA_FILE: &str = "config/resumen.schema.json";

struct CompiledSchema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl CompiledSchema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let uri = "mem:///resumen.schema.json";
        compiler.add_resource(uri, json_schema()).unwrap();
        let index = compiler.compile(uri, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn check(&self, file: &Value) -> Result<(), String> {
        let checked = self.schemas.validate(file, self.index);
        checked.map_err(|error| error.to_string())
    }
}

/// The files that are valid configurations.
fn valid_files() -> Vec<PathBuf> {
    let folders = ["config", "config/compose", "tests/config/valid"];
    folders.into_iter().flat_map(config_files).collect()
}

fn read_toml(path: &Path) -> Option<Value> {
    toml::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

#[test]
fn schema_file_is_current() {
    let printed = run_program(&["check", "--schema"], &[("RESUMEN_CONFIG", "absent.toml")]);
    assert_eq!((printed.exit_code, printed.stderr.as_str()), (Some(0), ""));
    let checked_in = std::fs::read_to_string(SCHEMA_FILE).unwrap();
    assert!(
        printed.stdout == checked_in,
        "run `resumen check --schema > {SCHEMA_FILE}`"
    );
}

#[test]
fn schema_accepts_valid_files() {
    let schema = CompiledSchema::new();
    let files = valid_files();
    assert!(files.len() > 5, "{files:?}");
    for path in files {
        let checked = schema.check(&read_toml(&path).unwrap());
        assert_eq!(checked, Ok(()), "{}", path.display());
    }
}

/// Editors with Taplo read the schema that the first line names.
#[test]
fn valid_files_name_the_schema() {
    let schema = Path::new(SCHEMA_FILE).canonicalize().unwrap();
    for path in valid_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let named = text
            .strip_prefix("#:schema ")
            .and_then(|rest| rest.lines().next());
        let named = named.unwrap_or_else(|| panic!("{} names no schema", path.display()));
        let named = path.with_file_name(named).canonicalize();
        assert_eq!(named.unwrap(), schema, "{}", path.display());
    }
}

#[test]
fn schema_refuses_unknown_keys_and_wrong_types() {
    let schema = CompiledSchema::new();
    let mut refused = 0;
    for path in config_files("tests/config/invalid") {
        let Some(file) = read_toml(&path) else {
            continue;
        };
        // A schema accepts every reference.
        if file.to_string().contains("${") {
            continue;
        }
        let problems = load(&path).unwrap_err().problems;
        let mut messages = problems.iter().map(|problem| problem.message.as_str());
        let is_schema_error = |message: &str| {
            let types = [
                "a string",
                "a whole number",
                "a decimal number",
                "a boolean",
                "a date",
            ];
            let is_wrong_type = |name: &str| message.contains(&format!(" is {name}"));
            message.starts_with("unknown key")
                || message.contains("which is out of bounds")
                || message.contains("which is not a")
                || message.contains("has no `url`")
                || types.into_iter().any(is_wrong_type)
        };
        if messages.any(is_schema_error) {
            assert!(schema.check(&file).is_err(), "{}", path.display());
            refused += 1;
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn schema_accepts_references() {
    let schema = CompiledSchema::new();
    let file = |interval: &str| {
        let text =
            format!("[sources.a]\nurl = '${{URL}}'\ninterval = '{interval}'\nmethod = '${{M}}'\n");
        toml::from_str(&text).unwrap()
    };
    assert_eq!(schema.check(&file("${INTERVAL:-5s}")), Ok(()));
    assert_eq!(schema.check(&file("1h30m")), Ok(()));
    assert!(schema.check(&file("5")).is_err());
}
