//! The declarations of the keys of TLS.

use super::key::Kind::Text;
use super::key::Section::{Auth, Defaults, Provider, Refresh, Source};
use super::key::{Key, Section};

const REQUEST: &[Section] = &[Source, Provider, Defaults, Auth, Refresh];

pub(super) const TLS_KEYS: &[Key] = &[
    Key::new("ca_file", REQUEST, Text, "")
        .doc(
            "File with PEM certificates that are trusted beside the public ones, at most 64 KiB: of \
             authorities, or of the server itself, whose name is then not checked, but its dates. A \
             relative path starts at the configuration's folder.",
        )
        .example(r#""ca.pem""#)
        .aliases("ca ca_cert ca_path ca_bundle cacert tls_ca ssl_ca"),
    Key::new("tls_server_name", REQUEST, Text, "the host of `url`")
        .doc(
            "Name that the TLS handshake sends and that the certificate must have; `Host` keeps the \
             host of `url`. Such calls use HTTP/1.1 and no proxy. An IP address is expected, but not \
             sent. `\"\"` turns an inherited one off.",
        )
        .example(r#""nas.lan""#)
        .aliases("server_name sni servername tls_sni ssl_server_name"),
    Key::new("cert_file", REQUEST, Text, r#""""#)
        .doc(
            "File with the PEM certificate of this client, then those of its issuers, for servers \
             that require one. `\"\"` turns an inherited one off.",
        )
        .example(r#""client.pem""#)
        .aliases("cert client_cert client_certificate certificate tls_cert ssl_cert cert_path"),
    Key::new("key_file", REQUEST, Text, "the file of `cert_file`")
        .doc("File with the PEM private key of `cert_file`, not encrypted, in the same table.")
        .example(r#""client.key""#)
        .aliases("client_key private_key tls_key ssl_key key_path"),
];
