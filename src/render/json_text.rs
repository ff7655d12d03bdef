//! Parts of JSON text: times, strings and numbers.

use std::io::Write;
use std::time::Duration;

/// Writes `text` as a JSON string, quotes included.
pub(super) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a `Vec` cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Writes a JSON number of milliseconds with three decimals.
pub(super) fn write_millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = duration.as_micros();
    let _ = write!(out, "{}.{:03}", micros / 1000, micros % 1000);
}

/// Writes a JSON number of seconds with at least one decimal.
pub(super) fn write_seconds(out: &mut Vec<u8>, duration: Duration) {
    let _ = write!(out, "{:?}", duration.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_json_numbers() {
        let mut out = Vec::new();
        write_millis(&mut out, Duration::from_micros(84_213));
        out.push(b' ');
        write_seconds(&mut out, Duration::from_secs(4));
        assert_eq!(String::from_utf8(out).unwrap(), "84.213 4.0");
    }
}
