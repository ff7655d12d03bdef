//! Files of PEM certificates.

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::config::loader::ConfigLoader;
use crate::config::problems::refuse;
use crate::config::table::Table;

/// The PEM text of the file that `key` names. Errors become problems.
pub(super) fn read_certificates(
    table: &Table,
    key: &'static str,
    loader: &mut ConfigLoader<'_>,
) -> Option<String> {
    let text = table.text(key)?;
    let pem = match loader.read_file(&text.value) {
        Ok(content) => check_pem(&content.bytes),
        Err(why) => Err(format!("cannot be read: {why}")),
    };
    let help = "expected PEM certificates, at most 64KiB; a relative path starts at the configuration's folder";
    let refused = |why| refuse(format!("the {key} {text} {why}"), help);
    loader.check(text, pem.or_else(refused))
}

fn check_pem(bytes: &[u8]) -> Result<String, String> {
    let pem = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|_| "contains damaged PEM")?;
        let added = store.add(certificate);
        added.map_err(|_| "contains a certificate that cannot be read")?;
    }
    if store.is_empty() {
        return Err("contains no certificate".into());
    }
    Ok(pem.into())
}
