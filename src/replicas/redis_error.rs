//! The text of an error of Redis or of the connection to it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::RedisError;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};

/// Returns the cause of a failed operation. It may contain secrets and control characters.
pub(super) fn describe_redis_error(error: &RedisError) -> String {
    find_tls_error(error).map_or_else(|| error.to_string(), describe_tls_error)
}

/// Returns the error of rustls in an error of the handshake.
fn find_tls_error(error: &RedisError) -> Option<&TlsError> {
    // The crate shares its cause in an `Arc`; an I/O error holds the cause, and does not chain it.
    let cause = error
        .source()?
        .downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

fn describe_tls_error(error: &TlsError) -> String {
    let reason = match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is of an unknown authority: put that authority's PEM into `redis_ca_file`"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            _ => "its certificate cannot be verified",
        },
        TlsError::InvalidMessage(_) => "the port is without TLS: its URL is `redis://`",
        _ => return format!("TLS: {error}"),
    };
    reason.into()
}
