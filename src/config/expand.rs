//! References in texts: `${NAME}`, `${NAME:-default}` and `${file:PATH}`.

use super::problems::{ValueError, refuse};
use super::span::Span;

/// A parsed reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigReference<'t> {
    /// `${NAME}`
    Variable(&'t str),
    /// `${NAME:-default}`, with the default as written.
    VariableOrDefault(&'t str, &'t str),
    /// `${file:PATH}`
    File(&'t str),
}

/// `text` with every reference replaced by its value from `lookup`, and `$$` by `$`. Otherwise all errors, each with the
/// place of its reference in `text`.
pub(super) fn expand_references<F>(
    text: &str,
    mut lookup: F,
) -> Result<String, Vec<(Span, ValueError)>>
where
    F: FnMut(ConfigReference<'_>) -> Result<String, ValueError>,
{
    let mut value = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        value.push_str(before);
        let start = text.len() - after.len() - 1;
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            value.push('$');
            rest = after;
        } else if after.starts_with('{') {
            // Without a `}`, the reference extends to the end of the text.
            let length = after.find('}').map_or(after.len(), |end| end + 1);
            match parse_reference(&after[..length]).and_then(&mut lookup) {
                Ok(found) => value.push_str(&found),
                Err(error) => errors.push((start..start + 1 + length, error)),
            }
            rest = &after[length..];
        } else {
            value.push('$');
        }
    }
    value.push_str(rest);
    if errors.is_empty() {
        Ok(value)
    } else {
        Err(errors)
    }
}

/// Parses `{…}`, which ends at the first `}` or at the end of the text.
fn parse_reference(written: &str) -> Result<ConfigReference<'_>, ValueError> {
    // Nested references first: their `}` would otherwise be taken for the end of the outer one.
    let inner = written[1..].strip_suffix('}');
    if written.contains("${") {
        let help = "references do not nest; a literal dollar is `$$`";
        return refuse("a `${…}` inside another", help);
    }
    let Some(inner) = inner else {
        return refuse(
            "a `${` without its `}`",
            "close it with `}`; a literal dollar is `$$`",
        );
    };
    match inner.strip_prefix("file:") {
        Some("") => return refuse("`${file:}` names no file", "expected `${file:PATH}`"),
        Some(path) => return Ok(ConfigReference::File(path)),
        None => {}
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_word || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("`{}` is not a valid variable name", name.escape_debug());
        let help =
            "expected `${NAME}`, `${NAME:-default}` or `${file:PATH}`; a literal dollar is `$$`";
        return refuse(message, help);
    }
    Ok(match default {
        Some(default) => ConfigReference::VariableOrDefault(name, default),
        None => ConfigReference::Variable(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_sample(text: &str) -> Result<String, Vec<(Span, ValueError)>> {
        expand_references(text, |reference| match reference {
            ConfigReference::Variable("HOST") => Ok("example.org".into()),
            ConfigReference::Variable(name) => refuse(format!("{name} is not set"), ""),
            ConfigReference::VariableOrDefault(_, default) => Ok(default.into()),
            ConfigReference::File(path) => Ok(format!("<{path}>")),
        })
    }

    fn first_problem(text: &str) -> (String, Span) {
        let (span, error) = expand_sample(text).unwrap_err().swap_remove(0);
        (error.message, span)
    }

    #[test]
    fn references_are_expanded() {
        assert_eq!(
            expand_sample("https://${HOST}/x").unwrap(),
            "https://example.org/x"
        );
        assert_eq!(expand_sample("${PORT:-80}${X:-}").unwrap(), "80");
        assert_eq!(expand_sample("${file:a/b c}").unwrap(), "<a/b c>");
        assert_eq!(expand_sample("$$ $5 $").unwrap(), "$ $5 $");
        assert_eq!(expand_sample("$${HOST}").unwrap(), "${HOST}");
        assert_eq!(expand_sample("$$${HOST}").unwrap(), "$example.org");
    }

    #[test]
    fn expansion_is_not_recursive() {
        let value = expand_references("${X}", |_| Ok("${HOST}".into())).unwrap();
        assert_eq!(value, "${HOST}");
    }

    #[test]
    fn reference_problems_have_spans() {
        assert_eq!(expand_sample("${A} ${B} ${HOST}").unwrap_err().len(), 2);
        assert_eq!(first_problem("a ${A} b"), ("A is not set".into(), 2..6));
        assert_eq!(
            first_problem("ñ ${A"),
            ("a `${` without its `}`".into(), 3..6)
        );
        assert_eq!(
            first_problem("${A${B}}"),
            ("a `${…}` inside another".into(), 0..7)
        );
        assert_eq!(first_problem("${A:-${B}}").0, "a `${…}` inside another");
        assert_eq!(first_problem("${}").0, "`` is not a valid variable name");
        assert_eq!(
            first_problem("${1A}").0,
            "`1A` is not a valid variable name"
        );
        assert_eq!(first_problem("${file:}").0, "`${file:}` names no file");
    }
}
