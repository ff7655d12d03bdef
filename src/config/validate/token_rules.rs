//! `[server.tokens.NAME]`

use crate::config::access_settings::{AccessGroup, AccessToken, TokenDigest};
use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;

use super::name_rules::validate_name;

/// A shorter token could be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

const MAX_TOKEN_LENGTH: usize = 512;

const TOKEN_HELP: &str =
    "expected 16 to 512 visible ASCII characters, such as the output of `openssl rand -hex 32`";

/// The valid tokens in the order of the file.
pub(super) fn validate_tokens(server: &Table, loader: &mut ConfigLoader<'_>) -> Vec<AccessToken> {
    let mut tokens: Vec<AccessToken> = Vec::new();
    for table in server.tables("tokens") {
        let Some(token) = validate_token(table, loader) else {
            continue;
        };
        let same = tokens.iter().find(|known| known.digest == token.digest);
        if let Some(same) = same {
            let message = format!(
                "the token of {} is that of `{}`, too",
                table.name, same.name
            );
            let span = table.span_of("token").unwrap_or(&table.span);
            loader.error(span, &message, "expected a token of its own");
            continue;
        }
        tokens.push(token);
    }
    tokens
}

fn validate_token(table: &Table, loader: &mut ConfigLoader<'_>) -> Option<AccessToken> {
    let name = validate_name(&table.name, "token", loader);
    for (key, help) in [
        ("token", TOKEN_HELP),
        (
            "routes",
            "expected what it grants, such as `routes = [\"data\"]`",
        ),
    ] {
        if !table.has(key) {
            let message = format!("token {} has no `{key}`", table.name);
            loader.missing(&table.span, &message, help);
        }
    }
    let text = table.text("token");
    if let Some(text) = text {
        loader.secrets.push(text.value.clone());
    }
    let text = text.and_then(|text| loader.check(text, check_token(text)));
    let names = table.text_list("routes")?;
    if let Some(span) = table.span_of("routes").filter(|_| names.is_empty()) {
        let message = format!("`routes` of token {} grants nothing", table.name);
        loader.error(
            span,
            &message,
            "expected `data`, `live`, `stream`, `panel` or `admin`",
        );
    }
    let is_named = |group: &&AccessGroup| names.iter().any(|name| name.value == group.name());
    Some(AccessToken {
        name: name?.to_string(),
        digest: text?,
        groups: AccessGroup::ALL.iter().filter(is_named).copied().collect(),
    })
}

fn check_token(text: &SpannedStr) -> Result<TokenDigest, ValueError> {
    let token = text.value.as_bytes();
    // The message does not repeat the token.
    if !token.iter().all(u8::is_ascii_graphic) {
        return refuse(
            "the token has a space or a character that headers cannot carry",
            TOKEN_HELP,
        );
    }
    if !(MIN_TOKEN_LENGTH..=MAX_TOKEN_LENGTH).contains(&token.len()) {
        return refuse(
            format!("the token has {} characters", token.len()),
            TOKEN_HELP,
        );
    }
    Ok(TokenDigest::of(token))
}
