//! Suggestions: the known name nearest to a text.

use percent_encoding::percent_decode_str;
use strsim::osa_distance;

/// Longer texts are not compared: the cost grows with the length, and no name is that long.
const MAX_TEXT_BYTES: usize = 100;

/// The candidate with the least edit distance to `text`, letter case ignored. `None` if more than a third of the
/// characters differ.
pub(crate) fn find_nearest<'c>(
    text: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let text = text.to_lowercase();
    let scored = candidates
        .into_iter()
        .map(|candidate| (osa_distance(&text, &candidate.to_lowercase()), candidate));
    let (distance, nearest) = scored.min_by_key(|(distance, _)| *distance)?;
    let longest = text.chars().count().max(nearest.chars().count());
    (distance * 3 <= longest).then_some(nearest)
}

/// The route nearest to `path`. A route that equals the decoded, lower-case path without dot segments and empty
/// segments wins over the edit distance.
pub(crate) fn find_nearest_path<'c>(
    path: &str,
    routes: impl IntoIterator<Item = &'c str> + Clone,
) -> Option<&'c str> {
    if path.len() > MAX_TEXT_BYTES {
        return None;
    }
    let path = normalize_path(path);
    let mut equal = routes.clone().into_iter().filter(|route| *route == path);
    equal.next().or_else(|| find_nearest(&path, routes))
}

fn normalize_path(path: &str) -> String {
    let decoded = percent_decode_str(path)
        .decode_utf8_lossy()
        .to_ascii_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.trim_end_matches('\0').split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
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
        let names = ["fresh", "timeout"];
        assert_eq!(find_nearest("Fresh", names), Some("fresh"));
        assert_eq!(find_nearest("tiemout", names), Some("timeout"));
        assert_eq!(find_nearest("colour", names), None);
        assert_eq!(find_nearest("bct", ["btc", "usd"]), Some("btc"));
        assert_eq!(find_nearest("get", ["GET", "POST"]), Some("GET"));
    }
}
