//! Regular expressions for numbers of seconds, so that the document accepts exactly what the query
//! parser accepts.

use std::time::Duration;

/// Maximum number of digits before the point, and after it.
const MAX_DIGITS: usize = 9;

/// Any number of seconds.
pub(super) const SECONDS_PATTERN: &str = r"^[0-9]{1,9}(\.[0-9]{1,9})?$";

/// Up to `digits` digits of a fraction, not all zero.
fn nonzero_fraction(digits: usize) -> String {
    join_alternatives((0..digits).map(|zeros| {
        format!(
            "{}[1-9]{}",
            "0".repeat(zeros),
            optional_digits(digits - 1 - zeros)
        )
    }))
}

/// Seconds greater than 0 and up to `max`, in every notation that the query parser accepts.
pub(super) fn seconds_up_to(max: Duration) -> String {
    let whole = max.as_secs().min(999_999_999);
    let digits = whole.to_string();
    let fraction = format!("{:09}", max.subsec_nanos());
    let below_one = if whole > 0 {
        nonzero_fraction(MAX_DIGITS)
    } else {
        nonzero_fraction_up_to(&fraction)
    };
    let mut alternatives = vec![format!(r"0{{1,{MAX_DIGITS}}}\.{below_one}")];
    if whole > 1 {
        alternatives.push(format!(
            r"{}(?:\.[0-9]{{1,{MAX_DIGITS}}})?",
            whole_number_below(&digits)
        ));
    }
    if whole > 0 {
        alternatives.push(format!(
            r"{}{digits}(?:\.{})?",
            leading_zeros(digits.len()),
            fraction_up_to(&fraction)
        ));
    }
    format!("^{}$", join_alternatives(alternatives))
}

/// Whole numbers from 1 to `limit` − 1, with leading zeros.
fn whole_number_below(limit: &str) -> String {
    let length = limit.len();
    let shorter = (1..length).map(|n| format!("{}[1-9]{}", leading_zeros(n), exact_digits(n - 1)));
    let same_length = limit.bytes().enumerate().filter_map(|(at, digit)| {
        let lowest = if at == 0 { b'1' } else { b'0' };
        let range = (digit > lowest).then(|| digit_range(lowest, digit - 1))?;
        Some(format!(
            "{}{}{range}{}",
            leading_zeros(length),
            &limit[..at],
            exact_digits(length - at - 1)
        ))
    });
    join_alternatives(shorter.chain(same_length))
}

/// One to nine digits of a fraction that is at most `limit`, which has nine digits.
fn fraction_up_to(limit: &str) -> String {
    let smaller = limit.bytes().enumerate().filter(|(_, digit)| *digit > b'0');
    let smaller = smaller.map(|(at, digit)| {
        format!(
            "{}{}{}",
            &limit[..at],
            digit_range(b'0', digit - 1),
            optional_digits(MAX_DIGITS - 1 - at)
        )
    });
    let prefixes = (1..=MAX_DIGITS).map(|n| limit[..n].to_owned());
    join_alternatives(smaller.chain(prefixes))
}

/// One to nine digits of a fraction that is greater than 0 and at most `limit`, which has nine
/// digits.
fn nonzero_fraction_up_to(limit: &str) -> String {
    let Some(zeros) = limit.find(|digit| digit != '0') else {
        return fraction_up_to(limit);
    };
    let (prefix, first_nonzero) = (&limit[..zeros], limit.as_bytes()[zeros]);
    let mut alternatives = Vec::new();
    if zeros + 1 < MAX_DIGITS {
        alternatives.push(format!(
            "{prefix}0{}",
            nonzero_fraction(MAX_DIGITS - 1 - zeros)
        ));
    }
    if first_nonzero > b'1' {
        alternatives.push(format!(
            "{prefix}{}{}",
            digit_range(b'1', first_nonzero - 1),
            optional_digits(MAX_DIGITS - 1 - zeros)
        ));
    }
    let later = limit
        .bytes()
        .enumerate()
        .skip(zeros + 1)
        .filter(|(_, digit)| *digit > b'0');
    alternatives.extend(later.map(|(at, digit)| {
        format!(
            "{}{}{}",
            &limit[..at],
            digit_range(b'0', digit - 1),
            optional_digits(MAX_DIGITS - 1 - at)
        )
    }));
    alternatives.extend((zeros + 1..=MAX_DIGITS).map(|n| limit[..n].to_owned()));
    join_alternatives(alternatives)
}

/// The leading zeros that a number of `digits` digits may have.
fn leading_zeros(digits: usize) -> String {
    match MAX_DIGITS - digits {
        0 => String::new(),
        zeros => format!("0{{0,{zeros}}}"),
    }
}

fn digit_range(from: u8, to: u8) -> String {
    if from == to {
        char::from(from).to_string()
    } else {
        format!("[{}-{}]", char::from(from), char::from(to))
    }
}

fn exact_digits(digits: usize) -> String {
    if digits == 0 {
        String::new()
    } else {
        format!("[0-9]{{{digits}}}")
    }
}

fn optional_digits(digits: usize) -> String {
    if digits == 0 {
        String::new()
    } else {
        format!("[0-9]{{0,{digits}}}")
    }
}

fn join_alternatives(alternatives: impl IntoIterator<Item = String>) -> String {
    format!(
        "(?:{})",
        alternatives.into_iter().collect::<Vec<_>>().join("|")
    )
}
