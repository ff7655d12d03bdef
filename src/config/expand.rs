//! `${…}` in string values: variables of the environment, and files.

use std::ops::Range;

/// What a `${…}` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference<'t> {
    /// `${NAME}`
    Variable(&'t str),
    /// `${NAME:-default}`, with the default as it stands between `:-` and `}`.
    Default(&'t str, &'t str),
    /// `${file:PATH}`
    File(&'t str),
}

/// What is wrong with a `${…}`, and where in the string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// What a string's text stands for, with every reference looked up, or every fault in it.
///
/// `lookup` gives a reference's value, or a message and a help.
pub(super) fn expand<F>(text: &str, mut lookup: F) -> Result<String, Vec<Fault>>
where
    F: FnMut(Reference<'_>) -> Result<String, (String, String)>,
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
            match reference(&rest[..length]).and_then(&mut lookup) {
                Ok(found) => value.push_str(&found),
                Err((message, help)) => faults.push(Fault {
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
fn reference(written: &str) -> Result<Reference<'_>, (String, String)> {
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
            Ok(Reference::File(path))
        };
    }
    let (name, default) = inner
        .split_once(":-")
        .map_or((inner, None), |(name, default)| (name, Some(default)));
    if !is_variable(name) {
        let help =
            "expected `${NAME}`, `${NAME:-default}` or `${file:PATH}`; a literal dollar is `$$`";
        return fault(
            format!("`{}` is no name of a variable", name.escape_debug()),
            help,
        );
    }
    Ok(default.map_or(Reference::Variable(name), |default| {
        Reference::Default(name, default)
    }))
}

fn is_variable(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(word) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Vec<Fault>> {
        expand(text, |reference| match reference {
            Reference::Variable("HOST") => Ok("example.org".into()),
            Reference::Variable(name) => Err((format!("{name} is not set"), String::new())),
            Reference::Default(_, default) => Ok(default.into()),
            Reference::File(path) => Ok(format!("<{path}>")),
        })
    }

    fn first_fault(text: &str) -> (String, Range<usize>) {
        let fault = expanded(text).unwrap_err().swap_remove(0);
        (fault.message, fault.span)
    }

    #[test]
    fn references_are_replaced_and_dollars_kept() {
        assert_eq!(
            expanded("https://${HOST}/x").unwrap(),
            "https://example.org/x"
        );
        assert_eq!(expanded("${PORT:-80}${X:-}").unwrap(), "80");
        assert_eq!(expanded("${file:a/b c}").unwrap(), "<a/b c>");
        assert_eq!(expanded("$$ $5 $").unwrap(), "$ $5 $");
        assert_eq!(expanded("$${HOST}").unwrap(), "${HOST}");
        assert_eq!(expanded("$$${HOST}").unwrap(), "$example.org");
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        let value = expand("${X}", |_| Ok("${HOST}".into())).unwrap();
        assert_eq!(value, "${HOST}");
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        assert_eq!(expanded("${A} ${B} ${HOST}").unwrap_err().len(), 2);
        assert_eq!(first_fault("a ${A} b"), ("A is not set".into(), 2..6));
        assert_eq!(
            first_fault("ñ ${A"),
            ("a `${` without its `}`".into(), 3..6)
        );
        assert_eq!(
            first_fault("${A${B}}"),
            ("a `${…}` inside of another".into(), 0..7)
        );
        assert_eq!(first_fault("${A:-${B}}").0, "a `${…}` inside of another");
        assert_eq!(first_fault("${}").0, "`` is no name of a variable");
        assert_eq!(first_fault("${1A}").0, "`1A` is no name of a variable");
        assert_eq!(first_fault("${file:}").0, "`${file:}` names no file");
    }
}
