//! The keys of TLS: `ca_file`, `tls_server_name`, `cert_file`, `key_file`.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;
use url::Host;

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{ClientCertificate, ProviderRequest, TlsSettings};

use super::certificates::{read_certificates, read_client_certificate};

/// A value that a nearer table can turn off.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum TlsValue<T> {
    /// The outer table decides.
    #[default]
    Inherited,
    /// An empty text: none, whatever the outer table has.
    Off,
    Set(T),
}

impl<T: Clone> TlsValue<T> {
    fn inherit(self, outer: &Self) -> Self {
        match self {
            Self::Inherited => outer.clone(),
            own => own,
        }
    }

    fn into_option(self) -> Option<T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Inherited | Self::Off => None,
        }
    }
}

/// The values of a table.
#[derive(Clone, Default)]
pub(super) struct TlsParts {
    ca_pem: Option<Arc<str>>,
    server_name: TlsValue<Host<String>>,
    client_certificate: TlsValue<ClientCertificate>,
}

impl TlsParts {
    pub(super) fn new(table: &Table, loader: &mut ConfigLoader<'_>) -> Self {
        Self {
            ca_pem: read_certificates(table, "ca_file", loader).map(Into::into),
            server_name: validate_server_name(table, loader),
            client_certificate: validate_client_certificate(table, loader),
        }
    }

    /// The values completed by those of the outer table.
    pub(super) fn inherit(self, outer: &Self) -> Self {
        Self {
            ca_pem: self.ca_pem.or_else(|| outer.ca_pem.clone()),
            server_name: self.server_name.inherit(&outer.server_name),
            client_certificate: self.client_certificate.inherit(&outer.client_certificate),
        }
    }

    /// The certificate of this client that the table itself has.
    pub(super) fn own_client_certificate(&self) -> Option<&ClientCertificate> {
        match &self.client_certificate {
            TlsValue::Set(certificate) => Some(certificate),
            TlsValue::Inherited | TlsValue::Off => None,
        }
    }

    pub(super) fn into_settings(self) -> TlsSettings {
        TlsSettings {
            ca_pem: self.ca_pem,
            server_name: self.server_name.into_option(),
            client_certificate: self.client_certificate.into_option(),
        }
    }
}

/// Adds problems about the TLS settings of a provider.
pub(super) fn check_provider_tls(
    table: &Table,
    url: &SpannedStr,
    request: &ProviderRequest,
    loader: &mut ConfigLoader<'_>,
) {
    if request.url.scheme() == "https" {
        let has_name = matches!(request.tls.server_name, Some(Host::Domain(_)));
        if has_name && request.proxy.for_url(&request.url).is_some() {
            // Both may be inherited.
            let span = table.span_of("tls_server_name").unwrap_or(&url.span);
            let message = "`tls_server_name` cannot be a name with a `proxy`";
            let help = "expected one of them; `\"\"` turns an inherited one off";
            loader.error(span, message, help);
        }
    } else if !request.follow_redirects {
        for key in ["ca_file", "tls_server_name", "cert_file"] {
            if let Some(span) = table.span_of(key) {
                let message = format!("`{key}` has no effect on a URL without TLS");
                loader.warning(span, &message, "perhaps `https://`?");
            }
        }
    }
}

fn validate_server_name(table: &Table, loader: &mut ConfigLoader<'_>) -> TlsValue<Host<String>> {
    match table.text("tls_server_name") {
        None => TlsValue::Inherited,
        Some(text) if text.value.is_empty() => TlsValue::Off,
        Some(text) => {
            let name = loader.check(text, parse_server_name(text));
            name.map_or(TlsValue::Off, TlsValue::Set)
        }
    }
}

fn parse_server_name(text: &SpannedStr) -> Result<Host<String>, ValueError> {
    let host = match text.value.parse() {
        Ok(IpAddr::V4(address)) => Some(Host::Ipv4(address)),
        Ok(IpAddr::V6(address)) => Some(Host::Ipv6(address)),
        Err(_) => Host::parse(&text.value).ok(),
    };
    // A URL accepts names that a certificate cannot have.
    let is_expectable = |host: &Host<String>| match host {
        Host::Domain(name) => ServerName::try_from(name.as_str()).is_ok(),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    match host.filter(is_expectable) {
        Some(host) => Ok(host),
        None => refuse(
            format!("{text} is neither a host name nor an IP address"),
            "expected a name without scheme, port and path, such as \"nas.lan\", or an IP address",
        ),
    }
}

fn validate_client_certificate(
    table: &Table,
    loader: &mut ConfigLoader<'_>,
) -> TlsValue<ClientCertificate> {
    let [certificate, key] = ["cert_file", "key_file"].map(|key| table.text(key));
    let key = key.filter(|text| !text.value.is_empty());
    let Some(certificate) = certificate else {
        if let Some(key) = key.filter(|_| !table.has("cert_file")) {
            let message = "there is a `key_file` without a `cert_file`";
            loader.error(&key.span, message, "expected both in the same table");
        }
        return TlsValue::Inherited;
    };
    // An invalid key has its own problem.
    if certificate.value.is_empty() || table.is_invalid("key_file") {
        return TlsValue::Off;
    }
    let read = read_client_certificate(certificate, key, loader);
    read.map_or(TlsValue::Off, TlsValue::Set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_name(text: &str) -> Result<String, String> {
        let parsed = parse_server_name(&SpannedStr::literal(text, 0..0));
        parsed
            .map(|host| host.to_string())
            .map_err(|error| error.message)
    }

    #[test]
    fn server_names_are_names_or_addresses() {
        for (text, name) in [
            ("nas.lan", "nas.lan"),
            ("NAS.Lan", "nas.lan"),
            ("my_nas", "my_nas"),
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::1", "[fd00::1]"),
            ("[fd00::1]", "[fd00::1]"),
            ("ñandú.example", "xn--and-6ma2c.example"),
        ] {
            assert_eq!(server_name(text), Ok(name.to_owned()), "{text}");
        }
        for text in [
            "https://nas.lan",
            "nas.lan:443",
            "nas.lan/",
            "*.lan",
            "a b",
            "-",
            "a..b",
        ] {
            assert!(server_name(text).is_err(), "{text}");
        }
    }
}
