//! The redaction of secrets: the redacted text contains no secret, and the rest is unchanged.

use resumen::domain::SecretSet;

/// Panics if the result for `bytes` is wrong. The input is a list of secrets, each followed by a
/// newline, and a text.
pub fn check(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let (values, text) = input.rsplit_once('\n').unwrap_or(("", &input));
    // A secret of asterisks would match the replacement `***`.
    let values: Vec<String> = values
        .split('\n')
        .filter(|secret| !secret.contains('*'))
        .map(str::to_owned)
        .collect();
    let secrets = SecretSet::new(values.clone());
    let redacted = secrets.redact(text);
    for secret in values
        .iter()
        .filter(|secret| secret.chars().count() >= SecretSet::MIN_CHARS)
    {
        assert!(
            !redacted.contains(secret.as_str()),
            "{secret:?} is in {redacted:?}"
        );
    }
    let (mut rest, mut end) = (&*redacted, 0);
    for span in secrets.secret_spans(text) {
        let unchanged = &text[end..span.start];
        rest = rest
            .strip_prefix(unchanged)
            .and_then(|rest| rest.strip_prefix("***"))
            .expect("the text before a secret");
        end = span.end;
    }
    assert_eq!(rest, &text[end..]);
}
