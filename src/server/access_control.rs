//! Decides whether a request has a token for its route (`server.tokens`, `server.live`). The fast
//! path and hyper's path use the same functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, ORIGIN,
};
use http::request::Parts;
use http::{HeaderValue, Method};
use parking_lot::RwLock;

use crate::config::{AccessGroup, AccessToken, LiveAccess, ServerSettings, TokenDigest};

use super::problem::{ProblemDetails, ProblemKind};
use super::route_access::RouteAccess;

/// Decodes the credentials of Basic, with or without padding.
const BASIC_CREDENTIALS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The tokens, and who gets live answers.
#[derive(Debug)]
pub(crate) struct AccessControl {
    live: LiveAccess,
    tokens: RwLock<Vec<Arc<AccessToken>>>,
    /// Whether clients need a certificate, which the handshake has checked.
    requires_certificate: AtomicBool,
    /// Increased after every change of the tokens.
    generation: AtomicU64,
}

/// What a request may do. Without tokens in the configuration it has none, and may do everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessGrant(Option<Arc<AccessToken>>);

impl AccessControl {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self {
            live: settings.live,
            tokens: RwLock::new(share_tokens(&settings.tokens)),
            requires_certificate: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        }
    }

    /// Replaces the tokens.
    pub(super) fn replace_tokens(&self, tokens: &[AccessToken]) {
        let tokens = share_tokens(tokens);
        let mut current = self.tokens.write();
        if *current == tokens {
            return;
        }
        *current = tokens;
        // Last: a head that is remembered under the new number was checked with the new tokens.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Sets whether clients need a certificate.
    pub(super) fn require_certificate(&self, is_required: bool) {
        if self
            .requires_certificate
            .swap(is_required, Ordering::Relaxed)
            != is_required
        {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// A number that changes with the tokens. What was decided under another number is void.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether any token is set.
    pub(crate) fn requires_token(&self) -> bool {
        !self.tokens.read().is_empty()
    }

    /// The grant of a request for a route with this access. A CORS preflight needs no token:
    /// browsers send none.
    pub(super) fn authorize_request(
        &self,
        access: RouteAccess,
        head: &Parts,
        answers_preflights: bool,
    ) -> Result<AccessGrant, ProblemDetails> {
        let has = |name| head.headers.contains_key(name);
        let is_preflight =
            head.method == Method::OPTIONS && has(ORIGIN) && has(ACCESS_CONTROL_REQUEST_METHOD);
        if is_preflight && answers_preflights {
            return Ok(AccessGrant::default());
        }
        let mut fields = head.headers.get_all(AUTHORIZATION).iter();
        // Several fields are ambiguous: a proxy may have checked another one.
        let authorization = fields.next().filter(|_| fields.next().is_none());
        self.authorize(access, authorization.map(HeaderValue::as_bytes))
    }

    /// The grant of a request for a route with this access and this value of `Authorization`.
    pub(super) fn authorize(
        &self,
        access: RouteAccess,
        authorization: Option<&[u8]>,
    ) -> Result<AccessGrant, ProblemDetails> {
        let RouteAccess::AnyOf(groups) = access else {
            return Ok(AccessGrant::default());
        };
        let tokens = self.tokens.read();
        if tokens.is_empty() {
            return Ok(AccessGrant::default());
        }
        let digest = authorization.and_then(presented_digest);
        let Some(token) = digest.and_then(|digest| digest.find_token(&tokens)) else {
            return Err(ProblemDetails::new(
                ProblemKind::Unauthorized,
                "the request has no valid token",
            )
            .with_param("Authorization")
            .with_expected("`Bearer TOKEN`, or Basic with the token as password"));
        };
        let grant = AccessGrant(Some(Arc::clone(token)));
        grant.require(groups)?;
        Ok(grant)
    }

    /// Refuses a live answer to a request with this grant if it may not have one.
    pub(crate) fn check_live(&self, grant: &AccessGrant) -> Result<(), ProblemDetails> {
        let detail = match self.live {
            LiveAccess::Off => "live answers are switched off",
            LiveAccess::Token if grant.0.is_none() => "live answers need a token, and none is set",
            LiveAccess::On | LiveAccess::Token => return grant.require(&[AccessGroup::Live]),
        };
        Err(ProblemDetails::new(ProblemKind::LiveDisabled, detail)
            .with_expected("a request without `fresh` and `max_age`"))
    }

    /// Whether a request that had this grant would get it again: its token has not been revoked.
    pub(crate) fn is_still_granted(&self, grant: &AccessGrant) -> bool {
        let tokens = self.tokens.read();
        match &grant.0 {
            Some(token) => tokens.contains(token),
            None => tokens.is_empty(),
        }
    }

    /// Forbids shared caches to store a response if clients need a token or a certificate: a cache would answer
    /// clients that have none.
    pub(super) fn restrict_caching(&self, response: &mut HeaderMap) {
        if !self.requires_token() && !self.requires_certificate.load(Ordering::Relaxed) {
            return;
        }
        response.remove(CDN_CACHE_CONTROL);
        let control = response.get(CACHE_CONTROL);
        let control = control.and_then(|control| control.to_str().ok());
        let private = control
            .and_then(|control| control.strip_prefix("public"))
            .and_then(|rest| HeaderValue::from_str(&format!("private{rest}")).ok());
        if let Some(private) = private {
            response.insert(CACHE_CONTROL, private);
        }
    }
}

impl AccessGrant {
    /// The name of the request's token.
    pub(super) fn token_name(&self) -> Option<&str> {
        self.0.as_ref().map(|token| token.name.as_str())
    }

    /// Refuses a request whose token grants none of `groups`.
    pub(crate) fn require(&self, groups: &[AccessGroup]) -> Result<(), ProblemDetails> {
        let Some(token) = &self.0 else {
            return Ok(());
        };
        if token.grants_any(groups) {
            return Ok(());
        }
        let names: Vec<&str> = groups.iter().map(|group| group.name()).collect();
        let names = names.join("` or `");
        let detail = format!("the token does not grant `{names}`");
        Err(ProblemDetails::new(ProblemKind::Forbidden, detail)
            .with_expected(format!("a token with `{names}` in its `routes`")))
    }
}

fn share_tokens(tokens: &[AccessToken]) -> Vec<Arc<AccessToken>> {
    tokens.iter().cloned().map(Arc::new).collect()
}

/// The digest of the token in the value of `Authorization`: that of Bearer, or the password of
/// Basic with any user (RFC 6750 §2.1, RFC 7617 §2). `None` for other values.
fn presented_digest(authorization: &[u8]) -> Option<TokenDigest> {
    let end = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, credentials) = authorization.split_at(end);
    let credentials = credentials.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(TokenDigest::of(credentials));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = BASIC_CREDENTIALS.decode(credentials).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(TokenDigest::of(&pair[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: RouteAccess = RouteAccess::AnyOf(&[AccessGroup::Data]);
    const WALL: &str = "wall-token-0123456789";

    fn token(name: &str, text: &str, groups: &[AccessGroup]) -> AccessToken {
        AccessToken {
            name: name.into(),
            digest: TokenDigest::of(text.as_bytes()),
            groups: groups.to_vec(),
        }
    }

    fn control(live: LiveAccess) -> AccessControl {
        AccessControl::new(&ServerSettings {
            live,
            tokens: vec![
                token("wall", WALL, &[AccessGroup::Data]),
                token("ops", "ops-token-0123456789", &[AccessGroup::Admin]),
            ],
            ..ServerSettings::default()
        })
    }

    fn kind_of(authorization: Option<&str>) -> Option<ProblemKind> {
        let control = control(LiveAccess::On);
        let result = control.authorize(DATA, authorization.map(str::as_bytes));
        result.err().map(|problem| problem.kind())
    }

    #[test]
    fn bearer_and_basic_are_read() {
        for good in [
            "Bearer wall-token-0123456789",
            "bearer  wall-token-0123456789 ",
            "BASIC eDp3YWxsLXRva2VuLTAxMjM0NTY3ODk=",
            "Basic eDp3YWxsLXRva2VuLTAxMjM0NTY3ODk",
            "basic OndhbGwtdG9rZW4tMDEyMzQ1Njc4OQ==",
        ] {
            assert_eq!(kind_of(Some(good)), None, "{good}");
        }
    }

    #[test]
    fn other_credentials_are_refused() {
        assert_eq!(kind_of(None), Some(ProblemKind::Unauthorized));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "wall-token-0123456789",
            "Bearerwall-token-0123456789",
            "Bearer wall-token-012345678",
            "Bearer wall-token-01234567890",
            "Bearer WALL-TOKEN-0123456789",
            "Token wall-token-0123456789",
            // Base64 of the token without a user, of the token as user, and no Base64.
            "Basic d2FsbC10b2tlbi0wMTIzNDU2Nzg5",
            "Basic d2FsbC10b2tlbi0wMTIzNDU2Nzg5Og==",
            "Basic !",
        ] {
            assert_eq!(kind_of(Some(bad)), Some(ProblemKind::Unauthorized), "{bad}");
        }
        let ops = Some("Bearer ops-token-0123456789");
        assert_eq!(kind_of(ops), Some(ProblemKind::Forbidden));
    }

    #[test]
    fn live_access_needs_its_group() {
        let grant_of = |control: &AccessControl, text: &str| {
            let header = format!("Bearer {text}");
            control.authorize(DATA, Some(header.as_bytes())).unwrap()
        };
        let kind = |control: &AccessControl, grant: &AccessGrant| {
            control
                .check_live(grant)
                .err()
                .map(|problem| problem.kind())
        };
        for (live, expected) in [
            (LiveAccess::On, ProblemKind::Forbidden),
            (LiveAccess::Token, ProblemKind::Forbidden),
            (LiveAccess::Off, ProblemKind::LiveDisabled),
        ] {
            let control = control(live);
            assert_eq!(kind(&control, &grant_of(&control, WALL)), Some(expected));
            control.replace_tokens(&[]);
            let anonymous = control.authorize(DATA, None).unwrap();
            let expected = (live != LiveAccess::On).then_some(ProblemKind::LiveDisabled);
            assert_eq!(kind(&control, &anonymous), expected);
        }
    }

    #[test]
    fn replaced_token_is_revoked() {
        let control = control(LiveAccess::On);
        let grant = control
            .authorize(DATA, Some(b"Bearer wall-token-0123456789"))
            .unwrap();
        let generation = control.generation();
        control.replace_tokens(&[token("ops", "ops-token-0123456789", &[AccessGroup::Admin])]);
        assert!(!control.is_still_granted(&grant));
        assert_ne!(control.generation(), generation);
    }
}
