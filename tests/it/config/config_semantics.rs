//! The meaning of valid configurations: inheritance, defaults, names, secrets, and keys that need a
//! restart.

use std::path::Path;
use std::time::Duration;

use resumen::config;
use resumen::config::Config;
use resumen::domain::{Source, is_metadata_address};

fn parse_valid(text: &str) -> Config {
    let parsed = config::parse(
        Path::new("resumen.toml"),
        text.as_bytes(),
        &crate::config::test_environment,
    );
    parsed.unwrap_or_else(|report| panic!("{report}"))
}

fn reference_config() -> Config {
    crate::config::load(Path::new("tests/config/valid/every_key.toml"))
        .unwrap_or_else(|report| panic!("{report}"))
}

fn source<'c>(config: &'c Config, name: &str) -> &'c Source {
    config
        .sources
        .iter()
        .find(|source| source.name.as_str() == name)
        .unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn source_overrides_defaults() {
    let config = reference_config();
    let (one, two) = (source(&config, "one"), source(&config, "two"));
    let schedule = one.schedule().unwrap();
    assert_eq!(
        (schedule.interval, schedule.timeout, schedule.min_interval),
        (seconds(3), seconds(3), Duration::ZERO)
    );
    assert_eq!(
        (one.freshness_policy.ttl, one.freshness_policy.max_stale),
        (seconds(120), seconds(86_400))
    );
    let request = &one.providers()[0].request;
    assert_eq!(
        (
            request.max_body,
            request.proxy.http.is_some(),
            request.allow_private
        ),
        (1 << 30, false, true)
    );
    let schedule = two.schedule().unwrap();
    assert_eq!(
        (schedule.interval, schedule.timeout, schedule.min_interval),
        (seconds(3600), seconds(3600), seconds(2))
    );
    assert_eq!(
        (
            two.freshness_policy.ttl,
            two.freshness_policy.max_stale,
            schedule.hedge_after
        ),
        (seconds(60), Duration::ZERO, Some(seconds(0)))
    );
    let request = &two.providers()[0].request;
    assert_eq!(
        (
            request.max_body,
            request.proxy.http.is_some(),
            request.allow_private
        ),
        (64 << 10, true, false)
    );
}

#[test]
fn provider_inherits_source() {
    let config = reference_config();
    let providers = source(&config, "two").providers();
    let names: Vec<_> = providers
        .iter()
        .map(|provider| provider.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["api-example-org", "api-example-org-3", "api-example-org-2"]
    );
    let methods: Vec<_> = providers
        .iter()
        .map(|provider| &*provider.request.method)
        .collect();
    assert_eq!(methods, ["PUT", "QUERY", "PUT"]);
    let extracts: Vec<_> = providers
        .iter()
        .map(|provider| &*provider.extract)
        .collect();
    assert_eq!(extracts, [".of_source", ".of_provider", ".of_source"]);
    let header = |provider: usize, name: &str| {
        let headers = &providers[provider].request.headers;
        let mut matching = headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = matching
            .next()
            .map(|(_, value)| value.as_literal().unwrap().to_owned());
        assert!(matching.next().is_none());
        value.unwrap()
    };
    assert_eq!(header(0, "Authorization"), "of the provider");
    assert_eq!(header(1, "Authorization"), "of the source");
    assert_eq!(header(0, "X-Source"), "kept");
}

#[test]
fn interval_sets_defaults() {
    for (interval, ttl, max_stale, min_interval) in [
        (1, 3, 3600, 1000),
        (15, 34, 3600, 1500),
        (3600, 7204, 14_400, 60_000),
        (86_400, 172_804, 345_600, 60_000),
    ] {
        let config = parse_valid(&format!(
            "[sources.a]\nurl = 'http://localhost'\ninterval = '{interval}s'"
        ));
        let (schedule, freshness_policy) = (
            config.sources[0].schedule().unwrap(),
            config.sources[0].freshness_policy,
        );
        assert_eq!(schedule.timeout, seconds(interval.min(4)));
        assert_eq!(
            (freshness_policy.ttl, freshness_policy.max_stale),
            (seconds(ttl), seconds(max_stale)),
            "{interval}"
        );
        assert_eq!(
            schedule.min_interval,
            Duration::from_millis(min_interval),
            "{interval}"
        );
    }
}

#[test]
fn variables_expand_outside_filters() {
    let config = reference_config();
    let provider = &source(&config, "one").providers()[0];
    assert_eq!(provider.request.url.host_str(), Some("api.example.org"));
    assert_eq!(provider.request.url.password(), Some("hidden-secret-token"));
    assert!(provider.request.url.query().unwrap().ends_with("&b=$5"));
    assert_eq!(&*provider.extract, "\"${NOT_EXPANDED}\"");
    assert_eq!(provider.request.body, Some("".into()));
    let headers = &provider.request.headers;
    assert_eq!(
        (headers[4].1.as_literal(), headers[5].1.as_literal()),
        (Some(""), Some("a$b"))
    );
}

#[test]
fn derived_sources_come_last() {
    let config = reference_config();
    let names: Vec<_> = config
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(names, ["one", "two", "three", "four", "both", "sum"]);
    assert_eq!(
        source(&config, "sum").freshness_policy,
        source(&config, "one").freshness_policy
    );
    let both = source(&config, "both");
    assert_eq!(
        (both.freshness_policy.ttl, both.freshness_policy.max_stale),
        (seconds(120), seconds(86_400))
    );
    assert_eq!(both.attribution.as_deref(), Some("computed"));
}

#[test]
fn provider_names_derive_from_hosts() {
    for (host, name) in [
        ("api.example.org", "api-example-org"),
        ("127.0.0.1:9", "127-0-0-1"),
        ("[::1]:9", "1"),
        ("[::]", "provider"),
        ("EXAMPLE.org.", "example-org"),
        ("_a_.example", "a_-example"),
        ("ñandú.example", "xn--and-6ma2c-example"),
    ] {
        let config = parse_valid(&format!("[sources.a]\nurl = 'http://{host}/'"));
        assert_eq!(
            config.sources[0].providers()[0].name.as_str(),
            name,
            "{host}"
        );
    }
    let long = format!(
        "[sources.a]\n{}",
        format!(
            "[[sources.a.providers]]\nurl = 'http://{}.org'\n",
            "x".repeat(63)
        )
        .repeat(11)
    );
    let config = parse_valid(&long);
    let names: Vec<_> = config.sources[0]
        .providers()
        .iter()
        .map(|provider| provider.name.as_str())
        .collect();
    assert!(
        names[10].ends_with("-11") && names.iter().all(|name| name.len() <= 64),
        "{names:?}"
    );
}

#[test]
fn literal_private_hosts_are_allowed() {
    for host in [
        "localhost",
        "127.0.0.1",
        "10.1.2.3",
        "[::1]",
        "[fd00::1]",
        "192.168.0.1:8080",
        "0x7f000001",
    ] {
        let config = parse_valid(&format!("[sources.a]\nurl = 'http://{host}/'"));
        assert_eq!(config.warnings, [], "{host}");
    }
    assert!(is_metadata_address([169, 254, 169, 254].into()));
}

#[test]
fn every_secret_is_registered() {
    let text = "[sources.a]\nurl = 'https://us%65r-name:pass%20word@localhost/p?key=query%2Dsecret&short=1&other=second+secret'\n\
                headers = { Authorization = 'Bearer header-secret', Cookie = 'sid=cookie-secret; x=1' }\nproxy = 'http://p:proxy-secret@proxy'\n\
                [store]\nredis = 'redis://:redis-secret@localhost'\n[defaults]\ntimeout = '${UNSET:-1s}'\nproxy = 'http://${TOKEN}:x@proxy'\n";
    let config = parse_valid(text);
    let secrets = "us%65r-name user-name pass%20word query%2Dsecret query-secret second+secret second_secret header-secret \
                  cookie-secret proxy-secret redis-secret hidden-secret-token dXNlci1uYW1lOnBhc3Mgd29yZA==";
    for secret in secrets.split(' ') {
        let secret = secret.replace('_', " ");
        assert_eq!(
            config.secrets.redact(&format!("<{secret}>")),
            "<***>",
            "{secret}"
        );
    }
    for public in ["localhost", "Bearer", "https://", "/p?key=", "short=1"] {
        assert_eq!(config.secrets.redact(public), public);
    }
}

#[test]
fn risky_settings_give_warnings() {
    let warnings = |lines: &str| {
        let config = parse_valid(&format!("[sources.a]\nurl = 'http://localhost/'\n{lines}"));
        config
            .warnings
            .iter()
            .map(|warning| warning.message.clone())
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(
        warnings("body = 'x'"),
        "many servers ignore or refuse a body with GET"
    );
    assert_eq!(warnings("method = 'POST'\nbody = 'x'"), "");
    assert_eq!(
        warnings("hedge_after = '1s'"),
        "hedge_after of source `a` has no effect"
    );
    assert_eq!(
        warnings("ttl = '1s'"),
        "the ttl 1s of source `a` is shorter than its interval 15s"
    );
    assert_eq!(
        warnings("min_interval = '16s'"),
        "the interval 15s of source `a` is shorter than its min_interval 16s"
    );
    assert_eq!(
        warnings("proxy = 'http://u:p@proxy'"),
        "credentials are written into the URL"
    );
    assert_eq!(warnings("proxy = 'http://u:${TOKEN}@proxy'"), "");
    assert_eq!(warnings("proxy = 'http://${TOKEN}@proxy'"), "");
    let fragment = parse_valid("[sources.a]\nurl = 'http://localhost/#x'");
    assert_eq!(
        fragment.warnings[0].to_string(),
        "resumen.toml:2:7: the part of the URL after `#` is never sent; write `%23` for a literal `#`"
    );
}

#[test]
fn json_body_references_are_checked() {
    let load = |body: &str| {
        let text =
            format!("[sources.a]\nurl = 'http://localhost/'\nmethod = 'POST'\nbody = '{body}'");
        parse_valid(&text)
    };
    let warnings = |body: &str| load(body).warnings.len();
    // `SET` is `hidden-secret value`, which is no JSON.
    assert_eq!(warnings(r#"{"a": "${SET}", "b": ${NONE:-5}}"#), 0);
    assert_eq!(warnings("{ user(id: ${SET}) { name } }"), 0);
    let unquoted = load(r#"{"a": ${SET}}"#);
    assert_eq!(
        unquoted.warnings[0].message,
        "the environment variable `SET` is no JSON value"
    );
}

#[test]
fn refresh_without_token_gives_warning() {
    let warnings = |login: &str| {
        let text = format!(
            "[sources.a]\nurl = 'http://localhost/'\nauth = 'b'\n\
             [auth.b]\nurl = 'http://localhost/login'\nmethod = 'POST'\n{login}\n\
             [auth.b.refresh]\nurl = 'http://localhost/refresh'"
        );
        parse_valid(&text).warnings
    };
    let absent = warnings("extract = '{token: .access_token}'");
    assert_eq!(
        absent[0].message,
        "`refresh` is never sent: the login's `extract` gives no `refresh_token`"
    );
    assert_eq!(warnings("cookies = true").len(), 1);
    for login in [
        "extract = '{token: .t, refresh_token: .r}'",
        "extract = '.'",
        "extract = '{token: .t}'\ntoken_file = 'token'",
    ] {
        assert_eq!(warnings(login), [], "{login}");
    }
}

#[test]
fn invalid_username_is_reported_alone() {
    for text in [
        "[sources.a]\nurl = 'http://localhost/'\nusername = '${UNSET}'\npassword = 'x'",
        "[sources.a]\nurl = 'http://localhost/'\npassword = 'x'\n[defaults]\nusername = '${UNSET}'",
    ] {
        let path = Path::new("resumen.toml");
        let report = config::parse(path, text.as_bytes(), &crate::config::test_environment);
        let report = report.unwrap_err().to_string();
        assert!(report.contains("`UNSET` is not set"), "{report}");
        assert!(!report.contains("no effect"), "{report}");
    }
}

#[test]
fn reload_lists_restart_keys() {
    let text = |server: &str, store: &str| {
        parse_valid(&format!(
            "{server}\n{store}\n[sources.a]\nurl = 'http://localhost'"
        ))
    };
    let old = text("", "");
    let restart_keys =
        |server: &str, store: &str| old.keys_needing_restart(&text(server, store)).join(" ");
    assert_eq!(restart_keys("", ""), "");
    assert_eq!(restart_keys("[defaults]\ninterval = '1s'", ""), "");
    for (key, value) in [
        ("listen", "'0.0.0.0:1'"),
        ("default_timeout", "'1s'"),
        ("max_timeout", "'31s'"),
        ("max_connections", "5"),
        ("header_timeout", "'1s'"),
        ("idle_timeout", "'1s'"),
        ("shutdown_grace", "'1s'"),
        ("cors_origins", "['*']"),
    ] {
        assert_eq!(
            restart_keys(&format!("[server]\n{key} = {value}"), ""),
            format!("server.{key}")
        );
    }
    let store = "[store]\npath = ''\nredis = 'redis://h'\nredis_prefix = 'x'";
    assert_eq!(
        restart_keys("", store),
        "store.path store.redis store.redis_prefix"
    );
    assert_ne!(old.fingerprints, text("# changed", "").fingerprints);
}

#[test]
fn config_path_lookup_order() {
    let named = |name: &str| (name == "RESUMEN_CONFIG").then(|| "env.toml".to_owned());
    assert_eq!(
        config::find_path(Some(Path::new("flag.toml")), &named),
        Path::new("flag.toml")
    );
    assert_eq!(config::find_path(None, &named), Path::new("env.toml"));
    assert_eq!(
        config::find_path(None, &|_| Some(String::new())),
        Path::new("config/resumen.toml")
    );
    assert_eq!(
        config::find_path(None, &|_| None),
        Path::new("config/resumen.toml")
    );
}
