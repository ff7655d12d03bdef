//! The egress proxies of requests: that of `proxy`, or those of the environment.

use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::secrets;
use crate::config::span::Span;
use crate::config::table::Table;
use crate::config::urls::check_url;
use crate::domain::EgressProxy;

/// The value of `proxy` that stands for the variables of the environment.
const ENVIRONMENT: &str = "env";

/// The value of `proxy`.
#[derive(Clone)]
pub(super) enum ProxySetting {
    /// No proxy, although one could be inherited.
    Direct,
    Fixed(Url),
    Environment(Arc<EnvironmentProxies>),
}

/// The proxies that `http_proxy`, `https_proxy` and `no_proxy` name.
pub(super) struct EnvironmentProxies {
    by_scheme: EgressProxy,
    excluded: ExcludedHosts,
}

impl ProxySetting {
    /// The setting of a table. `None` without the key.
    pub(super) fn new(table: &Table, loader: &mut ConfigLoader<'_>) -> Option<Self> {
        let span = table.span_of("proxy")?;
        if let Some((text, url)) = table.url("proxy") {
            let checked = check_proxy_url(url.clone());
            return loader.check(text, checked).map(Self::Fixed);
        }
        let text = table.text("proxy").map(|text| text.value.as_str());
        Some(if text == Some(ENVIRONMENT) {
            Self::Environment(Arc::new(EnvironmentProxies::read(span, loader)))
        } else {
            Self::Direct
        })
    }

    /// The proxies of a request for `url`.
    pub(super) fn select(&self, url: &Url) -> EgressProxy {
        match self {
            Self::Direct => EgressProxy::default(),
            Self::Fixed(proxy) => EgressProxy {
                http: Some(proxy.clone()),
                https: Some(proxy.clone()),
            },
            Self::Environment(proxies) if proxies.excluded.contains(url) => EgressProxy::default(),
            Self::Environment(proxies) => proxies.by_scheme.clone(),
        }
    }
}

impl EnvironmentProxies {
    /// Errors in the variables become problems at `span`.
    fn read(span: &Span, loader: &mut ConfigLoader<'_>) -> Self {
        let no_proxy = read_variable("NO_PROXY", loader);
        Self {
            by_scheme: EgressProxy {
                http: read_proxy("HTTP_PROXY", span, loader),
                https: read_proxy("HTTPS_PROXY", span, loader),
            },
            excluded: ExcludedHosts::new(&no_proxy.map_or_else(String::new, |(_, value)| value)),
        }
    }
}

/// The name and the value of a variable that is not empty. As in curl, the lower-case form takes precedence.
fn read_variable(name: &str, loader: &ConfigLoader<'_>) -> Option<(String, String)> {
    let names = [name.to_ascii_lowercase(), name.to_owned()];
    names.into_iter().find_map(|name| {
        let value = loader.read_variable(&name)?;
        (!value.is_empty()).then_some((name, value))
    })
}

/// The proxy that a variable names.
fn read_proxy(name: &str, span: &Span, loader: &mut ConfigLoader<'_>) -> Option<Url> {
    let (name, mut value) = read_variable(name, loader)?;
    if !value.contains("://") {
        value.insert_str(0, "http://");
    }
    loader.secrets.extend(secrets::url_secrets(&value));
    let checked = check_url(&value, &["http"]).and_then(check_proxy_url);
    match checked {
        Ok(url) => {
            // The parser may percent-encode credentials in another way than the variable.
            loader.secrets.extend(secrets::url_secrets(url.as_str()));
            Some(url)
        }
        Err(ValueError { message, help }) => {
            let message = format!("the environment variable `{name}` names no proxy: {message}");
            loader.error(span, &message, help);
            None
        }
    }
}

fn check_proxy_url(url: Url) -> Result<Url, ValueError> {
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let help = "expected `http://[user:password@]host[:port]`";
        return refuse("the URL of a proxy has neither path nor query", help);
    }
    Ok(url)
}

/// The hosts that are called without a proxy; all of them without a matcher.
struct ExcludedHosts(Option<Matcher>);

impl ExcludedHosts {
    /// The hosts of a list like that of `no_proxy`: names with their subdomains, addresses, networks, or `*`.
    fn new(list: &str) -> Self {
        let entries = list.split([',', ' ']);
        // The matcher applies `*` to names only, not to addresses.
        if entries.clone().any(|entry| entry == "*") {
            return Self(None);
        }
        // The matcher has no `*.example.org`, which other programs accept.
        let entries = entries.map(|entry| match entry.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => suffix,
            _ => entry,
        });
        let entries = entries.collect::<Vec<_>>().join(",");
        // The matcher answers whether a proxy applies, so it needs one.
        Self(Some(
            Matcher::builder().all("http://proxy").no(entries).build(),
        ))
    }

    fn contains(&self, url: &Url) -> bool {
        let Some(matcher) = &self.0 else {
            return true;
        };
        let host = url.host_str().unwrap_or_default();
        let uri = format!("http://{}/", host.strip_suffix('.').unwrap_or(host));
        let uri = uri.parse::<Uri>();
        uri.is_ok_and(|uri| matcher.intercept(&uri).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_hosts_are_matched() {
        let list = "Example.org, .lan *.corp.test,localhost,10.1.2.3,192.168.0.0/16,fd00::/8,::1";
        let hosts = ExcludedHosts::new(list);
        let contains = |host: &str| hosts.contains(&format!("http://{host}/").parse().unwrap());
        for excluded in [
            "example.org",
            "example.org.",
            "api.EXAMPLE.org:8080",
            "nas.lan",
            "a.b.corp.test",
            "localhost",
            "10.1.2.3",
            "192.168.7.7",
            "[fd12::1]",
            "[::1]",
        ] {
            assert!(contains(excluded), "{excluded}");
        }
        for proxied in [
            "notexample.org",
            "lanx",
            "10.1.2.4",
            "192.169.0.1",
            "[fc00::1]",
        ] {
            assert!(!contains(proxied), "{proxied}");
        }
        let url = "https://any.test/".parse().unwrap();
        for url in [&url, &"http://192.168.1.5/".parse().unwrap()] {
            assert!(ExcludedHosts::new("*").contains(url));
            assert!(ExcludedHosts::new("lan, *").contains(url));
        }
        assert!(!ExcludedHosts::new("").contains(&url));
    }
}
