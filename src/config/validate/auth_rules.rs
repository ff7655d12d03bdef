//! `[auth.NAME]`: logins, which do not need themselves.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::config::loader::ConfigLoader;
use crate::config::table::Table;
use crate::domain::{AuthDefinition, AuthRequest, Name, Source};
use crate::extract::constructed_names;

use super::format_rules::validate_format;
use super::name_rules::validate_name;
use super::request_builder::{
    ConnectionSettings, RequestDefaults, build_request, check_auth_fields,
};
use super::request_rules::RequestParts;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);

/// The valid authentications in the order of the file.
pub(crate) fn validate_auths(
    root: &Table,
    defaults: &RequestDefaults<'_>,
    has_replicas: bool,
    loader: &mut ConfigLoader<'_>,
) -> Vec<AuthDefinition> {
    let tables = root.tables("auth").iter();
    let auths: Vec<AuthDefinition> = tables
        .filter_map(|table| validate_auth(table, defaults, has_replicas, loader))
        .collect();
    report_cycles(root, &auths, loader);
    report_shared_files(root, loader);
    auths
}

fn validate_auth(
    table: &Table,
    defaults: &RequestDefaults<'_>,
    has_replicas: bool,
    loader: &mut ConfigLoader<'_>,
) -> Option<AuthDefinition> {
    let name = validate_name(&table.name, "auth", loader);
    if !table.has("url") {
        let message = format!("auth {} has no `url`", table.name);
        loader.missing(&table.span, &message, "expected the URL of its login");
    }
    let keeps_cookies = table.boolean("cookies").unwrap_or(false);
    if !table.has("extract") && !keeps_cookies {
        let message = format!("auth {} has neither `extract` nor `cookies`", table.name);
        let help = "expected `extract = '{token: .access_token, expires_in: .expires_in}'`, or `cookies = true`";
        loader.missing(&table.span, &message, help);
    }
    let connection = ConnectionSettings::new(table, loader).or_inherit(&defaults.connection);
    // Headers, credentials and filters of sources are not for a login; the settings of the network are.
    let parts = RequestParts::new(table, loader).inherit(&defaults.parts.network_parts());
    let format = validate_format(&[table], loader);
    let login = build_request([table; 2], parts.clone(), &connection, format, loader);
    if let Some(login) = &login {
        check_auth_fields(table, login, loader);
    }
    let refresh = table.tables("refresh").first();
    let refresh = refresh.and_then(|refresh| {
        let own = RequestParts::new(refresh, loader).inherit(&parts);
        let url_table = if refresh.has("url") { refresh } else { table };
        let format = validate_format(&[refresh, table], loader);
        if has_replicas {
            let message = "replicas do not share a refresh token";
            let help =
                "a server that rotates refresh tokens may end the session of every replica but one";
            loader.warning(&refresh.span, message, help);
        }
        Some(AuthRequest {
            extract: own.extract.clone(),
            request: build_request([refresh, url_table], own, &connection, format, loader)?,
        })
    });
    warn_without_refresh_token(table, parts.extract.as_deref(), loader);
    let timeout = table.duration("timeout");
    let timeout = timeout.or_else(|| defaults.table.duration("timeout"));
    let token_file = table.text("token_file");
    let token_file = token_file.filter(|path| !path.value.is_empty());
    if let Some(path) = token_file
        && !table.has("refresh")
    {
        let message = "`token_file` has no effect without `refresh`";
        loader.warning(&path.span, message, "expected both");
    }
    Some(AuthDefinition {
        name: name?,
        login: AuthRequest {
            request: login?,
            extract: parts.extract,
        },
        refresh,
        keeps_cookies,
        token_file: token_file.map(|path| path.value.clone().into()),
        timeout: timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.value),
    })
}

/// Adds a warning if the login's filter has no `refresh_token`, without which `refresh` is never sent.
fn warn_without_refresh_token(table: &Table, extract: Option<&str>, loader: &mut ConfigLoader<'_>) {
    let names = match extract {
        Some(extract) => constructed_names(extract),
        // Only the cookies count.
        None => Some(Vec::new()),
    };
    if let Some(span) = table.span_of("refresh")
        // `token_file` may have a token of its own.
        && !table.has("token_file")
        && names.is_some_and(|names| !names.contains(&"refresh_token"))
    {
        let message = "`refresh` is never sent: the login's `extract` gives no `refresh_token`";
        let help = "expected `refresh_token: .refresh_token` in it";
        loader.warning(span, message, help);
    }
}

/// Adds a warning for each authentication that no source and no other authentication names.
pub(crate) fn warn_unused_auths(
    root: &Table,
    auths: &[AuthDefinition],
    sources: &[Source],
    loader: &mut ConfigLoader<'_>,
) {
    let providers = sources.iter().flat_map(Source::providers);
    let requests = providers.map(|provider| &provider.request);
    let logins = auths.iter().map(|auth| &auth.login.request);
    let used: HashSet<&Name> = requests
        .chain(logins)
        .filter_map(|request| request.auth.as_ref())
        .collect();
    for table in root.tables("auth") {
        // An invalid one has been reported.
        let auth = auths
            .iter()
            .find(|auth| auth.name.as_str() == table.name.value);
        if auth.is_some_and(|auth| !used.contains(&auth.name)) {
            let message = format!("no source names the auth {}", table.name);
            let help = format!("add `auth = \"{}\"` to a source", table.name.value);
            loader.warning(&table.span, &message, help);
        }
    }
}

/// Reports each authentication that needs itself.
fn report_cycles(root: &Table, auths: &[AuthDefinition], loader: &mut ConfigLoader<'_>) {
    let needed: HashMap<&Name, &Name> = auths
        .iter()
        .filter_map(|auth| Some((&auth.name, auth.login.request.auth.as_ref()?)))
        .collect();
    for table in root.tables("auth") {
        let own = &table.name.value;
        let mut at = needed.keys().find(|name| name.as_str() == own).copied();
        // A chain without a cycle is not longer than the table.
        for _ in 0..needed.len() {
            at = at.and_then(|name| needed.get(name).copied());
            if at.is_some_and(|name| name.as_str() == own) {
                let span = table.span_of("auth").unwrap_or(&table.span);
                let message = format!("auth {} needs itself", table.name);
                loader.error(span, &message, "expected another `auth`, or none");
                break;
            }
        }
    }
}

/// Reports each `token_file` of more than one authentication: each would replace the token of the other.
fn report_shared_files(root: &Table, loader: &mut ConfigLoader<'_>) {
    let mut owners: HashMap<PathBuf, &Table> = HashMap::new();
    for table in root.tables("auth") {
        let Some(file) = table
            .text("token_file")
            .filter(|file| !file.value.is_empty())
        else {
            continue;
        };
        let parts = Path::new(&file.value).components();
        let path = parts.filter(|part| *part != Component::CurDir).collect();
        if let Some(first) = owners.get(&path) {
            let message = format!(
                "auth {} and auth {} have the same `token_file`",
                first.name, table.name
            );
            loader.error(&file.span, &message, "expected a file for each");
        } else {
            owners.insert(path, table);
        }
    }
}
