//! Sources and their providers.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::context::Context;
use crate::config::raw::{Raw, RawProvider, RawRequest, RawSource, RawTiming};
use crate::config::section::Text;
use crate::domain::{Kind, Name, Provider, Proxy, Request, Source};

use super::request::Base;
use super::{address, name, near_name, timing};

/// Every fetched source that can be made out, in the file's order.
pub(super) fn sources(raw: &Raw, cx: &mut Context<'_>) -> Vec<Source> {
    if !raw.has_sources {
        let help = "add one: `[sources.NAME]` with a `url`";
        cx.problems
            .absent(&raw.sources_span, "no sources are defined", help);
    }
    let proxy = raw
        .defaults
        .proxy
        .as_ref()
        .and_then(|text| address::proxy(text, cx));
    raw.sources
        .iter()
        .filter_map(|one| source(one, &raw.defaults, proxy.as_ref(), cx))
        .collect()
}

fn source(
    raw: &RawSource,
    defaults: &RawTiming,
    proxy: Option<&Proxy>,
    cx: &mut Context<'_>,
) -> Option<Source> {
    let name = name(&raw.name.clone().into(), "source", cx);
    let timing = timing::resolve(defaults, raw, cx);
    let proxy = match &raw.timing.proxy {
        Some(text) => address::proxy(text, cx),
        None => proxy.cloned(),
    };
    let base = Base::read(&raw.request, cx);
    let shared = Shared {
        base: &base,
        max_body: timing.max_body,
        proxy: proxy.as_ref(),
    };
    let providers = providers(raw, &shared, cx);
    warn_of_idle_hedge(raw, &providers, cx);
    let kind = Kind::Fetched {
        providers,
        pace: timing.pace,
    };
    Some(Source {
        name: name?,
        kind,
        shelf: timing.shelf,
        attribution: attribution(raw.attribution.as_ref()),
    })
}

/// Credit, unless it is empty.
pub(super) fn attribution(text: Option<&Text>) -> Option<Arc<str>> {
    text.map(|text| text.value.trim())
        .filter(|text| !text.is_empty())
        .map(Arc::from)
}

/// What the providers of a source have in common.
struct Shared<'s> {
    base: &'s Base,
    max_body: u64,
    proxy: Option<&'s Proxy>,
}

fn providers(raw: &RawSource, shared: &Shared<'_>, cx: &mut Context<'_>) -> Vec<Provider> {
    let mut names = Names::default();
    let source = &raw.name.value;
    let Some(listed) = &raw.providers else {
        if !raw.request.has_url && !raw.providers_broken {
            let message = format!("source `{source}` has no `url`");
            cx.problems.absent(
                &raw.span,
                message,
                "expected a `url`, or `[[sources.….providers]]` with one each",
            );
        }
        let own = Base::default();
        return provider(None, &raw.request, own, shared, &mut names, cx)
            .into_iter()
            .collect();
    };
    if raw.request.has_url {
        let message = format!("source `{source}` has both `url` and `providers`");
        cx.problems.error(
            &listed.span,
            message,
            "expected one of them: the `url` may become the first provider",
        );
    }
    if listed.value.is_empty() {
        cx.problems.error(
            &listed.span,
            format!("source `{source}` has no providers"),
            "expected at least one",
        );
    }
    names.reserve(&listed.value, cx);
    listed
        .value
        .iter()
        .filter_map(|one| listed_provider(source, one, shared, &mut names, cx))
        .collect()
}

fn listed_provider(
    source: &str,
    raw: &RawProvider,
    shared: &Shared<'_>,
    names: &mut Names,
    cx: &mut Context<'_>,
) -> Option<Provider> {
    if !raw.request.has_url {
        let message = format!("a provider of source `{source}` has no `url`");
        cx.problems.absent(&raw.span, message, "expected one");
    }
    let base = Base::read(&raw.request, cx);
    provider(raw.name.as_ref(), &raw.request, base, shared, names, cx)
}

fn provider(
    written: Option<&Text>,
    raw: &RawRequest,
    own: Base,
    shared: &Shared<'_>,
    names: &mut Names,
    cx: &mut Context<'_>,
) -> Option<Provider> {
    let base = own.over(shared.base);
    warn_of_body(raw, &base, cx);
    let url = address::provider(raw.url.as_ref()?, cx)?;
    let name = match written {
        Some(text) => Name::new(&text.value).ok()?,
        None => names.of_host(url.host_str().unwrap_or_default()),
    };
    let request = Request {
        url,
        method: base.method.unwrap_or_else(|| "GET".into()),
        headers: base.headers,
        body: base.body,
        allow_private: base.allow_private.unwrap_or(false),
        ca: base.ca,
        proxy: shared.proxy.cloned(),
        max_body: shared.max_body,
    };
    Some(Provider {
        name,
        request,
        extract: base.extract.unwrap_or_else(|| ".".into()),
    })
}

fn warn_of_body(raw: &RawRequest, base: &Base, cx: &mut Context<'_>) {
    let get = base.method.as_deref().is_none_or(|method| method == "GET");
    if let Some(body) = raw.body.as_ref().filter(|_| get) {
        cx.problems.warn(
            &body.span,
            "many servers ignore or refuse a body with GET",
            "perhaps `method = \"POST\"`?",
        );
    }
}

fn warn_of_idle_hedge(raw: &RawSource, providers: &[Provider], cx: &mut Context<'_>) {
    if let Some(hedge) = raw
        .hedge_after
        .as_ref()
        .filter(|_| providers.len() == 1 && raw.providers.is_none())
    {
        let message = format!("hedge_after of source `{}` has no effect", raw.name.value);
        cx.problems
            .warn(&hedge.span, message, "it has a single provider");
    }
}

/// The names of a source's providers.
#[derive(Default)]
struct Names {
    taken: HashSet<Name>,
}

impl Names {
    /// Takes the written names, so that none made from a host collides with one that comes later.
    fn reserve(&mut self, providers: &[RawProvider], cx: &mut Context<'_>) {
        for text in providers
            .iter()
            .filter_map(|provider| provider.name.as_ref())
        {
            let Some(name) = name(text, "provider", cx) else {
                continue;
            };
            if !self.taken.insert(name.clone()) {
                let message = format!("two providers are called `{name}`");
                cx.problems.error(
                    &text.span,
                    message,
                    "expected another name for each provider of a source",
                );
            }
        }
    }

    /// The URL's host as a name, `api.example.org` as `api-example-org`; with `-2`, `-3`, … if it is taken.
    fn of_host(&mut self, host: &str) -> Name {
        let plain = near_name(host).map_or_else(|| "provider".to_owned(), |name| name.to_string());
        let numbered = (2..).map(|n| {
            let end = format!("-{n}");
            format!("{}{end}", &plain[..plain.len().min(Name::MAX - end.len())])
        });
        let mut free = std::iter::once(plain.clone())
            .chain(numbered)
            .filter_map(|text| Name::new(&text).ok())
            .skip_while(|name| self.taken.contains(name));
        let name = free
            .next()
            .unwrap_or_else(|| unreachable!("there are more numbers than providers"));
        self.taken.insert(name.clone());
        name
    }
}
