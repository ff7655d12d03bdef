//! `[server.tls]`

use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::listen_address::ListenAddress;
use crate::config::loader::ConfigLoader;
use crate::config::server_tls::ServerTls;
use crate::config::table::Table;
use crate::domain::Time;
use crate::process::Clock;

use super::certificates::{read_certificates, read_client_certificate};

/// A certificate that ends in less than this gives a warning. Automatic renewals come earlier.
const EXPIRY_NOTICE: Duration = Duration::from_secs(14 * 24 * 3600);

const BOTH_HELP: &str = "expected `cert_file` and `key_file`, or neither";

/// The settings of the table; `None` without a certificate. `addresses` are those that the server
/// listens on.
pub(super) fn validate_server_tls(
    server: &Table,
    addresses: &[&ListenAddress],
    loader: &mut ConfigLoader<'_>,
) -> Option<ServerTls> {
    let table = server.tables("tls").first()?;
    let [certificate, key] = ["cert_file", "key_file"].map(|key| {
        let text = table.text(key);
        text.filter(|text| !text.value.is_empty())
    });
    let client_ca = table.text("client_ca_file");
    let has_client_ca = client_ca.is_some_and(|text| !text.value.is_empty());
    let (Some(certificate), Some(key)) = (certificate, key) else {
        if certificate.or(key).is_some() || has_client_ca {
            let message = "[server.tls] has no certificate with its key";
            loader.error(&table.span, message, BOTH_HELP);
        }
        return None;
    };
    if addresses.iter().all(|address| address.ip().is_none()) {
        let message = "no address uses the certificate";
        let help = "expected an IP address in `listen` or `admin_listen`: Unix sockets have no TLS";
        loader.warning(&certificate.span, message, help);
    }
    let client_ca_pem = if has_client_ca {
        Some(read_certificates(table, "client_ca_file", loader)?.into())
    } else {
        None
    };
    let pair = read_client_certificate(certificate, Some(key), loader)?;
    let now = Clock::start().wall_time();
    if let Some(ends) = describe_end(&pair.chain_pem, now) {
        let message = format!("the certificate {certificate} {ends}");
        loader.warning(
            &certificate.span,
            &message,
            "renew it; a changed file is loaded within 5 s",
        );
    }
    Some(ServerTls {
        chain_pem: pair.chain_pem,
        key_pem: pair.key_pem,
        client_ca_pem,
    })
}

/// How the first certificate ends, if it has ended or does soon: a part of a sentence.
fn describe_end(chain_pem: &str, now: Time) -> Option<String> {
    let first = CertificateDer::from_pem_slice(chain_pem.as_bytes()).ok()?;
    let certificate = Certificate::from_der(&first).ok()?;
    let end = certificate.tbs_certificate().validity().not_after;
    let end = end.to_unix_duration().as_secs().cast_signed();
    let left = end - now.as_millis() / 1000;
    if left < 0 {
        return Some(format!("has ended {} days ago", -left / 86_400));
    }
    let is_near = left < EXPIRY_NOTICE.as_secs().cast_signed();
    is_near.then(|| format!("ends in {} days", left / 86_400))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn end_of_certificate_is_told() {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 31);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let end = describe_end(&pem, Time::from_millis(0));
        assert_eq!(end, None);
        // 2030-01-31 is day 21,945 of Unix time.
        let after = |days: i64| describe_end(&pem, Time::from_millis(days * 86_400_000 + 1000));
        assert_eq!(after(21_945 - 15), None);
        assert_eq!(after(21_945 - 3).as_deref(), Some("ends in 2 days"));
        assert_eq!(after(21_945 + 3).as_deref(), Some("has ended 3 days ago"));
    }
}
