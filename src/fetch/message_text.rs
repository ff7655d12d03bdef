//! Parts of failure messages: sizes, and quotes of foreign text.

/// Maximum number of characters of a quote, after escaping.
pub(super) const MAX_QUOTE_CHARS: usize = 120;

/// Returns a size in the largest binary unit that divides it: `1 MiB`, `1500 bytes`.
pub(super) fn format_size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

/// Returns `foreign` with quotes and non-printable characters escaped, cut to [`MAX_QUOTE_CHARS`].
pub(super) fn quote_escaped(foreign: &str) -> String {
    let mut quoted = String::new();
    let mut left = MAX_QUOTE_CHARS;
    for escaped in foreign.chars().map(char::escape_debug) {
        if escaped.len() > left {
            return quoted + "…";
        }
        left -= escaped.len();
        quoted.extend(escaped);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_uses_largest_whole_unit() {
        assert_eq!(
            [1 << 20, 65_536, 1_500, 3 << 30].map(format_size),
            ["1 MiB", "64 KiB", "1500 bytes", "3 GiB"]
        );
    }

    #[test]
    fn quote_is_escaped_and_cut() {
        assert_eq!(quote_escaped("a\"b\n\u{202e}\0ñ"), "a\\\"b\\n\\u{202e}\\0ñ");
        let long = quote_escaped(&"\u{7}x".repeat(500));
        assert!(
            long.chars().count() <= MAX_QUOTE_CHARS + 1 && long.ends_with('…'),
            "{long}"
        );
    }
}
