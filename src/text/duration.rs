//! Spans of time in messages.

use std::time::Duration;

/// A span as people write it: `250 ms`, `1.5 s`, `4 s`.
pub fn format_duration(span: Duration) -> String {
    let micros = span.as_micros();
    if micros < 1_000_000 {
        return format!("{} ms", format_decimal(micros, 1_000));
    }
    format!("{} s", format_decimal(span.as_millis(), 1_000))
}

fn format_decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:03}").trim_end_matches('0').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_human_readable() {
        let texts = [
            0, 500, 50_000, 250_000, 1_000_000, 1_500_000, 4_000_000, 90_001_000,
        ]
        .map(|micros| format_duration(Duration::from_micros(micros)));
        assert_eq!(
            texts,
            [
                "0 ms", "0.5 ms", "50 ms", "250 ms", "1 s", "1.5 s", "4 s", "90.001 s"
            ]
        );
    }
}
