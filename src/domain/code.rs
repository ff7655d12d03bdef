//! The stable codes of failures.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// A stable code that says why an attempt gave no reading. Clients, metrics and alerts rely on the texts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in answers, metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The code with this text.
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// The name lookup failed, or the deadline passed in it.
    DnsFailed = "dns_failed",
    /// Nobody listens there.
    ConnectRefused = "connect_refused",
    /// The deadline passed while connecting or in the TLS handshake.
    ConnectTimeout = "connect_timeout",
    /// The connection could not be made for another reason.
    ConnectFailed = "connect_failed",
    /// The TLS handshake failed: certificate, name or version.
    TlsFailed = "tls_failed",
    /// The deadline passed later than connecting.
    Timeout = "timeout",
    /// The connection ended before the answer's head did.
    ConnectionClosed = "connection_closed",
    /// The answer is not HTTP.
    HttpProtocol = "http_protocol",
    /// A status that is neither a success nor a redirect; 206 and 304 too, which no request here asks for.
    HttpStatus = "http_status",
    /// 429, or another 4xx or 5xx with `Retry-After`; or every provider is held by one.
    RateLimited = "rate_limited",
    /// A 3xx but 304; redirects are not followed.
    RedirectBlocked = "redirect_blocked",
    /// The address may not be connected to.
    DestinationBlocked = "destination_blocked",
    /// More decoded bytes than `max_body`.
    BodyTooLarge = "body_too_large",
    /// The body ended before its framing said so.
    BodyTruncated = "body_truncated",
    /// The content coding is damaged or not supported.
    DecodeFailed = "decode_failed",
    /// Success without a body.
    EmptyBody = "empty_body",
    /// The body is not JSON (RFC 8259).
    NotJson = "not_json",
    /// The body nests deeper than the limit.
    JsonTooDeep = "json_too_deep",
    /// The filter gave an error, no result, several, `null`, or what is not JSON.
    ExtractFailed = "extract_failed",
    /// The filter did not end in time.
    ExtractTimeout = "extract_timeout",
    /// A bug of ours, contained in its flight.
    Panic = "panic",
    /// No attempt has ended yet.
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
        assert_eq!(Code::ALL.len(), 23);
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(*code));
        }
        assert_eq!(Code::from_text("gone_fishing"), None);
    }
}
