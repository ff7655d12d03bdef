//! The configuration: complete files and their messages, defaults, and the documents about them.

pub mod config_semantics;
pub mod configuration_docs;
pub mod default_sources;
pub mod example_docs;
pub mod limit_docs;
pub mod malformed_files;
pub mod mounted_volumes;
pub mod recipe_docs;
pub mod recipe_home_docs;
pub mod schema;

use std::path::{Path, PathBuf};

use resumen::config;
use resumen::config::{Config, ConfigError};

/// The environment of all configurations here. No message may contain a value of it.
fn test_environment(name: &str) -> Option<String> {
    match name {
        "SET" => Some("hidden-secret value".into()),
        "LINES" => Some("hidden-secret\r\nX-Other: hidden-secret".into()),
        "TOKEN" => Some("hidden-secret-token".into()),
        "HOST" => Some("api.example.org".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    config::load(path, &test_environment)
}

fn config_files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn invalid_files_give_expected_messages() {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../../config/messages");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    restrict_private_keys();
    for path in config_files("tests/config/invalid") {
        let report = load(&path).expect_err(&path.display().to_string());
        let text = report.to_string();
        assert!(
            !text.contains("hidden-secret") && !text.contains("literal-secret"),
            "{text}"
        );
        let name = path.file_stem().unwrap().to_str().unwrap();
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// The service never connects to these addresses. They are warnings rather than errors, so that the
/// other sources of the file work.
#[test]
fn metadata_addresses_give_warnings() {
    let config = load(Path::new("tests/config/valid/metadata_addresses.toml")).unwrap();
    assert_eq!(config.sources.len(), config.warnings.len());
    for warning in &config.warnings {
        assert_eq!(
            warning.message,
            "the host of the URL is the metadata service of a cloud"
        );
    }
}

#[test]
fn valid_files_load() {
    for path in config_files("tests/config/valid")
        .into_iter()
        .chain(config_files("config"))
    {
        let config = load(&path).unwrap_or_else(|report| panic!("{report}"));
        assert!(!config.sources.is_empty(), "{}", path.display());
    }
}

#[test]
fn default_config_is_clean() {
    let default = load(Path::new("config/resumen.toml")).unwrap();
    let smallest = load(Path::new("tests/config/valid/smallest.toml")).unwrap();
    assert_eq!(default.warnings, []);
    assert_eq!(
        (default.server, default.store),
        (smallest.server, smallest.store)
    );
    let (btc, a) = (&default.sources[0], &smallest.sources[0]);
    assert_eq!(
        (btc.schedule(), btc.freshness_policy),
        (a.schedule(), a.freshness_policy)
    );
    assert_eq!(
        btc.providers()[0].request.max_body,
        a.providers()[0].request.max_body
    );
    let names: Vec<_> = default
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(names, ["btc", "clima", "usd", "btc_ars"]);
}

/// Removes the comment marks of all keys in the default configuration.
#[test]
fn commented_reference_keys_are_valid() {
    let text = std::fs::read_to_string("config/resumen.toml").unwrap();
    let uncommented = |line: &str| {
        let content = line.strip_prefix("# ")?;
        let key = content.split(" = ").next()?;
        let is_key = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        ((is_key && content.contains(" = "))
            || content.starts_with("[server.t")
            || content.starts_with("[sources.example")
            || content.starts_with("[[sources.example")
            || content.starts_with("[auth.example"))
        .then(|| content.to_owned())
    };
    let lines: Vec<_> = text
        .lines()
        .map(|line| uncommented(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.toml");
    std::fs::write(&path, lines.join("\n")).unwrap();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    write_private(
        &folder.path().join("secrets/example.token"),
        "a token of a file\n",
    );
    write_private(
        &folder.path().join("secrets/example-wall.token"),
        "wall-0123456789abcdef\n",
    );
    let authority = rcgen::generate_simple_self_signed(["example.org".to_owned()]).unwrap();
    for name in ["example-ca.pem", "example-client.pem", "example-server.pem"] {
        std::fs::write(folder.path().join(name), authority.cert.pem()).unwrap();
    }
    let key = authority.signing_key.serialize_pem();
    for name in ["example-client.key", "example-server.key"] {
        write_private(&folder.path().join("secrets").join(name), &key);
    }

    let environment = |name: &str| (name == "EXAMPLE_KEY").then(|| "a-key".to_owned());
    let config = config::load(&path, &environment).unwrap_or_else(|report| panic!("{report}"));
    let example = config
        .sources
        .iter()
        .find(|source| source.name.as_str() == "example")
        .unwrap();
    let request = &example.providers()[0].request;
    assert_eq!(
        request.headers[0].1.as_literal(),
        Some("Bearer a token of a file")
    );
    assert!(request.tls.ca_pem.is_some() && request.proxy.http.is_none() && request.body.is_some());
    let btc = &config.sources[0];
    assert_eq!(
        btc.freshness_policy,
        load(Path::new("config/resumen.toml")).unwrap().sources[0].freshness_policy
    );
}

/// A checkout does not keep the mode of a private key, and a readable one gives a warning.
fn restrict_private_keys() {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir("tests/config/files").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "key") {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
}

fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
