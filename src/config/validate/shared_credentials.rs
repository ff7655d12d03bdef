//! Warnings about credentials of one table that go to several hosts.

use std::collections::BTreeSet;

use crate::config::loader::ConfigLoader;
use crate::config::secrets::names_credential;
use crate::config::span::{Span, SpannedStr};
use crate::config::table::Table;
use crate::domain::{ProviderRequest, RequestBody, RequestField};

use super::request_rules::RequestParts;

/// Maximum number of hosts in a message.
const MAX_LISTED_HOSTS: usize = 3;

/// Adds a warning for each credential of `table` that more than one host gets. `parts` are those of the table alone,
/// `requests` those of all providers that inherit from it.
pub(super) fn warn_shared_credentials(
    table: &Table,
    owner: &str,
    parts: &RequestParts,
    requests: &[&ProviderRequest],
    loader: &mut ConfigLoader<'_>,
) {
    let mut warn = |span: &Span, what: &str, sends: &dyn Fn(&ProviderRequest) -> bool| {
        let receivers = requests.iter().filter(|request| sends(request));
        let hosts: BTreeSet<&str> = receivers
            .filter_map(|request| request.url.host_str())
            .collect();
        if hosts.len() > 1 {
            let message = format!("{what} of {owner} goes to {}", list_hosts(&hosts));
            let help = "write it into the sources or providers whose hosts may know it";
            loader.warning(span, &message, help);
        }
    };
    let [username, password] = ["username", "password"].map(|key| table.text(key));
    if let Some(text) = password.or(username).filter(|text| !text.value.is_empty()) {
        let is_same = |text: Option<&SpannedStr>, sent: &str| {
            text.is_none_or(|text| text.value.as_str() == sent)
        };
        let what = if password.is_some() {
            "the `password`"
        } else {
            "the `username`"
        };
        warn(&text.span, what, &|request| {
            request.credentials.as_ref().is_some_and(|sent| {
                is_same(username, &sent.username) && is_same(password, &sent.password)
            })
        });
    }
    if let Some(auth) = parts.auth() {
        warn(&auth.span, "the token of the `auth`", &|request| {
            let sent = request.auth.as_ref();
            sent.is_some_and(|sent| sent.as_str() == auth.value)
        });
    }
    for (text, field) in credential_fields(table, "headers", &parts.headers) {
        let what = format!("the header `{}`", field.0);
        warn(&text.span, &what, &|request| {
            request.headers.contains(field)
        });
    }
    for (text, field) in credential_fields(table, "query", &parts.query) {
        let what = format!("`{}` of `query`", field.0);
        warn(&text.span, &what, &|request| request.query.contains(field));
    }
    if let Some(RequestBody::Form(form)) = &parts.body {
        for (text, field) in credential_fields(table, "form", form) {
            let what = format!("`{}` of `form`", field.0);
            warn(
                &text.span,
                &what,
                &|request| matches!(&request.body, Some(RequestBody::Form(form)) if form.contains(field)),
            );
        }
    }
    if let Some(text) = table.text("body").filter(|text| has_secret_reference(text)) {
        warn(&text.span, "the `body`", &|request| {
            request.body == parts.body
        });
    }
    if let Some(text) = table.text("cert_file")
        && let Some(own) = parts.tls.own_client_certificate()
    {
        warn(&text.span, "the client certificate", &|request| {
            request.url.scheme() == "https" && request.tls.client_certificate.as_ref() == Some(own)
        });
    }
}

/// The fields of a table of texts whose values are credentials. `fields` are made of the same texts.
fn credential_fields<'t>(
    table: &'t Table,
    key: &'static str,
    fields: &'t [RequestField],
) -> impl Iterator<Item = (&'t SpannedStr, &'t RequestField)> {
    let texts = table.text_table(key).iter().zip(fields);
    texts
        .filter(|((name, value), _)| names_credential(&name.value) || has_secret_reference(value))
        .map(|((_, value), field)| (value, field))
}

/// Whether a part of the text comes from a variable or a file.
fn has_secret_reference(text: &SpannedStr) -> bool {
    let written = text.original.as_deref().unwrap_or_default();
    let mut references = written.split("${").skip(1);
    references.any(|reference| !reference.starts_with("date"))
}

fn list_hosts(hosts: &BTreeSet<&str>) -> String {
    let listed = hosts.iter().take(MAX_LISTED_HOSTS);
    let listed: Vec<String> = listed.map(|host| format!("`{host}`")).collect();
    let more = match hosts.len().saturating_sub(MAX_LISTED_HOSTS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} hosts: {}{more}", hosts.len(), listed.join(", "))
}
