//! An SVG badge: a label, a value, and a colour that tells how old it is and whether it is beyond a limit.

use crate::domain::{Freshness, ThresholdLevel};

use super::summary_body::SummaryRow;
use super::value_body::{find_value, plain_text};

/// Maximum characters of each of the two texts.
const MAX_BADGE_CHARS: usize = 48;

/// Mean width of a character of the font, and space beside each text, in pixels.
const CHAR_WIDTH: usize = 7;
const PADDING: usize = 10;

/// Text in place of the value of a missing source.
const MISSING_TEXT: &str = "missing";

/// Returns the image of the value at `path` of a source, or of its absence.
pub(super) fn write_badge(row: Option<&SummaryRow<'_>>, path: &[String], label: &str) -> String {
    let Some(row) = row else {
        let hint = "no source has this name";
        return draw_badge(label, None, Freshness::Missing, None, hint);
    };
    let view = &row.view;
    let json = view
        .reading
        .and_then(|reading| find_value(reading.data.as_json(), path));
    let appearance = row.source_state.source.appearance.value_at(&path.join("."));
    let number = json.and_then(|json| json.parse::<f64>().ok());
    let level = number.and_then(|number| appearance.thresholds.level_of(number));
    let value = json.map(|json| match number {
        Some(_) => appearance.format_number(json),
        None => plain_text(json),
    });
    let hint = match (&view.failure, &value, level) {
        (Some(failure), _, _) => format!("{}: {}", failure.code, failure.message),
        (None, None, _) => "the data has no such path".to_owned(),
        (None, Some(_), Some(level)) => format!("{}, {}", view.freshness.as_str(), level.as_str()),
        (None, Some(_), None) => view.freshness.as_str().to_owned(),
    };
    draw_badge(label, value.as_deref(), view.freshness, level, &hint)
}

/// Returns the image. `hint` is shown under the pointer.
fn draw_badge(
    label: &str,
    value: Option<&str>,
    freshness: Freshness,
    level: Option<ThresholdLevel>,
    hint: &str,
) -> String {
    let colour = match (value, freshness, level) {
        (None, ..) | (_, Freshness::Missing, _) => "#6e7681",
        (_, Freshness::Stale, _) | (_, _, Some(ThresholdLevel::Warn)) => "#9a6700",
        (_, Freshness::Fresh, Some(ThresholdLevel::Crit)) => "#cf222e",
        (_, Freshness::Fresh, None) => "#1a7f37",
    };
    let (label, value) = (shorten(label), shorten(value.unwrap_or(MISSING_TEXT)));
    let (label_width, value_width) = (text_width(&label), text_width(&value));
    let width = label_width + value_width;
    let (label_middle, value_middle) = (label_width / 2, label_width + value_width / 2);
    let (label, value, hint) = (escape_xml(&label), escape_xml(&value), escape_xml(hint));
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}"><title>{hint}</title><clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath><g clip-path="url(#r)"><rect width="{label_width}" height="20" fill="#24292f"/><rect x="{label_width}" width="{value_width}" height="20" fill="{colour}"/></g><g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"><text x="{label_middle}" y="14">{label}</text><text x="{value_middle}" y="14">{value}</text></g></svg>
"##
    )
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_BADGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn text_width(text: &str) -> usize {
    text.chars().count() * CHAR_WIDTH + PADDING
}

/// Escapes `text` for content and attributes. A character that XML cannot hold (XML 1.0 §2.2) becomes
/// a replacement character.
fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let attack = "\"><script>alert('1')</script>&\u{0}\u{ffff}";
        let svg = draw_badge(attack, Some(attack), Freshness::Fresh, None, attack);
        assert!(!svg.contains("<script") && !svg.contains('\u{0}'), "{svg}");
        let escaped =
            "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\u{fffd}\u{fffd}";
        assert_eq!(svg.matches(escaped).count(), 5, "{svg}");
        assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    }

    #[test]
    fn colour_tells_freshness_and_level() {
        let badge = |value, freshness| draw_badge("a", value, freshness, None, "");
        let fresh = badge(Some("1"), Freshness::Fresh);
        let stale = badge(Some("1"), Freshness::Stale);
        let missing = badge(None, Freshness::Missing);
        assert!(fresh.contains("#1a7f37") && stale.contains("#9a6700"));
        assert!(missing.contains("#6e7681") && missing.contains(">missing<"));
        let long = "é".repeat(1000);
        assert!(draw_badge(&long, Some(&long), Freshness::Fresh, None, "").len() < 2000);
        let level = |freshness, level| draw_badge("a", Some("1"), freshness, Some(level), "");
        assert!(level(Freshness::Fresh, ThresholdLevel::Warn).contains("#9a6700"));
        assert!(level(Freshness::Fresh, ThresholdLevel::Crit).contains("#cf222e"));
        assert!(level(Freshness::Stale, ThresholdLevel::Crit).contains("#9a6700"));
    }
}
