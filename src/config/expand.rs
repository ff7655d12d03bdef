//! `${…}` in string values: variables of the environment, and files.

use std::ops::Range;

/// What a `${…}` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigReference<'t> {
    /// `${NAME}`
    Variable(&'t str),
    /// `${NAME:-default}`, with the default as it stands between `:-` and `}`.
    VariableOrDefault(&'t str, &'t str),
    /// `${file:PATH}`
    File(&'t str),
}

/// What is wrong with a `${…}`, and where in the string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReferenceProblem {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// What a string's text stands for, with every reference looked up, or every fault in it.
///
/// `lookup` gives a reference's value, or a message and a help.
pub(super) fn expand_references<F>(
    text: &str,
    mut lookup: F,
) -> Result<String, Vec<ReferenceProblem>>
where
    F: FnMut(ConfigReference<'_>) -> Result<String, (String, String)>,
{
    let mut value = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        value.push_str(&text[at..at + found]);
        let dollar = at + found;
        let rest = &text[dollar..];
        at = dollar + 1;
        if rest.starts_with("$$") {
            value.push('$');
            at += 1;
        } else if rest.starts_with("${") {
            let length = rest.find('}').map_or(rest.len(), |end| end + 1);
            at = dollar + length;
            let span = dollar..at;
            match parse_reference(&rest[..length]).and_then(&mut lookup) {
                Ok(found) => value.push_str(&found),
                Err((message, help)) => faults.push(ReferenceProblem {
                    span,
                    message,
                    help,
                }),
            }
        } else {
            value.push('$');
        }
    }
    value.push_str(&text[at..]);
    if faults.is_empty() {
        Ok(value)
    } else {
        Err(faults)
    }
}

/// Reads `${…}`, which begins with `${` and ends at the first `}` or at the string's end.
fn parse_reference(written: &str) -> Result<ConfigReference<'_>, (String, String)> {
    let fault = |message: String, help: &str| Err((message, help.to_owned()));
    let inner = written[2..].strip_suffix('}');
    if inner.unwrap_or(&written[2..]).contains("${") {
        return fault(
            "a `${…}` inside of another".into(),
            "references do not nest; a literal dollar is `$$`",
        );
    }
    let Some(inner) = inner else {
        return fault(
            "a `${` without its `}`".into(),
            "close it with `}`; a literal dollar is `$$`",
        );
    };
    if let Some(path) = inner.strip_prefix("file:") {
        return if path.is_empty() {
            fault("`${file:}` names no file".into(), "expected `${file:PATH}`")
        } else {
            Ok(ConfigReference::File(path))
        };
    }
    let (name, default) = inner
        .split_once(":-")
        .map_or((inner, None), |(name, default)| (name, Some(default)));
    if !is_variable_name(name) {
        let help =
            "expected `${NAME}`, `${NAME:-default}` or `${file:PATH}`; a literal dollar is `$$`";
        return fault(
            format!("`{}` is no name of a variable", name.escape_debug()),
            help,
        );
    }
    Ok(default.map_or(ConfigReference::Variable(name), |default| {
        ConfigReference::VariableOrDefault(name, default)
    }))
}

fn is_variable_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(word) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_sample(text: &str) -> Result<String, Vec<ReferenceProblem>> {
        expand_references(text, |reference| match reference {
            ConfigReference::Variable("HOST") => Ok("example.org".into()),
            ConfigReference::Variable(name) => Err((format!("{name} is not set"), String::new())),
            ConfigReference::VariableOrDefault(_, default) => Ok(default.into()),
            ConfigReference::File(path) => Ok(format!("<{path}>")),
        })
    }

    fn first_problem(text: &str) -> (String, Range<usize>) {
        let fault = expand_sample(text).unwrap_err().swap_remove(0);
        (fault.message, fault.span)
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
            ("a `${…}` inside of another".into(), 0..7)
        );
        assert_eq!(first_problem("${A:-${B}}").0, "a `${…}` inside of another");
        assert_eq!(first_problem("${}").0, "`` is no name of a variable");
        assert_eq!(first_problem("${1A}").0, "`1A` is no name of a variable");
        assert_eq!(first_problem("${file:}").0, "`${file:}` names no file");
    }
}
