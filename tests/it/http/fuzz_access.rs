//! Who may request what, as the oracle knows it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use resumen::config::AccessGroup::{self, Admin, Data, Live, Panel, Stream};

use super::fuzz_parser::ParsedRequestHead;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A token of the server: its text, and what it grants.
pub type OracleToken = (&'static str, &'static [AccessGroup]);

/// What a client sends for each of the kinds of token: one that grants everything, ones that grant a part,
/// wrong ones, cut ones and longer ones.
pub const AUTHORIZATION_FIELDS: [&str; 14] = [
    "Authorization: Bearer every-0123456789abcdef",
    "authorization: bearer   every-0123456789abcdef ",
    "Authorization: Basic eDpldmVyeS0wMTIzNDU2Nzg5YWJjZGVm",
    "Authorization: Bearer data-0123456789abcdef",
    "Authorization: BASIC OmRhdGEtMDEyMzQ1Njc4OWFiY2RlZg",
    "Authorization: Bearer ops-0123456789abcdef",
    "Authorization: Bearer every-0123456789abcdee",
    "Authorization: Bearer every-0123456789abcde",
    "Authorization: Bearer every-0123456789abcdef0",
    "Authorization: Bearer e",
    "Authorization: Bearer",
    "Authorization:",
    "Authorization: Basic ZXZlcnktMDEyMzQ1Njc4OWFiY2RlZg==",
    "Proxy-Authorization: Bearer every-0123456789abcdef",
];

/// The tokens of a server for [`AUTHORIZATION_FIELDS`].
pub const ORACLE_TOKENS: [OracleToken; 3] = [
    ("every-0123456789abcdef", AccessGroup::ALL),
    ("data-0123456789abcdef", &[Data]),
    ("ops-0123456789abcdef", &[Admin]),
];

/// The groups that grant a path; `None` for everyone.
pub fn groups_of_path(path: &str) -> Option<&'static [AccessGroup]> {
    Some(match path {
        "/salud" | "/salud/listo" | "/healthz" | "/readyz" => return None,
        "/resumen" => &[Data, Panel, Live],
        "/resumen/stream" => &[Stream, Panel],
        "/salud/fuentes" => &[Admin, Panel],
        "/metrics" | "/openapi.json" => &[Admin],
        "/" | "/panel/history.json" => &[Panel],
        // The prefix alone is no route, but is treated like the paths below it.
        _ if path.starts_with("/valor/") => &[Data, Live],
        _ if path.starts_with("/insignia/") => &[Data],
        _ if path.starts_with("/panel/")
            && path.split('/').filter(|part| !part.is_empty()).count() == 3 =>
        {
            &[Panel]
        }
        _ => AccessGroup::ALL,
    })
}

/// The status and code of a request that has no token for one of `groups`.
pub fn find_refusal(
    head: &ParsedRequestHead,
    tokens: &[OracleToken],
    groups: Option<&[AccessGroup]>,
) -> Option<(u16, &'static str)> {
    let groups = groups.filter(|_| !tokens.is_empty())?;
    let values: Vec<&[u8]> = head.values("authorization").collect();
    let presented = match &values[..] {
        [one] => read_credentials(one),
        _ => None,
    };
    let found = presented.and_then(|text| tokens.iter().find(|known| known.0.as_bytes() == text));
    let Some((_, granted)) = found else {
        return Some((401, "unauthorized"));
    };
    let is_granted = granted.iter().any(|group| groups.contains(group));
    (!is_granted).then_some((403, "forbidden"))
}

/// The token in the value of `Authorization`.
fn read_credentials(value: &[u8]) -> Option<Vec<u8>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let credentials = value[space..].trim_ascii();
    match &*value[..space].to_ascii_lowercase() {
        b"bearer" => Some(credentials.to_vec()),
        b"basic" => {
            let pair = BASE64.decode(credentials).ok()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            Some(pair[colon + 1..].to_vec())
        }
        _ => None,
    }
}
