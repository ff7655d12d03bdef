//! The mask: nothing of a secret is left of a text, and what is no secret stays as it was.

use resumen::domain::SecretSet;

/// Panics if anything is wrong with these bytes: secrets, each with a newline behind it, and then a text.
pub fn check(bytes: &[u8]) {
    let all = String::from_utf8_lossy(bytes);
    let (known, text) = all.rsplit_once('\n').unwrap_or(("", &all));
    // What a mask writes must not be what a secret looks like.
    let known: Vec<String> = known
        .split('\n')
        .filter(|secret| !secret.contains('*'))
        .map(str::to_owned)
        .collect();
    let secrets = SecretSet::new(known.clone());
    let masked = secrets.redact(text);
    for secret in known
        .iter()
        .filter(|secret| secret.chars().count() >= SecretSet::MIN_CHARS)
    {
        assert!(
            !masked.contains(secret.as_str()),
            "{secret:?} is in {masked:?}"
        );
    }
    let (mut rest, mut from) = (&*masked, 0);
    for span in secrets.secret_spans(text) {
        let kept = &text[from..span.start];
        rest = rest
            .strip_prefix(kept)
            .and_then(|rest| rest.strip_prefix("***"))
            .expect("what stands before a secret");
        from = span.end;
    }
    assert_eq!(rest, &text[from..]);
}
