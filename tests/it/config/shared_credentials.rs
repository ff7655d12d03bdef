//! Warnings about credentials that more than one host gets.

use std::path::Path;

/// The messages of all warnings about hosts.
fn warnings(text: &str) -> Vec<String> {
    let path = Path::new("tests/config/valid/shared.toml");
    let environment = |name: &str| (name == "TOKEN").then(|| "a-long-token".to_owned());
    let config = resumen::config::parse(path, text.as_bytes(), &environment);
    let config = config.unwrap_or_else(|report| panic!("{report}\n{text}"));
    let messages = config.warnings.iter().map(|warning| &warning.message);
    messages
        .filter(|message| message.contains("hosts"))
        .cloned()
        .collect()
}

const TWO_HOSTS: &str =
    "[sources.a]\nurl = 'https://a.example/'\n[sources.b]\nurl = 'https://b.example/'\n";

const ONE_HOST: &str =
    "[sources.a]\nurl = 'https://a.example/1'\n[sources.b]\nurl = 'https://a.example:81/2'\n";

/// Lines of `[defaults]` with a credential, and its name in the warning.
const CREDENTIALS: [(&str, &str); 10] = [
    ("username = 'u'\npassword = '${TOKEN}'", "the `password`"),
    ("username = 'u'\npassword = 'written out'", "the `password`"),
    ("username = 'a-key-as-user'", "the `username`"),
    ("headers = { Authorization = 'Bearer x' }", "the header `Authorization`"),
    ("headers = { X-Api-Key = 'x' }", "the header `X-Api-Key`"),
    ("headers = { X-Own = 'a ${TOKEN}' }", "the header `X-Own`"),
    ("query = { access_token = 'x' }", "`access_token` of `query`"),
    ("form = { client_secret = 'x' }", "`client_secret` of `form`"),
    ("method = 'POST'\nbody = '${TOKEN}'", "the `body`"),
    (
        "cert_file = '../files/client.pem'\nkey_file = '../files/client.key'",
        "the client certificate",
    ),
];

#[test]
fn credential_of_two_hosts_warns() {
    for (lines, name) in CREDENTIALS {
        let text = format!("[defaults]\n{lines}\n{TWO_HOSTS}");
        let expected = format!("{name} of `[defaults]` goes to 2 hosts: `a.example`, `b.example`");
        assert_eq!(warnings(&text), [expected]);
        let text = format!("[defaults]\n{lines}\n{ONE_HOST}");
        assert_eq!(warnings(&text), [""; 0], "{text}");
    }
}

#[test]
fn public_value_of_two_hosts_is_silent() {
    for lines in [
        "headers = { User-Agent = 'x', Accept-Language = 'es' }",
        "query = { day = '${date:%Y}', keyword = 'x' }",
        "form = { city = 'x' }",
    ] {
        let text = format!("[defaults]\n{lines}\n{TWO_HOSTS}");
        assert_eq!(warnings(&text), [""; 0], "{text}");
    }
}

#[test]
fn replaced_credential_is_silent() {
    for (lines, own) in [
        ("headers = { Authorization = 'x' }", "headers = { authorization = 'y' }"),
        ("headers = { Authorization = 'x' }", "username = 'u'"),
        ("username = 'u'\npassword = 'p'", "username = 'v'\npassword = 'w'"),
        ("query = { key = 'x' }", "query = { key = 'y' }"),
        (
            "cert_file = '../files/client.pem'\nkey_file = '../files/client.key'",
            "cert_file = ''",
        ),
    ] {
        let text = format!("[defaults]\n{lines}\n{TWO_HOSTS}{own}\n");
        assert_eq!(warnings(&text), [""; 0], "{text}");
    }
    // A certificate is shown over TLS only.
    let text = "[defaults]\ncert_file = '../files/with_key.pem'\n\
                [sources.a]\nurl = 'https://a.example/'\n[sources.b]\nurl = 'http://b.example/'\n";
    assert_eq!(warnings(text), [""; 0]);
}

#[test]
fn providers_of_one_source_are_compared() {
    let text = "[sources.a]\nheaders = { Cookie = 'sid=1' }\n\
                providers = [{ url = 'https://a.example' }, { url = 'https://b.example' }, \
                { url = 'https://c.example' }, { url = 'https://d.example' }]\n";
    let expected = "the header `Cookie` of source `a` goes to 4 hosts: `a.example`, `b.example`, \
                    `c.example` and 1 more";
    assert_eq!(warnings(text), [expected]);
}
