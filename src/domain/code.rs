//! Stable codes of failures.

use std::fmt;

// One list defines the variants, their texts, `ALL` and the parser, so they cannot disagree.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Stable code of the cause of a failed attempt. Clients, metrics and alerts match its
        /// text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All codes, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the text of the code in responses, metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the code with this text; `None` if there is no such code.
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// The request for a token or a session failed, or its answer lacks a field that the request
    /// needs.
    AuthFailed = "auth_failed",
    /// The name lookup failed, or the deadline passed during it.
    DnsFailed = "dns_failed",
    /// The host refused the connection.
    ConnectRefused = "connect_refused",
    /// The deadline passed during the TCP connection or the TLS handshake.
    ConnectTimeout = "connect_timeout",
    /// The connection failed for another reason.
    ConnectFailed = "connect_failed",
    /// The TLS handshake failed: certificate, server name or protocol version.
    TlsFailed = "tls_failed",
    /// The deadline passed after the connection was made.
    Timeout = "timeout",
    /// The connection closed before the end of the response head.
    ConnectionClosed = "connection_closed",
    /// The response is not valid HTTP.
    HttpProtocol = "http_protocol",
    /// The status is neither a success nor a redirect, or it is 206 or 304, which are never
    /// requested.
    HttpStatus = "http_status",
    /// The status is 429, or another 4xx or 5xx with `Retry-After`; or a `Retry-After` holds back
    /// every provider.
    RateLimited = "rate_limited",
    /// The status is 3xx other than 304, and the redirect is not followed.
    RedirectBlocked = "redirect_blocked",
    /// The address policy blocks the destination.
    DestinationBlocked = "destination_blocked",
    /// The decoded body is larger than `max_body`.
    BodyTooLarge = "body_too_large",
    /// The body ended before the end that its framing declares.
    BodyTruncated = "body_truncated",
    /// The content coding is corrupt or not supported.
    DecodeFailed = "decode_failed",
    /// The response is a success without a body.
    EmptyBody = "empty_body",
    /// The body is not JSON (RFC 8259).
    NotJson = "not_json",
    /// The body is not of its format, which is another one than JSON.
    InvalidBody = "invalid_body",
    /// The body is nested deeper than the limit.
    JsonTooDeep = "json_too_deep",
    /// The filter returned an error, no result, several results, `null`, or a value that JSON
    /// cannot represent.
    ExtractFailed = "extract_failed",
    /// The filter did not finish before the deadline.
    ExtractTimeout = "extract_timeout",
    /// The program panicked (a bug); the panic is contained in its flight.
    Panic = "panic",
    /// No attempt has finished yet.
    Pending = "pending",
    /// The reading is older than `ttl + max_stale` and no failure explains it.
    Expired = "expired",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_text_round_trips() {
        assert_eq!(Code::ALL.len(), 25);
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(*code));
        }
        assert_eq!(Code::from_text("no_such_code"), None);
    }
}
