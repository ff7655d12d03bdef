//! The declarations of all configuration keys, one each, in the order of the documentation. Those of `[server]` and
//! `[store]` are in `server_keys`, those of TLS in `tls_keys`,
//! those of metrics in `metric_keys`.
//!
//! A new key needs a declaration and the code in `validate` that uses its value. The reader, the JSON Schema, the
//! reference in `docs/configuration.md`, the suggestions and the restart rule follow from the declaration.

use super::key::Kind::{
    Boolean, Duration, DurationOrZero, Enum, FieldTable, Filter, Integer, IntegerList, NamedTables,
    Number, ProxyUrl, Size, Table, TableList, Text, TextList, TextTable, Url,
};
use super::key::Section::{
    Auth, Csv, Defaults, Derived, Path, Provider, Refresh, Root, Server, Source, Store, Thresholds,
};
use super::key::{Key, Section};
use super::metric_keys::METRIC_KEYS;
use super::server_keys::SERVER_KEYS;
use super::tls_keys::TLS_KEYS;
use crate::domain::{BodyFormat, PathAppearance};

const INHERITED: &[Section] = &[Defaults, Source];
const CONNECTION: &[Section] = &[Defaults, Source, Auth];
const OWN: &[Section] = &[Source, Provider, Auth, Refresh];
const REQUEST: &[Section] = &[Source, Provider, Defaults, Auth, Refresh];
const SHOWN: &[Section] = &[Source, Derived];
const SHOWN_VALUE: &[Section] = &[Source, Derived, Path];
const AUTHORIZED: &[Section] = &[Source, Provider, Defaults, Auth];

const KEYS: &[Key] = &[
    Key::new("server", &[Root], Table(Server), "")
        .doc("How the service listens and answers.")
        .aliases("http web listener"),
    Key::new("store", &[Root], Table(Store), "")
        .doc("Where readings survive a restart, and how replicas share them.")
        .aliases("storage state redis cache"),
    Key::new("defaults", &[Root], Table(Defaults), "")
        .doc("Values that every source inherits.")
        .aliases("default global globals"),
    Key::new("sources", &[Root], NamedTables(Source), "")
        .doc("The fetched sources by name, in the order of the answer.")
        .aliases("source endpoints modules inputs widgets rest")
        .required_in(&[Root]),
    Key::new("derived", &[Root], NamedTables(Derived), "")
        .doc("The sources that are computed from other sources, by name.")
        .aliases("computed calculated"),
    Key::new("auth", &[Root], NamedTables(Auth), "")
        .doc("The logins by name, whose tokens or cookies the sources send that name them.")
        .aliases("auths authentication login logins oauth oauth2 session sessions tokens"),
    // [defaults]
    Key::new("interval", INHERITED, Duration, r#""15s""#)
        .doc(
            "Time from the start of one attempt to the start of the next, ±10 %. After the n-th \
             failure in a row the pause is 5s · 2ⁿ⁻¹, at most the interval.",
        )
        .example(r#""30s""#)
        .aliases(
"scan_interval update_interval refresh refresh_interval poll_interval \
polling_interval scrape_interval check_interval cache every period",
),
    Key::new("timeout", CONNECTION, Duration, r#""4s""#)
        .doc(
            "Deadline of one attempt: name lookup, connection, TLS, headers, body and extraction \
             of all providers. In a source it is at most the interval; an inherited value is cut.",
        )
        .example(r#""2s""#)
        .aliases("scrape_timeout response_timeout http_timeout timeout_seconds"),
    Key::new("ttl", INHERITED, Duration, "2 × interval + timeout")
        .doc("How long a reading is fresh.")
        .example(r#""45s""#)
        .aliases("max_age cache_ttl expire_after fresh_for"),
    Key::new(
        "max_stale",
        INHERITED,
        DurationOrZero,
        "4 × interval, at least 1h",
    )
    .doc("How long a reading is shown as stale after its `ttl`; then it is missing.")
    .example(r#""2h""#)
    .aliases("stale_if_error stale_while_revalidate max_staleness"),
    Key::new(
        "min_interval",
        INHERITED,
        DurationOrZero,
        "interval ÷ 10, from 1s to 1m",
    )
    .doc(
        "Minimum time between the starts of two attempts, live requests included. It protects \
         the providers from frequent `?fresh=1`.",
    )
    .example(r#""10s""#)
    .aliases("cooldown throttle rate_limit min_time_between_updates"),
    Key::new("max_body", CONNECTION, Size(1 << 30), r#""1MiB""#)
        .doc("Maximum size of an answer after decompression.")
        .example(r#""256KiB""#)
        .aliases("max_body_size body_size_limit max_size max_response_size"),
    Key::new("max_per_host", &[Defaults], Integer(1, 10_000), "6")
        .doc(
            "Maximum number of concurrent calls to one host and port, per replica. Further calls \
             wait within their timeout, those of live requests first. With HTTP/2, the limit of \
             the server applies instead.",
        )
        .example("2")
        .aliases("max_conns_per_host max_concurrent_requests concurrency parallel"),
    Key::new("proxy", CONNECTION, ProxyUrl, r#""""#)
        .doc(
            "Egress proxy, `http://[user:password@]host[:port]`; `\"\"` is none. With `\"env\"`, \
             and only then, the variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` apply \
             ([below](#proxies)).",
        )
        .example(r#""http://proxy.example.org:3128""#)
        .aliases("proxy_url http_proxy https_proxy http_proxy_url"),
    // [sources.NAME]
    Key::new("url", OWN, Url(&["http", "https"]), "")
        .doc(
            "URL of the request. A host *name* that resolves to a private address is refused \
             (`destination_blocked`); a literal private address and `localhost` are allowed.",
        )
        .example(r#""https://api.example.org/value""#)
        .aliases("urls uri resource endpoint target address href")
        .request_text()
        .required_in(&[Provider, Auth]),
    Key::new("query", REQUEST, FieldTable, "")
        .doc(
            "Names and values that are percent-encoded and appended to the query of `url`; a list \
             repeats its name.",
        )
        .example(r#"{ city = "São Paulo", days = 3, fields = ["a", "b"] }"#)
        .aliases("params query_params parameters query_parameters")
        .request_text(),
    Key::new(
        "method",
        REQUEST,
        Enum(&["GET", "POST", "PUT", "PATCH", "QUERY"]),
        r#""GET"; with `form`, "POST""#,
    )
    .doc("Request method. HEAD has no body, and DELETE must not be repeated.")
    .example(r#""POST""#)
    .aliases("http_method request_method verb"),
    Key::new("headers", REQUEST, TextTable, "")
        .doc(
            "Headers of the request, beside `User-Agent: resumen/VERSION` and the `Accept` \
             of `format`, which they may replace. Headers of the connection (`Host`, \
             `Content-Length`, …) cannot be set.",
        )
        .example(r#"{ X-Api-Key = "${KEY:-a-key}" }"#)
        .aliases("header http_headers request_headers")
        .request_text(),
    Key::new("body", REQUEST, Text, "")
        .doc("Body of the request, sent as it is.")
        .example(r#"'{"of": "interest"}'"#)
        .aliases("payload data post_data request_body")
        .request_text(),
    Key::new("form", REQUEST, FieldTable, "")
        .doc(
            "Body of the request as `application/x-www-form-urlencoded`, instead of `body`; a list \
             repeats its name.",
        )
        .example(r#"{ user = "reader", scope = ["a", "b"] }"#)
        .aliases("form_data formdata data_urlencode")
        .request_text(),
    Key::new("username", REQUEST, Text, "")
        .doc(
            "User for Basic authentication, or Digest if the server asks for it; taken as it is. An `Authorization` header or a user of \
             a nearer table replaces it.",
        )
        .example(r#""admin""#)
        .aliases("user login basic_auth_username"),
    Key::new("password", REQUEST, Text, r#""""#)
        .doc("Password of `username`, taken as it is.")
        .example(r#""${PASSWORD:-a password}""#)
        .aliases("pass passwd basic_auth_password"),
    Key::new("auth", AUTHORIZED, Text, r#""""#)
        .doc(
            "Name of the `[auth.NAME]` whose cookies and token the request sends: as `Authorization: \
             Bearer`, unless `${auth.FIELD}` is used somewhere in the request. `\"\"` is none.",
        )
        .example(r#""bank""#)
        .aliases("login session oauth2 use_auth"),
    Key::new("timezone", REQUEST, Text, r#""UTC""#)
        .doc("IANA name of the time zone of `${date…}`.")
        .example(r#""America/Argentina/Buenos_Aires""#)
        .aliases("tz time_zone"),
    Key::new("accept_status", REQUEST, IntegerList(200, 599), "[]")
        .doc("Status codes beside 2xx whose body is data; 304 cannot be one.")
        .example("[503]")
        .aliases("expected_status valid_status valid_status_codes allowed_status status_codes"),
    Key::new("follow_redirects", REQUEST, Boolean, "false")
        .doc(
            "Whether redirects are followed: at most 3, to the same scheme, host and port, or from \
             `http` port 80 to `https` port 443 of the same host.",
        )
        .example("true")
        .aliases("allow_redirects redirects max_redirects"),
    Key::new(
        "upstream_cache",
        &[Source, Provider, Defaults],
        Enum(&["ignore", "obey"]),
        r#""ignore""#,
    )
    .doc(
        "With `obey`, the next attempt, live ones included, is not before the response expires by its `Cache-Control` or \
         `Expires`, at most a day. The `ttl` grows by as much as that is later than the interval.",
    )
    .example(r#""obey""#)
    .aliases("cache cache_control respect_cache expires"),
    Key::new(
        "extract",
        &[Source, Provider, Derived, Defaults, Auth, Refresh],
        Filter,
        r#"".""#,
    )
    .doc(
        "The jq filter that makes the source's data from the answer, or from the inputs of a \
             derived source. `error(\"…\")` in it makes a failure. In `[auth.NAME]`, its result is an \
             object of texts and numbers: `token`, `expires_in`, …",
    )
    .example("'.data.amount | tonumber'")
    .aliases(
"jq filter json_path jsonpath json_query path query_path selector transform \
mappings template value_template",
),
    Key::new(
        "format",
        REQUEST,
        Enum(BodyFormat::NAMES),
        r#""json""#,
    )
    .doc(
        "How a body becomes the JSON that `extract` sees, and the `Accept` of the request \
         ([formats.md](formats.md)).",
    )
    .example(r#""xml""#)
    .aliases("type body_format response_format content_type parser decoder data_format"),
    Key::new("csv", REQUEST, Table(Csv), "")
        .doc("How the rows of a body of the format `csv` are written.")
        .example(r#"{ delimiter = ";" }"#),
    Key::new("select", REQUEST, Text, "")
        .doc(
            "CSS selector of the elements that `extract` sees of a body of the format `html`, which \
             requires it.",
        )
        .example(r#""table#prices td.price""#)
        .aliases("css css_selector xpath select_all"),
    Key::new("allow_private", REQUEST, Boolean, "false")
        .doc(
            "Whether the host's name may resolve to a private or loopback address. A link-local \
             address must be in `url` itself; the metadata services of clouds stay blocked.",
        )
        .example("true")
        .aliases("allow_local allow_internal allow_private_networks"),
    Key::new("providers", &[Source], TableList(Provider), "")
        .doc(
            "The providers in the order of preference, instead of `url`; a failure starts the \
             next one at once.",
        )
        .example(r#"[{ url = "https://a.example" }, { url = "https://b.example" }]"#)
        .aliases("provider fallback fallbacks upstreams targets"),
    Key::new("hedge_after", &[Source, Defaults], DurationOrZero, "never")
        .doc(
            "Start the next provider this long after the previous one, if that has not answered; \
             below the timeout.",
        )
        .example(r#""800ms""#)
        .aliases("hedge hedge_delay hedging_delay"),
    Key::new("attribution", &[Source, Derived, Defaults], Text, "")
        .doc("Credit that the answer carries and the panel shows.")
        .example(r#""Data by example.org""#)
        .aliases("credit credits copyright"),
    Key::new("title", SHOWN, Text, "the name")
        .doc("What the panel shows instead of the name.")
        .example(r#""Living room""#)
        .aliases("label friendly_name display_name caption heading"),
    Key::new("group", SHOWN, Text, "")
        .doc("Heading under which the panel shows the source, with all others of this group.")
        .example(r#""Home""#)
        .aliases("section category folder tab page"),
    Key::new("order", SHOWN, Integer(0, 1_000_000), "after all with a number")
        .doc(
            "Position in the panel: smaller numbers first, then by the order of the file. Groups stand in the order of their \
             first sources.",
        )
        .example("1")
        .aliases("weight position priority sort index"),
    Key::new("unit", SHOWN_VALUE, Text, "by the key, where its name is clear")
        .doc("Unit behind the numbers of the source, or of one path, in the panel.")
        .example(r#""%""#)
        .aliases("unit_of_measurement units suffix"),
    Key::new("decimals", SHOWN_VALUE, Integer(0, 20), "by the number's size")
        .doc("Number of decimals of the numbers in the panel.")
        .example("1")
        .aliases("precision digits suggested_display_precision round"),
    Key::new("thresholds", SHOWN_VALUE, Table(Thresholds), "")
        .doc("Limits at which the panel marks a number ([below](#thresholds)).")
        .example("{ warn = 80, crit = 90 }")
        .aliases("limits threshold alerts conditions"),
    Key::new("paths", SHOWN, NamedTables(Path), "")
        .doc("How the panel shows the value at a path ([below](#sourcesnamepathspath)).")
        .example(r#"{ "fs.0.used" = { label = "Root" } }"#)
        .aliases("path values fields entities"),
    // [sources.NAME.paths."PATH"]
    Key::new("label", &[Path], Text, "the key")
        .doc("What the panel shows instead of the key.")
        .example(r#""Root""#)
        .aliases("title name caption"),
    Key::new("hidden", &[Path], Boolean, "false")
        .doc("Whether the panel leaves out the value and what is below it.")
        .example("true")
        .aliases("hide visible show"),
    Key::new("as", &[Path], Enum(PathAppearance::KINDS), "by the value")
        .doc(
            "What the value is: `time` is an instant in RFC 3339 or in seconds or milliseconds since 1970, `duration` a number \
             of seconds. Only with `link` is an address a link, only with `color` a colour a patch. `image` is a link, \
             too: the panel loads nothing from other servers.",
        )
        .example(r#""link""#)
        .aliases("type kind format display"),
    // thresholds
    Key::new("warn", &[Thresholds], Number, "")
        .doc("From this number on, the number is marked as a warning.")
        .example("80")
        .aliases("warning yellow"),
    Key::new("crit", &[Thresholds], Number, "")
        .doc("From this number on, the number is marked as critical.")
        .example("90")
        .aliases("critical error red max"),
    // [[sources.NAME.providers]]
    Key::new(
        "name",
        &[Provider],
        Text,
        "the URL's host with `-` for `.`",
    )
    .doc(
        "Name of the provider in answers, logs and metrics, once per source. Further providers of \
         the same host get `-2`, `-3`, …",
    )
    .example(r#""coinbase""#)
    .aliases("id label title"),
    // [derived.NAME]
    Key::new("from", &[Derived], TextList, "")
        .doc(
            "Names of the inputs, fetched or derived, without a cycle. The filter gets an object \
             with one member for each.",
        )
        .example(r#"["a"]"#)
        .aliases("inputs sources depends_on")
        .required_in(&[Derived]),
    // [auth.NAME]
    Key::new("cookies", &[Auth], Boolean, "false")
        .doc(
            "Whether the cookies of the login's answer belong to the session. Then `extract` may be \
             absent, and an answer without a body or with a redirect may bring them.",
        )
        .example("true")
        .aliases("cookie session keep_cookies cookie_jar"),
    Key::new("refresh", &[Auth], Table(Refresh), "")
        .doc(
            "The request that renews the token, once the login has given a `refresh_token`; refer to \
             it by `${auth.refresh_token}`. When it is refused, the login is sent again.",
        )
        .example(
            r#"{ form = { grant_type = "refresh_token", refresh_token = "${auth.refresh_token}" } }"#,
        )
        .aliases("renew renewal refresh_token refresh_request"),
    Key::new("token_file", &[Auth], Text, r#""""#)
        .doc(
            "File that keeps the refresh token over a restart, with the mode 0600. A relative path \
             starts at the working directory.",
        )
        .example(r#""state/bank.token""#)
        .aliases("token_path refresh_token_file token_cache"),
    // csv
    Key::new("delimiter", &[Csv], Text, r#"",""#)
        .doc("The ASCII character between two fields; a tab is `\"\\t\"`.")
        .example(r#"";""#)
        .aliases("separator sep field_separator csv_separator"),
    Key::new("header", &[Csv], Boolean, "true")
        .doc("Whether the first row has the names of the columns. Without it, rows are arrays.")
        .example("false")
        .aliases("headers has_header header_row first_row"),
];

/// The keys that a table accepts.
pub(crate) fn section_keys(section: Section) -> impl Iterator<Item = &'static Key> {
    let accepts = move |key: &&Key| key.sections.contains(&section);
    all_keys().filter(accepts)
}

/// The key with this name in a table.
pub(crate) fn find_key(section: Section, name: &str) -> Option<&'static Key> {
    section_keys(section).find(|key| key.name == name)
}

/// All keys.
pub(super) fn all_keys() -> impl Iterator<Item = &'static Key> {
    let tables = [SERVER_KEYS, KEYS, TLS_KEYS, METRIC_KEYS];
    tables.into_iter().flatten()
}
