//! The declarations of the keys of `[server]`, its tokens and `[store]`.

use super::key::Key;
use super::key::Kind::{
    Boolean, Duration, DurationOrZero, Enum, EnumList, Integer, NamedTables, Table, Text, TextList,
    Url,
};
use super::key::Section::{Server, ServerTls, Store, Token};

pub(super) const SERVER_KEYS: &[Key] = &[
    // [server]
    Key::new("listen", &[Server], Text, r#""0.0.0.0:8080""#)
        .doc(
            "Where to listen: `address:port`, `localhost:port`, `:port` for every address, IPv4 and \
             IPv6, or `unix:PATH`; port 0 takes a free port and logs it. A Unix socket has mode 0660; \
             it replaces one without a listener and is removed at the end. `--listen` and \
             `RESUMEN_LISTEN` take precedence.",
        )
        .example(r#""127.0.0.1:8080""#)
        .aliases("address addr bind host port listen_address")
        .needs_restart(),
    Key::new("admin_listen", &[Server], Text, r#""""#)
        .doc(
            "Another address, in a form of `listen`. When set, `/metrics`, `/salud/fuentes` and \
             `/openapi.json` are answered there only, and nothing else is but the health routes, \
             which have connections of their own there.",
        )
        .example(r#""127.0.0.1:9090""#)
        .aliases("admin admin_address metrics_listen management management_listen telemetry_listen")
        .needs_restart(),
    Key::new("default_timeout", &[Server], Duration, r#""4s""#)
        .doc("Deadline of a live answer without `?timeout=`; at most `max_timeout`.")
        .example(r#""2s""#)
        .aliases("request_timeout live_timeout")
        .needs_restart(),
    Key::new("max_timeout", &[Server], Duration, r#""30s""#)
        .doc("The largest `?timeout=` that a client may send.")
        .example(r#""10s""#)
        .needs_restart(),
    Key::new(
        "max_connections",
        &[Server],
        Integer(1, 1_000_000),
        "10000",
    )
    .doc(
        "Maximum number of open connections. At the limit, those that stall longest are closed; \
         health checks have a reserve. The limit of open files of the process applies as well.",
    )
    .example("2000")
    .aliases("max_clients max_conns connection_limit")
    .needs_restart(),
    Key::new("header_timeout", &[Server], Duration, r#""10s""#)
        .doc("Maximum time from a connection's start to the end of its first request's headers.")
        .example(r#""5s""#)
        .aliases("read_timeout read_header_timeout")
        .needs_restart(),
    Key::new("idle_timeout", &[Server], Duration, r#""75s""#)
        .doc("How long a kept-alive connection may wait for its next request.")
        .example(r#""30s""#)
        .aliases("keep_alive keepalive_timeout keep_alive_timeout")
        .needs_restart(),
    Key::new(
        "shutdown_grace",
        &[Server],
        DurationOrZero,
        r#""10s""#,
    )
    .doc("Time from SIGTERM to the end of the process at the latest; `\"0s\"` ends it at once.")
    .example(r#""20s""#)
    .aliases("grace_period shutdown_timeout drain_timeout")
    .needs_restart(),
    Key::new("cors_origins", &[Server], TextList, "[]")
        .doc(
            "Origins of other web pages that may read the answers: exact origins, or `[\"*\"]` \
             alone for all.",
        )
        .example(r#"["https://panel.example.org"]"#)
        .aliases("cors allowed_origins allow_origins cors_allowed_origins")
        .needs_restart(),
    Key::new("frame_ancestors", &[Server], TextList, "[]")
        .doc(
            "Origins of other web pages that may show the panel in a frame: exact origins, or `[\"*\"]` \
             alone for all. The panel's own origin always may.",
        )
        .example(r#"["https://home.example.org"]"#)
        .aliases("frame_options x_frame_options allow_embedding allowed_frame_ancestors")
        .needs_restart(),
    Key::new("hosts", &[Server], TextList, "[]")
        .doc(
            "Names under which the service may be requested (`Host`, `:authority`), a guard against \
             DNS rebinding; letter case and port are ignored. IP addresses, `localhost` and the \
             health routes always pass; every other request is 421 `misdirected_host`. Empty: any name.",
        )
        .example(r#"["wall.example.org"]"#)
        .aliases("allowed_hosts trusted_hosts server_name server_names virtual_hosts domains")
        .needs_restart(),
    Key::new("send_budget", &[Server], Text, r#""auto""#)
        .doc(
            "Bytes on their way to clients, `16KiB` or more: responses that clients have not read \
             yet, and what a request in progress takes. Above it, the connections that have waited \
             longest for their client are closed. `auto` is an eighth of the container's memory limit, \
             at least 16 MiB; 64 MiB without a limit.",
        )
        .example(r#""32MiB""#)
        .needs_restart(),
    Key::new("max_per_client", &[Server], Integer(0, 1_000_000), "0")
        .doc(
            "Maximum number of open connections of one address, in IPv6 of one /64; a further one is \
             closed at once and counted. Proxies in `trusted_proxies` and Unix sockets are not \
             counted: there the proxy has to keep the limit. 0: no limit.",
        )
        .example("50")
        .aliases("max_connections_per_ip per_ip_limit limit_conn max_per_ip")
        .needs_restart(),
    Key::new("trusted_proxies", &[Server], TextList, "[]")
        .doc(
            "Addresses and networks of proxies whose `X-Forwarded-For` is believed: its last address \
             that is not a trusted proxy is the client.",
        )
        .example(r#"["10.0.0.0/8", "::1"]"#)
        .aliases("trusted_proxy proxies set_real_ip_from real_ip forwarded_allow_ips")
        .needs_restart(),
    Key::new("access_log", &[Server], Boolean, "false")
        .doc("Whether each request is logged, as one line of JSON on standard error ([logging.md](logging.md#requests)).")
        .example("true")
        .aliases("log_requests request_log access_logs")
        .needs_restart(),
    Key::new("live", &[Server], Enum(&["on", "off", "token"]), r#""on""#)
        .doc(
            "Who gets live answers (`fresh`, `max_age`): `\"on\"`: everyone, or with any token set \
             those with a token for `live`; `\"token\"`: only those; `\"off\"`: nobody. Others get \
             403 `live_disabled` or `forbidden`.",
        )
        .example(r#""off""#)
        .aliases("allow_live live_answers allow_fresh fresh")
        .needs_restart(),
    Key::new("tokens", &[Server], NamedTables(Token), "")
        .doc("The tokens of clients, by name. Without any, everyone is admitted.")
        .example(r#"{ wall = { token = "an-example-of-a-token", routes = ["data"] } }"#)
        .aliases("token auth_tokens api_keys users clients"),
    Key::new("tls", &[Server], Table(ServerTls), "")
        .doc("The certificate for HTTPS. Without one, the service speaks plain HTTP.")
        .example(r#"{ cert_file = "server.pem", key_file = "server.key" }"#)
        .aliases("ssl https certificate"),
    // [server.tls]
    Key::new("cert_file", &[ServerTls], Text, r#""""#)
        .doc(
            "File with the PEM certificate of this server, then those of its issuers. It is loaded \
             again within 5 s of a change; one that is not valid is refused, and the old one goes on.",
        )
        .example(r#""server.pem""#)
        .aliases("cert certificate tls_cert ssl_certificate cert_path fullchain"),
    Key::new("key_file", &[ServerTls], Text, r#""""#)
        .doc("File with the PEM private key of `cert_file`, not encrypted.")
        .example(r#""server.key""#)
        .aliases("key private_key tls_key ssl_certificate_key key_path"),
    Key::new("client_ca_file", &[ServerTls], Text, r#""""#)
        .doc(
            "File with the PEM certificates of authorities: only clients with a certificate that one \
             of them has signed can connect.",
        )
        .example(r#""ca.pem""#)
        .aliases("client_ca ca_file ca mtls_ca ssl_client_certificate client_certificate_authority"),
    // [server.tokens.NAME]
    Key::new("token", &[Token], Text, "")
        .doc(
            "The secret, 16 to 512 visible ASCII characters. Clients send it as `Authorization: \
             Bearer`, or as the password of Basic with any user.",
        )
        .example(r#""${file:wall.token}""#)
        .aliases("secret password value bearer key")
        .required_in(&[Token]),
    Key::new(
        "routes",
        &[Token],
        EnumList(&["data", "live", "stream", "panel", "admin"]),
        "",
    )
    .doc(
        "What the token grants: `data` (`/resumen`, `/valor`, `/insignia`), `live` (live answers), `stream` \
         (`/resumen/stream`), `panel` (the panel and all that its page requests but live answers), \
         `admin` (`/metrics`, `/salud/fuentes`, `/openapi.json`).",
    )
    .example(r#"["data", "live"]"#)
    .aliases("groups scopes scope grants permissions allow roles")
    .required_in(&[Token]),
    // [store]
    Key::new("path", &[Store], Text, r#""state/resumen.json""#)
        .doc(
            "The state file, which restores the last good readings after a restart. A relative \
             path starts at the working directory; `\"\"` turns the file off.",
        )
        .example(r#""/var/lib/resumen/state.json""#)
        .aliases("file filename state_file")
        .needs_restart(),
    Key::new(
        "redis",
        &[Store],
        Url(&["redis", "rediss", "unix"]),
        r#""""#,
    )
    .doc("A Redis or Valkey server through which replicas share readings and calls.")
    .example(r#""rediss://redis.example.org:6379/0""#)
    .aliases("redis_url redis_addr redis_address valkey")
    .needs_restart(),
    Key::new("redis_ca_file", &[Store], Text, r#""""#)
        .doc(
            "File with the PEM certificates of the authorities that may sign the certificate of a \
             `rediss://` server, instead of the public ones; at most 64 KiB. A relative path starts \
             at the configuration's folder.",
        )
        .example(r#""ca.pem""#)
        .aliases("redis_ca redis_tls_ca redis_cacert redis_ca_cert redis_tls_ca_cert_file")
        .needs_restart(),
    Key::new("redis_prefix", &[Store], Text, r#""resumen""#)
        .doc(
            "Prefix of every key in Redis, 1 to 128 printable ASCII characters. Replicas with the \
             same prefix share readings.",
        )
        .example(r#""resumen-staging""#)
        .aliases("prefix key_prefix namespace")
        .needs_restart(),
];
