//! `[sources.NAME]` and `[[sources.NAME.providers]]`

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::loader::ConfigLoader;
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{Name, Provider, Source, SourceKind};

use super::appearance_rules::validate_appearance;
use super::format_rules::validate_format;
use super::metric_rules::{MetricFamilies, validate_metrics};
use super::name_rules::{slug_name, validate_name};
use super::request_builder::{
    ConnectionSettings, RequestDefaults, build_request, check_auth_fields,
};
use super::request_rules::RequestParts;
use super::shared_credentials::warn_shared_credentials;
use super::timing::validate_timing;

/// The valid fetched sources in the order of the file.
pub(crate) fn validate_sources(
    root: &Table,
    defaults: &RequestDefaults<'_>,
    families: &mut MetricFamilies,
    loader: &mut ConfigLoader<'_>,
) -> Vec<Source> {
    let tables = root.tables("sources");
    if tables.is_empty() && !root.is_invalid("sources") {
        let span = root.span_of("sources").unwrap_or(&(0..0));
        let help = "add one: `[sources.NAME]` with a `url`";
        loader.missing(span, "no sources are defined", help);
    }
    let sources = tables.iter().filter_map(|table| {
        // Checked to the end even without a valid name: all problems are told at once.
        let name = validate_name(&table.name, "source", loader);
        let (schedule, freshness_policy) = validate_timing(table, defaults.table, loader);
        let parts = RequestParts::new(table, loader);
        let shared = SharedSettings {
            table,
            parts: parts.clone().inherit(&defaults.parts),
            defaults: defaults.table,
            connection: ConnectionSettings::new(table, loader).or_inherit(&defaults.connection),
        };
        let providers = validate_providers(&shared, loader);
        let requests: Vec<_> = providers.iter().map(|provider| &provider.request).collect();
        let owner = format!("source {}", table.name);
        warn_shared_credentials(table, &owner, &parts, &requests, loader);
        let metrics = validate_metrics(&[table, defaults.table], families, loader);
        Some(Source {
            name: name?,
            kind: SourceKind::Fetched {
                providers,
                schedule,
            },
            freshness_policy,
            attribution: attribution(table).or_else(|| attribution(defaults.table)),
            appearance: validate_appearance(table, loader).into(),
            metrics,
        })
    });
    let sources: Vec<_> = sources.collect();
    let providers = sources.iter().flat_map(Source::providers);
    let requests: Vec<_> = providers.map(|provider| &provider.request).collect();
    let owner = "`[defaults]`";
    warn_shared_credentials(defaults.table, owner, &defaults.parts, &requests, loader);
    sources
}

/// The credit of a source. `None` if it is blank.
pub(super) fn attribution(table: &Table) -> Option<Arc<str>> {
    let credit = table.text("attribution")?.value.trim();
    (!credit.is_empty()).then(|| credit.into())
}

/// The settings of a source that apply to its providers.
struct SharedSettings<'t> {
    table: &'t Table,
    defaults: &'t Table,
    parts: RequestParts,
    connection: ConnectionSettings,
}

fn validate_providers(shared: &SharedSettings<'_>, loader: &mut ConfigLoader<'_>) -> Vec<Provider> {
    let source = shared.table;
    let name = &source.name.value;
    let list = source.span_of("providers");
    let Some(span) = list.filter(|_| !source.is_invalid("providers")) else {
        if !source.has("url") && list.is_none() {
            let message = format!("source `{name}` has no `url`");
            let help = "expected a `url`, or `[[sources.….providers]]` with one each";
            loader.missing(&source.span, &message, help);
        }
        let parts = shared.parts.clone();
        let provider = build_provider(source, None, parts, shared, &mut HashSet::new(), loader);
        if let (Some(_), Some(hedge)) = (&provider, source.duration("hedge_after")) {
            let message = format!("hedge_after of source `{name}` has no effect");
            loader.warning(hedge.span, &message, "it has a single provider");
        }
        return provider.into_iter().collect();
    };
    let tables = source.tables("providers");
    if source.has("url") {
        let message = format!("source `{name}` has both `url` and `providers`");
        let help = "expected one of them: the `url` may become the first provider";
        loader.error(span, &message, help);
    }
    if tables.is_empty() {
        let message = format!("source `{name}` has no providers");
        loader.error(span, &message, "expected at least one");
    }
    let mut names = validate_provider_names(tables, loader);
    let providers = tables.iter().filter_map(|table| {
        if !table.has("url") {
            let message = format!("a provider of source `{name}` has no `url`");
            loader.missing(&table.span, &message, "expected one");
        }
        let parts = RequestParts::new(table, loader).inherit(&shared.parts);
        build_provider(table, table.text("name"), parts, shared, &mut names, loader)
    });
    providers.collect()
}

/// The provider of a table. Values that the table does not have come from the source. `None` if the URL or the name is
/// absent or invalid.
fn build_provider(
    table: &Table,
    name: Option<&SpannedStr>,
    parts: RequestParts,
    shared: &SharedSettings<'_>,
    names: &mut HashSet<Name>,
    loader: &mut ConfigLoader<'_>,
) -> Option<Provider> {
    let format = validate_format(&[table, shared.table, shared.defaults], loader);
    let extract = parts.extract.clone();
    let request = build_request([table; 2], parts, &shared.connection, format, loader)?;
    check_auth_fields(table, &request, loader);
    let name = match name {
        Some(text) => Name::new(&text.value).ok()?,
        None => free_name(request.url.host_str().unwrap_or_default(), names),
    };
    Some(Provider {
        name,
        request,
        extract: extract.unwrap_or_else(|| Arc::from(".")),
    })
}

/// The written names of a source's providers. They are known before any name is made of a host, so that a later written
/// name cannot collide with it.
fn validate_provider_names(tables: &[Table], loader: &mut ConfigLoader<'_>) -> HashSet<Name> {
    let mut names = HashSet::new();
    for text in tables.iter().filter_map(|table| table.text("name")) {
        let Some(name) = validate_name(text, "provider", loader) else {
            continue;
        };
        if !names.insert(name.clone()) {
            let message = format!("two providers have the name `{name}`");
            let help = "expected another name for each provider of a source";
            loader.error(&text.span, &message, help);
        }
    }
    names
}

/// The URL's host as a name: `api.example.org` as `api-example-org`, with `-2`, `-3`, … if the name is taken.
fn free_name(host: &str, names: &mut HashSet<Name>) -> Name {
    let plain = slug_name(host).map_or_else(|| "provider".to_owned(), |name| name.to_string());
    let mut candidate = plain.clone();
    for number in 2.. {
        if let Ok(name) = Name::new(&candidate)
            && names.insert(name.clone())
        {
            return name;
        }
        let suffix = format!("-{number}");
        candidate = format!(
            "{}{suffix}",
            &plain[..plain.len().min(Name::MAX - suffix.len())]
        );
    }
    unreachable!("the numbers do not end")
}
