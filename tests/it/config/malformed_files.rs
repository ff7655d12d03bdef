//! Malformed configurations and secret files, special files, and random texts.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use resumen::config;
use resumen::config::{Config, ConfigError, Severity};
use rustix::time::{ClockId, clock_gettime};
use tempfile::{TempDir, tempdir};

fn load_error(path: &Path) -> String {
    let report = config::load(path, &|_| None).unwrap_err().to_string();
    report.lines().next().unwrap().to_owned()
}

fn write_config(text: impl AsRef<[u8]>) -> (TempDir, std::path::PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("resumen.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn load_text(text: &str) -> Result<Config, ConfigError> {
    config::parse(
        Path::new("resumen.toml"),
        text.as_bytes(),
        &crate::config::test_environment,
    )
}

#[test]
fn large_or_special_file_is_rejected() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(
        load_error(&at("absent")),
        "error: the configuration cannot be read: there is no such file"
    );
    assert_eq!(
        load_error(folder.path()),
        "error: the configuration cannot be read: it is a directory"
    );
    let pipe = at("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(
        load_error(&pipe),
        "error: the configuration cannot be read: it is a named pipe, not a regular file"
    );
    std::fs::File::create(at("huge"))
        .unwrap()
        .set_len(100 << 20)
        .unwrap();
    assert_eq!(
        load_error(&at("huge")),
        "error: the configuration cannot be read: it is larger than 8 MiB"
    );
    std::os::unix::fs::symlink("loop", at("loop")).unwrap();
    assert!(load_error(&at("loop")).starts_with("error: the configuration cannot be read: "));
}

#[test]
fn missing_file_error_lists_paths() {
    let report = config::load(Path::new("absent.toml"), &|_| None).unwrap_err();
    let problem = &report.problems[0];
    assert_eq!(
        (problem.location.as_ref(), &*problem.file),
        (None, "absent.toml")
    );
    assert!(problem.help.as_ref().unwrap().contains("RESUMEN_CONFIG"));
    assert!(
        report
            .to_string()
            .ends_with("\n1 error; nothing was started")
    );
}

#[test]
fn unreadable_file_is_reported() {
    let (_folder, path) = write_config("x");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root can read every file.
    if std::fs::read(&path).is_err() {
        assert_eq!(
            load_error(&path),
            "error: the configuration cannot be read: reading it is not permitted"
        );
    }
}

#[test]
fn byte_order_mark_is_ignored() {
    let (_folder, path) = write_config("\u{feff}[sources.a]\nurl = \"http://localhost\"\n");
    assert_eq!(config::load(&path, &|_| None).unwrap().sources.len(), 1);
}

/// Loads a configuration that refers to a secret file with this content and mode.
fn load_with_secret(content: &[u8], mode: u32) -> (TempDir, Result<Config, ConfigError>) {
    let text = "[sources.a]\nurl = \"http://localhost\"\nheaders = { X-Key = \"${file:key}\" }\n";
    let (folder, path) = write_config(text);
    let key = folder.path().join("key");
    std::fs::write(&key, content).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    let loaded = config::load(&path, &|_| None);
    (folder, loaded)
}

#[test]
fn secret_file_drops_newline() {
    for (content, value) in [
        ("abc", "abc"),
        ("abc\n", "abc"),
        ("abc\r\n", "abc"),
        ("", ""),
    ] {
        let (_folder, loaded) = load_with_secret(content.as_bytes(), 0o600);
        let config = loaded.unwrap();
        let headers = &config.sources[0].providers()[0].request.headers;
        assert_eq!(headers[0].1.as_literal(), Some(value));
        let warnings = config.warnings.iter().map(|warning| &*warning.message);
        let expected: &[&str] = if value.is_empty() {
            &["the file `key` is empty"]
        } else {
            &[]
        };
        assert_eq!(warnings.collect::<Vec<_>>(), expected);
    }
    let (_folder, loaded) = load_with_secret(b"abc\n\n", 0o600);
    assert!(
        loaded.unwrap_err().problems[0]
            .message
            .contains("a line break")
    );
}

#[test]
fn world_readable_secret_gives_warning() {
    let (_folder, loaded) = load_with_secret(b"topsecret1\n", 0o644);
    let config = loaded.unwrap();
    let warning = &config.warnings[0];
    assert_eq!(warning.severity, Severity::Warning);
    assert_eq!(
        warning.message,
        "every user of this machine may read the secret file `key`"
    );
    assert_eq!(config.secrets.redact("echo topsecret1!"), "echo ***!");
}

#[test]
fn secret_file_must_be_small_text() {
    let message = |content: &[u8]| {
        load_with_secret(content, 0o600).1.unwrap_err().problems[0]
            .message
            .clone()
    };
    assert!(message(&vec![b'a'; 10 << 20]).ends_with("it is larger than 64 KiB"));
    assert!(message(b"\xff\xfe").ends_with("it is not UTF-8"));
}

#[test]
fn ten_thousand_sources_load_quickly() {
    let mut good = String::new();
    let mut bad = String::new();
    for n in 0..10_000 {
        let filter = n % 500;
        let url = format!("http://user:password-{n}@localhost/{n}?key=a-long-secret-{n}");
        let _ = writeln!(
            good,
            "[sources.s{n}]\nurl = \"{url}\"\nextract = '.a{filter} | tonumber'\nheaders = {{ X = \"token-of-{n}\" }}"
        );
        let _ = writeln!(bad, "[sources.s{n}]\nurl = \"{url}\"\nintervall = \"5s\"");
    }
    let count = 9_999;
    // The worst order: each source precedes its input.
    for n in (0..count).rev() {
        let _ = writeln!(
            good,
            "[derived.d{n}]\nfrom = [\"{}\"]",
            if n == 0 {
                "s0".into()
            } else {
                format!("d{}", n - 1)
            }
        );
    }
    let before = processor_time();
    assert_eq!(load_text(&good).unwrap().sources.len(), 10_000 + count);
    let report = load_text(&bad).unwrap_err();
    assert_eq!(report.count(Severity::Error), 10_000);
    assert!(!report.to_string().contains("password-"));
    // A release build takes a tenth of the time.
    let duration = processor_time().saturating_sub(before);
    assert!(duration < Duration::from_secs(20), "{duration:?}");
}

/// The CPU time of this thread, without other tests.
fn processor_time() -> Duration {
    let duration = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(duration.tv_sec as u64, duration.tv_nsec as u32)
}

/// Fragments of configurations, and random text.
fn config_fragment() -> impl Strategy<Value = String> {
    let known = [
        "[sources.a]\n",
        "[[sources.a.providers]]\n",
        "[derived.d]\n",
        "[server]\n",
        "[store]\n",
        "[defaults]\n",
        "url",
        "extract",
        "interval",
        "timeout",
        "headers",
        "from",
        "listen",
        "redis",
        "name",
        "ca_file",
        " = ",
        "\"",
        "'",
        "'''",
        "\"\"\"",
        "\n",
        "\r\n",
        "${",
        "}",
        "${SET}",
        "${file:/dev/null}",
        "$$",
        "https://",
        "user:pass@",
        "?k=",
        "\\u00e9",
        "\\",
        "“",
        "ñ",
        "💰",
        "\0",
        "[",
        "]",
        "{",
        ",",
        ".",
        "#",
        "5s",
        "1",
        "true",
        "\"5s\"",
        "\"http://localhost\"",
        "[\"a\"]",
        "'.a | '",
        "\u{feff}",
        "\t",
        " ",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => ".{0,8}",
    ]
}

proptest! {
    #[test]
    fn random_text_never_panics(pieces in proptest::collection::vec(config_fragment(), 0..40)) {
        if let Err(report) = load_text(&pieces.concat()) {
            prop_assert!(report.count(Severity::Error) > 0);
            prop_assert!(!report.to_string().contains("hidden-secret"));
            let _ = report.render_text(true);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let loaded = config::parse(Path::new("x"), &bytes, &crate::config::test_environment);
        prop_assert!(loaded.is_err());
    }

    /// Truncations and changed bytes of a complete configuration.
    #[test]
    fn damaged_config_never_panics(at in 0usize..1300, byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = std::fs::read("tests/config/valid/every_key.toml").unwrap();
        let at = at.min(bytes.len() - 1);
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let loaded = config::parse(Path::new("x"), &bytes, &crate::config::test_environment);
        if let Err(report) = loaded {
            prop_assert!(!report.to_string().is_empty());
        }
    }
}
