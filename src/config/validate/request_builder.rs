//! The request of a provider or an authentication, from its table and what the table inherits.

use crate::config::loader::ConfigLoader;
use crate::config::table::Table;
use crate::domain::{BodyFormat, EgressProxy, Name, ProviderRequest, RequestBody};

use super::proxy_rules::ProxySetting;
use super::request_rules::RequestParts;
use super::tls_rules::check_provider_tls;

/// Default of `max_body`, in bytes.
const DEFAULT_MAX_BODY: u64 = 1 << 20;

/// What `[defaults]` has for requests.
pub(crate) struct RequestDefaults<'t> {
    pub(super) table: &'t Table,
    pub(super) parts: RequestParts,
    pub(super) connection: ConnectionSettings,
}

impl<'t> RequestDefaults<'t> {
    pub(crate) fn new(table: &'t Table, loader: &mut ConfigLoader<'_>) -> Self {
        Self {
            table,
            parts: RequestParts::new(table, loader),
            connection: ConnectionSettings::new(table, loader),
        }
    }
}

/// The settings of a table that apply to all requests of a source or an authentication.
#[derive(Clone)]
pub(super) struct ConnectionSettings {
    max_body: Option<u64>,
    proxy: Option<ProxySetting>,
}

impl ConnectionSettings {
    /// The settings that a table defines itself.
    pub(super) fn new(table: &Table, loader: &mut ConfigLoader<'_>) -> Self {
        Self {
            max_body: table.integer("max_body"),
            proxy: ProxySetting::new(table, loader),
        }
    }

    /// The settings completed by those of `[defaults]`.
    pub(super) fn or_inherit(self, defaults: &Self) -> Self {
        Self {
            max_body: self.max_body.or(defaults.max_body),
            proxy: self.proxy.or_else(|| defaults.proxy.clone()),
        }
    }
}

/// The request of a table, with the URL of the second one. `None` if the URL is absent or invalid.
pub(super) fn build_request(
    [table, url_table]: [&Table; 2],
    parts: RequestParts,
    connection: &ConnectionSettings,
    format: BodyFormat,
    loader: &mut ConfigLoader<'_>,
) -> Option<ProviderRequest> {
    let default_method = match parts.body {
        Some(RequestBody::Form(_)) => "POST",
        _ => "GET",
    };
    let method = parts
        .method
        .clone()
        .unwrap_or_else(|| default_method.into());
    if &*method == "GET"
        && let Some(span) = table.span_of("body").or_else(|| table.span_of("form"))
    {
        let message = "many servers ignore or refuse a body with GET";
        loader.warning(span, message, "perhaps `method = \"POST\"`?");
    }
    let (url_text, url) = url_table.url("url")?;
    if url.fragment().is_some() {
        let message = "the part of the URL after `#` is never sent";
        loader.warning(&url_text.span, message, "write `%23` for a literal `#`");
    }
    let credentials = parts.credentials(loader);
    let auth = parts.auth().and_then(|auth| Name::new(&auth.value).ok());
    let request = ProviderRequest {
        url: url.clone(),
        url_text: url_text.request_text.clone(),
        auth,
        query: parts.query,
        method,
        headers: parts.headers,
        body: parts.body,
        credentials,
        time_zone: parts.time_zone,
        accept_status: parts.accept_status.unwrap_or_default(),
        follow_redirects: parts.follow_redirects.unwrap_or(false),
        obeys_cache: parts.obeys_cache.unwrap_or(false),
        allow_private: parts.allow_private.unwrap_or(false),
        tls: parts.tls.into_settings(),
        proxy: connection
            .proxy
            .as_ref()
            .map_or_else(EgressProxy::default, |proxy| proxy.select(url)),
        max_body: connection.max_body.unwrap_or(DEFAULT_MAX_BODY),
        format,
    };
    check_provider_tls(table, url_text, &request, loader);
    Some(request)
}

/// Reports references to fields of a login without an `auth`.
pub(super) fn check_auth_fields(
    table: &Table,
    request: &ProviderRequest,
    loader: &mut ConfigLoader<'_>,
) {
    if request.has_auth_field() && request.auth.is_none() {
        let message = "the request refers to `${auth.…}` without an `auth`";
        let help = "add `auth = \"NAME\"`, and the login as `[auth.NAME]`";
        loader.missing(&table.span, message, help);
    }
}
