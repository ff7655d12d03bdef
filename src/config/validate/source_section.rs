//! Sources and their providers.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::ConfigLoader;
use crate::config::SpannedStr;
use crate::config::{RawConfig, RawProvider, RawRequest, RawSource, RawTiming};
use crate::domain::{EgressProxy, Name, Provider, ProviderRequest, Source, SourceKind};

use super::request_keys::RequestDefaults;
use super::{listen_address, suggest_name, timing, validate_name};

/// Every fetched source that can be made out, in the file's order.
pub(crate) fn validate_sources(raw: &RawConfig, cx: &mut ConfigLoader<'_>) -> Vec<Source> {
    if !raw.has_sources {
        let help = "add one: `[sources.NAME]` with a `url`";
        cx.problems
            .add_missing(&raw.sources_span, "no sources are defined", help);
    }
    let proxy = raw
        .defaults
        .proxy
        .as_ref()
        .and_then(|text| listen_address::validate_proxy_url(text, cx));
    raw.sources
        .iter()
        .filter_map(|one| validate_source(one, &raw.defaults, proxy.as_ref(), cx))
        .collect()
}

fn validate_source(
    raw: &RawSource,
    defaults: &RawTiming,
    proxy: Option<&EgressProxy>,
    cx: &mut ConfigLoader<'_>,
) -> Option<Source> {
    let name = validate_name(&raw.name.clone().into(), "source", cx);
    let timing = timing::resolve_timing(defaults, raw, cx);
    let proxy = match &raw.timing.proxy {
        Some(text) => listen_address::validate_proxy_url(text, cx),
        None => proxy.cloned(),
    };
    let base = RequestDefaults::from_raw(&raw.request, cx);
    let shared = SharedProviderSettings {
        request_defaults: &base,
        max_body: timing.max_body,
        proxy: proxy.as_ref(),
    };
    let providers = validate_providers(raw, &shared, cx);
    warn_about_unused_hedge(raw, &providers, cx);
    let kind = SourceKind::Fetched {
        providers,
        schedule: timing.schedule,
    };
    Some(Source {
        name: name?,
        kind,
        freshness_policy: timing.freshness_policy,
        attribution: parse_attribution(raw.attribution.as_ref()),
    })
}

/// Credit, unless it is empty.
pub(crate) fn parse_attribution(text: Option<&SpannedStr>) -> Option<Arc<str>> {
    text.map(|text| text.value.trim())
        .filter(|text| !text.is_empty())
        .map(Arc::from)
}

/// What the providers of a source have in common.
struct SharedProviderSettings<'s> {
    request_defaults: &'s RequestDefaults,
    max_body: u64,
    proxy: Option<&'s EgressProxy>,
}

fn validate_providers(
    raw: &RawSource,
    shared: &SharedProviderSettings<'_>,
    cx: &mut ConfigLoader<'_>,
) -> Vec<Provider> {
    let mut names = ProviderNames::default();
    let source = &raw.name.value;
    let Some(listed) = &raw.providers else {
        if !raw.request.has_url && !raw.has_invalid_providers {
            let message = format!("source `{source}` has no `url`");
            cx.problems.add_missing(
                &raw.span,
                message,
                "expected a `url`, or `[[sources.….providers]]` with one each",
            );
        }
        let own = RequestDefaults::default();
        return build_provider(None, &raw.request, own, shared, &mut names, cx)
            .into_iter()
            .collect();
    };
    if raw.request.has_url {
        let message = format!("source `{source}` has both `url` and `providers`");
        cx.problems.add_error(
            &listed.span,
            message,
            "expected one of them: the `url` may become the first provider",
        );
    }
    if listed.value.is_empty() {
        cx.problems.add_error(
            &listed.span,
            format!("source `{source}` has no providers"),
            "expected at least one",
        );
    }
    names.reserve_configured(&listed.value, cx);
    listed
        .value
        .iter()
        .filter_map(|one| validate_listed_provider(source, one, shared, &mut names, cx))
        .collect()
}

fn validate_listed_provider(
    source: &str,
    raw: &RawProvider,
    shared: &SharedProviderSettings<'_>,
    names: &mut ProviderNames,
    cx: &mut ConfigLoader<'_>,
) -> Option<Provider> {
    if !raw.request.has_url {
        let message = format!("a provider of source `{source}` has no `url`");
        cx.problems.add_missing(&raw.span, message, "expected one");
    }
    let base = RequestDefaults::from_raw(&raw.request, cx);
    build_provider(raw.name.as_ref(), &raw.request, base, shared, names, cx)
}

fn build_provider(
    written: Option<&SpannedStr>,
    raw: &RawRequest,
    own: RequestDefaults,
    shared: &SharedProviderSettings<'_>,
    names: &mut ProviderNames,
    cx: &mut ConfigLoader<'_>,
) -> Option<Provider> {
    let base = own.with_defaults(shared.request_defaults);
    warn_about_get_body(raw, &base, cx);
    let url = listen_address::validate_provider_url(raw.url.as_ref()?, cx)?;
    let name = match written {
        Some(text) => Name::new(&text.value).ok()?,
        None => names.name_from_host(url.host_str().unwrap_or_default()),
    };
    let request = ProviderRequest {
        url,
        method: base.method.unwrap_or_else(|| "GET".into()),
        headers: base.headers,
        body: base.body,
        allow_private: base.allow_private.unwrap_or(false),
        ca_pem: base.ca_pem,
        proxy: shared.proxy.cloned(),
        max_body: shared.max_body,
    };
    Some(Provider {
        name,
        request,
        extract: base.extract.unwrap_or_else(|| ".".into()),
    })
}

fn warn_about_get_body(raw: &RawRequest, base: &RequestDefaults, cx: &mut ConfigLoader<'_>) {
    let get = base.method.as_deref().is_none_or(|method| method == "GET");
    if let Some(body) = raw.body.as_ref().filter(|_| get) {
        cx.problems.add_warning(
            &body.span,
            "many servers ignore or refuse a body with GET",
            "perhaps `method = \"POST\"`?",
        );
    }
}

fn warn_about_unused_hedge(raw: &RawSource, providers: &[Provider], cx: &mut ConfigLoader<'_>) {
    if let Some(hedge) = raw
        .hedge_after
        .as_ref()
        .filter(|_| providers.len() == 1 && raw.providers.is_none())
    {
        let message = format!("hedge_after of source `{}` has no effect", raw.name.value);
        cx.problems
            .add_warning(&hedge.span, message, "it has a single provider");
    }
}

/// The names of a source's providers.
#[derive(Default)]
struct ProviderNames {
    used_names: HashSet<Name>,
}

impl ProviderNames {
    /// Takes the written names, so that none made from a host collides with one that comes later.
    fn reserve_configured(&mut self, providers: &[RawProvider], cx: &mut ConfigLoader<'_>) {
        for text in providers
            .iter()
            .filter_map(|provider| provider.name.as_ref())
        {
            let Some(name) = validate_name(text, "provider", cx) else {
                continue;
            };
            if !self.used_names.insert(name.clone()) {
                let message = format!("two providers are called `{name}`");
                cx.problems.add_error(
                    &text.span,
                    message,
                    "expected another name for each provider of a source",
                );
            }
        }
    }

    /// The URL's host as a name, `api.example.org` as `api-example-org`; with `-2`, `-3`, … if it is taken.
    fn name_from_host(&mut self, host: &str) -> Name {
        let plain =
            suggest_name(host).map_or_else(|| "provider".to_owned(), |name| name.to_string());
        let numbered = (2..).map(|n| {
            let end = format!("-{n}");
            format!("{}{end}", &plain[..plain.len().min(Name::MAX - end.len())])
        });
        let mut free = std::iter::once(plain.clone())
            .chain(numbered)
            .filter_map(|text| Name::new(&text).ok())
            .skip_while(|name| self.used_names.contains(name));
        let name = free
            .next()
            .unwrap_or_else(|| unreachable!("there are more numbers than providers"));
        self.used_names.insert(name.clone());
        name
    }
}
