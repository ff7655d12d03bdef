//! Programs that some tests need beside Rust. A test whose program is missing is skipped and prints
//! a line; with `RESUMEN_REQUIRE_ALL=1` it fails.

use std::path::PathBuf;

/// Returns `is_available`. If it is false, prints that the test is skipped, or panics under
/// `RESUMEN_REQUIRE_ALL=1`.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn require(what: &str, is_available: bool) -> bool {
    if !is_available {
        let is_required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!is_required, "missing: {what}");
        eprintln!("skipped: {what} is missing");
    }
    is_available
}

/// `require` for a program on the `PATH`.
pub fn require_program(name: &str) -> bool {
    require(name, find_program(name).is_some())
}

/// The path of a program on the `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
}
