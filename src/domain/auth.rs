//! Authentications: how a token or a session is requested, and what requests carry of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::name::Name;
use super::provider::{ProviderRequest, RequestBody, RequestField};
use super::request_text::{RequestText, encode_url_part};

/// Name of the field that is sent as `Authorization: Bearer`.
const TOKEN_FIELD: &str = "token";

/// `[auth.NAME]`: how a token or a session is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthDefinition {
    /// Name, unique among the authentications.
    pub name: Name,
    /// Request for a token or a session.
    pub login: AuthRequest,
    /// Request for another token with the field `refresh_token` of the last answer. Default: `login`.
    pub refresh: Option<AuthRequest>,
    /// Whether the cookies of the answer belong to the session. Default: false.
    pub keeps_cookies: bool,
    /// File that keeps the refresh token over a restart. Default: none.
    pub token_file: Option<PathBuf>,
    /// Deadline of a request, body and extraction included. Default: 4 s.
    pub timeout: Duration,
}

/// A request for a token or a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// Request to send.
    pub request: ProviderRequest,
    /// jq filter whose result is an object with the fields. `None`: only the cookies count.
    pub extract: Option<Arc<str>>,
}

/// The fields and cookies that a login gave. `Debug` prints no value: they are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthValues {
    /// Fields by name, in the order of the answer.
    pub fields: Vec<(Arc<str>, Arc<str>)>,
    /// Cookies by name, in the order of the answer.
    pub cookies: Vec<(Arc<str>, Arc<str>)>,
}

/// Why a request cannot have a field of its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthFieldError {
    /// The login did not give the field of this name.
    Missing(Arc<str>),
    /// The field of this name is `.` or `..`: as a segment of a URL's path, even percent-encoded, it would remove itself or
    /// the one before (RFC 3986, section 5.2.4).
    DotSegment(Arc<str>),
}

impl AuthValues {
    /// Returns the value of a field.
    pub fn field(&self, name: &str) -> Option<&Arc<str>> {
        let mut fields = self.fields.iter();
        fields.find_map(|(known, value)| (**known == *name).then_some(value))
    }

    /// Returns these values completed by the fields and cookies of `outer` with other names.
    #[must_use]
    pub fn or_inherit(&self, outer: &Self) -> Self {
        let merge = |own: &[(Arc<str>, Arc<str>)], outer: &[(Arc<str>, Arc<str>)]| {
            let is_other =
                |(name, _): &&(Arc<str>, Arc<str>)| own.iter().all(|(own, _)| own != name);
            let inherited: Vec<_> = outer.iter().filter(is_other).cloned().collect();
            [own, &inherited].concat()
        };
        Self {
            fields: merge(&self.fields, &outer.fields),
            cookies: merge(&self.cookies, &outer.cookies),
        }
    }

    /// Returns the values that must be redacted.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.fields.iter().chain(&self.cookies);
        values.map(|(_, value)| &**value)
    }
}

impl fmt::Debug for AuthValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fields, cookies) = (self.fields.len(), self.cookies.len());
        write!(f, "AuthValues({fields} fields, {cookies} cookies)")
    }
}

impl ProviderRequest {
    /// Returns whether the request refers to fields of its authentication.
    pub fn has_auth_field(&self) -> bool {
        let has_field =
            |fields: &[RequestField]| fields.iter().any(|(_, text)| text.has_auth_field());
        let in_body = match &self.body {
            None => false,
            Some(RequestBody::Text(text)) => text.has_auth_field(),
            Some(RequestBody::Form(fields)) => has_field(fields),
        };
        let in_url = self.url_text.as_ref();
        in_body
            || in_url.is_some_and(RequestText::has_auth_field)
            || has_field(&self.query)
            || has_field(&self.headers)
    }

    /// Returns the request with `values` in place of its references. Without a reference, the field `token` is sent as
    /// `Authorization: Bearer` (RFC 6750, section 2.1). Cookies are always sent.
    pub fn authorize(&self, values: &AuthValues) -> Result<Self, AuthFieldError> {
        let lookup = |name: &str| match values.field(name) {
            Some(value) => Ok(value.to_string()),
            None => Err(AuthFieldError::Missing(name.into())),
        };
        // A value must not end or change its part of the URL.
        let encode = |name: &str| match lookup(name)?.as_str() {
            "." | ".." => Err(AuthFieldError::DotSegment(name.into())),
            value => Ok(encode_url_part(value)),
        };
        let fill = |fields: &[RequestField]| {
            let filled = fields
                .iter()
                .map(|(name, text)| Ok((Arc::clone(name), text.fill_auth_fields(lookup)?)));
            filled.collect::<Result<Vec<_>, AuthFieldError>>()
        };
        let url_text = self.url_text.as_ref();
        let mut authorized = Self {
            url_text: url_text
                .map(|text| text.fill_auth_fields(encode))
                .transpose()?,
            query: fill(&self.query)?,
            headers: fill(&self.headers)?,
            body: match &self.body {
                None => None,
                Some(RequestBody::Text(text)) => {
                    Some(RequestBody::Text(text.fill_auth_fields(lookup)?))
                }
                Some(RequestBody::Form(fields)) => Some(RequestBody::Form(fill(fields)?)),
            },
            ..self.clone()
        };
        if let Some(token) = values.field(TOKEN_FIELD)
            && !self.has_auth_field()
            && authorized.header_mut("Authorization").is_none()
        {
            let bearer = RequestText::from(&*["Bearer ", token].concat());
            authorized.headers.push(("Authorization".into(), bearer));
        }
        authorized.add_cookies(&values.cookies);
        Ok(authorized)
    }

    /// Returns whether the request sends nothing of `values`: no cookie, no token, no field.
    pub fn is_without(&self, values: &AuthValues) -> bool {
        let has_value = !values.cookies.is_empty() || values.field(TOKEN_FIELD).is_some();
        !has_value && !self.has_auth_field()
    }

    fn header_mut(&mut self, name: &str) -> Option<&mut RequestText> {
        let mut headers = self.headers.iter_mut();
        headers.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }

    fn add_cookies(&mut self, cookies: &[(Arc<str>, Arc<str>)]) {
        if cookies.is_empty() {
            return;
        }
        let pairs: Vec<String> = cookies
            .iter()
            .map(|(name, value)| [name, "=", value].concat())
            .collect();
        let pairs = pairs.join("; ");
        // One header: RFC 6265, section 5.4, forbids a second one.
        match self.header_mut("Cookie") {
            Some(configured) => configured.push_literal(&["; ", &pairs].concat()),
            None => self.headers.push(("Cookie".into(), (&*pairs).into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::domain::{RequestTime, Time};

    fn values() -> AuthValues {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        AuthValues {
            fields: vec![pair("token", "t/1+2"), pair("sid", "s")],
            cookies: vec![pair("a", "1"), pair("b", "2")],
        }
    }

    fn resolve(text: &RequestText) -> String {
        let time = RequestTime {
            now: Time::from_millis(0),
            time_zone: None,
        };
        text.resolve(time).unwrap().into_owned()
    }

    fn header(request: &ProviderRequest, name: &str) -> Option<String> {
        let mut headers = request.headers.iter();
        headers.find_map(|(known, text)| (**known == *name).then(|| resolve(text)))
    }

    fn request() -> ProviderRequest {
        ProviderRequest::get(Url::parse("http://a.example/x").unwrap())
    }

    #[test]
    fn token_is_sent_as_bearer() {
        let authorized = request().authorize(&values()).unwrap();
        assert_eq!(
            header(&authorized, "Authorization").unwrap(),
            "Bearer t/1+2"
        );
        assert_eq!(header(&authorized, "Cookie").unwrap(), "a=1; b=2");
        let mut own = request();
        own.headers = vec![
            ("authorization".into(), "own".into()),
            ("cookie".into(), "c=3".into()),
        ];
        let authorized = own.authorize(&values()).unwrap();
        assert_eq!(header(&authorized, "Authorization"), None);
        assert_eq!(header(&authorized, "cookie").unwrap(), "c=3; a=1; b=2");
    }

    #[test]
    fn reference_replaces_bearer() {
        let mut with_field = request();
        let mut url = RequestText::from("http://a.example/x?t=");
        url.push_auth_field("token");
        with_field.url_text = Some(url);
        let authorized = with_field.authorize(&values()).unwrap();
        assert_eq!(header(&authorized, "Authorization"), None);
        assert_eq!(
            resolve(authorized.url_text.as_ref().unwrap()),
            "http://a.example/x?t=t%2F1%2B2"
        );
        let mut missing = RequestText::default();
        missing.push_auth_field("none");
        with_field.body = Some(RequestBody::Text(missing));
        assert_eq!(
            with_field.authorize(&values()).unwrap_err(),
            AuthFieldError::Missing("none".into())
        );
    }

    #[test]
    fn dot_segment_is_refused() {
        let mut with_field = request();
        let mut url = RequestText::from("http://a.example/x/");
        url.push_auth_field("sid");
        url.push_literal("/y");
        with_field.url_text = Some(url);
        let authorize = |value: &str| {
            with_field.authorize(&AuthValues {
                fields: vec![("sid".into(), value.into())],
                cookies: Vec::new(),
            })
        };
        for value in [".", ".."] {
            let refused = AuthFieldError::DotSegment("sid".into());
            assert_eq!(authorize(value), Err(refused), "{value}");
        }
        for (value, path) in [
            ("...", "/x/.../y"),
            ("%2e", "/x/%252e/y"),
            ("../a", "/x/..%2Fa/y"),
        ] {
            let authorized = authorize(value).unwrap();
            let url = Url::parse(&resolve(authorized.url_text.as_ref().unwrap())).unwrap();
            assert_eq!(url.path(), path, "{value}");
        }
    }

    #[test]
    fn own_values_replace_inherited_ones() {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let own = AuthValues {
            fields: vec![pair("token", "new")],
            cookies: Vec::new(),
        };
        let merged = own.or_inherit(&values());
        assert_eq!(&**merged.field("token").unwrap(), "new");
        assert_eq!(&**merged.field("sid").unwrap(), "s");
        assert_eq!(merged.cookies.len(), 2);
        assert_eq!(format!("{merged:?}"), "AuthValues(2 fields, 2 cookies)");
    }
}
