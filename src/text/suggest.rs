//! The nearest of the names that there are.

use percent_encoding::percent_decode_str;
use strsim::osa_distance;

/// Texts longer than this are not compared; nobody means a name by them.
const MAX_TEXT_BYTES: usize = 100;

/// The candidate that `text` probably stands for: near enough that most of it is right.
pub(crate) fn find_nearest<'c>(
    text: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let scored = candidates
        .into_iter()
        .map(|candidate| (osa_distance(&lower, candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= (candidate.len() / 3).max(1)).then_some(candidate)
}

/// The route that a path probably stands for: equal once it is decoded, lower-cased and its dots and doubled slashes are
/// resolved, or else the nearest one.
pub(crate) fn find_nearest_path<'c>(
    path: &str,
    routes: impl IntoIterator<Item = &'c str> + Clone,
) -> Option<&'c str> {
    if path.len() > MAX_TEXT_BYTES {
        return None;
    }
    let plain = normalize_path(path);
    routes
        .clone()
        .into_iter()
        .find(|route| *route == plain)
        .or_else(|| find_nearest(&plain, routes))
}

fn normalize_path(path: &str) -> String {
    let decoded = percent_decode_str(path)
        .decode_utf8_lossy()
        .to_ascii_lowercase();
    let mut parts: Vec<&str> = Vec::new();
    for part in decoded.trim_end_matches('\0').split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [&str; 3] = ["/", "/resumen", "/salud/listo"];

    #[test]
    fn misspelt_path_finds_route() {
        let spellings = [
            "/resumen/",
            "//resumen",
            "/./resumen",
            "/x/../resumen",
            "/%72esumen",
            "/resumen%00",
            "/RESUMEN",
        ];
        for path in spellings.into_iter().chain(["/resume", "/resumén"]) {
            assert_eq!(find_nearest_path(path, ROUTES), Some("/resumen"), "{path}");
        }
        assert_eq!(find_nearest_path("/salud/ready", ROUTES), None);
        assert_eq!(find_nearest_path("/favicon.ico", ROUTES), None);
        assert_eq!(find_nearest_path(&"/x".repeat(5000), ROUTES), None);
    }

    #[test]
    fn distant_name_is_not_suggested() {
        assert_eq!(find_nearest("Fresh", ["fresh", "timeout"]), Some("fresh"));
        assert_eq!(
            find_nearest("tiemout", ["fresh", "timeout"]),
            Some("timeout")
        );
        assert_eq!(find_nearest("colour", ["fresh", "timeout"]), None);
        assert_eq!(find_nearest("bct", ["btc", "usd"]), Some("btc"));
    }
}
