//! The digits of the numbers in JSON.

use super::json_depth::end_of_string;

/// The most digits of a number in data. Python reads no integer of more than 4,300 digits, and most readers take
/// time that grows with the square of the digits.
pub(crate) const MAX_DIGITS: usize = 4000;

/// Whether a number in `json`, which must be valid JSON, has more than [`MAX_DIGITS`] digits, its fraction and
/// exponent included.
pub(crate) fn has_long_number(json: &[u8]) -> bool {
    let mut at = 0;
    let mut digits = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(json, at + 1);
                digits = 0;
            }
            b'0'..=b'9' => digits += 1,
            b'+' | b'-' | b'.' | b'e' | b'E' => {}
            _ => digits = 0,
        }
        if digits > MAX_DIGITS {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_found() {
        let (most, more) = ("7".repeat(MAX_DIGITS), "7".repeat(MAX_DIGITS + 1));
        let half = "7".repeat(MAX_DIGITS / 2);
        for (json, expected) in [
            (most.clone(), false),
            (format!("-{most}"), false),
            (more.clone(), true),
            (format!("[{{\"a\":[true,-{more}]}}]"), true),
            (format!("[{half},{half},{half}]"), false),
            (format!("{{\"{more}\":\"{more}\\\"{more}\"}}"), false),
            (format!("{half}.{half}e1"), true),
            (format!("1e{more}"), true),
            ("1e999999".to_owned(), false),
        ] {
            assert_eq!(has_long_number(json.as_bytes()), expected);
        }
    }
}
