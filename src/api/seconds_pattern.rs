//! The regular expression of `timeout` in `/openapi.json`, which accepts exactly what the query
//! parser accepts.

use std::time::Duration;

/// Maximum number of digits before the point, and after it.
const MAX_DIGITS: usize = 9;

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
    // Below 1.
    let mut alternatives = vec![format!(r"0{{1,{MAX_DIGITS}}}\.{below_one}")];
    // From 1 to below the whole part of `max`, with any fraction.
    if whole > 1 {
        alternatives.push(format!(
            r"{}(?:\.[0-9]{{1,{MAX_DIGITS}}})?",
            whole_number_below(&digits)
        ));
    }
    // Exactly the whole part of `max`, with a fraction up to that of `max`.
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
    // Numbers with fewer digits, then those that share `index` digits with the limit and have a
    // smaller digit after them.
    let shorter = (1..length).map(|n| format!("{}[1-9]{}", leading_zeros(n), exact_digits(n - 1)));
    let same_length = limit.bytes().enumerate().filter_map(|(index, digit)| {
        let lowest = if index == 0 { b'1' } else { b'0' };
        let range = (digit > lowest).then(|| digit_range(lowest, digit - 1))?;
        Some(format!(
            "{}{}{range}{}",
            leading_zeros(length),
            &limit[..index],
            exact_digits(length - index - 1)
        ))
    });
    join_alternatives(shorter.chain(same_length))
}

/// One to nine digits of a fraction that is at most `limit`, which has nine digits.
fn fraction_up_to(limit: &str) -> String {
    let nonzero = limit.bytes().enumerate().filter(|(_, digit)| *digit > b'0');
    let smaller = nonzero.map(|(index, digit)| {
        format!(
            "{}{}{}",
            &limit[..index],
            digit_range(b'0', digit - 1),
            optional_digits(MAX_DIGITS - 1 - index)
        )
    });
    // A prefix of the limit is not larger than the limit.
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
    alternatives.extend(later.map(|(index, digit)| {
        format!(
            "{}{}{}",
            &limit[..index],
            digit_range(b'0', digit - 1),
            optional_digits(MAX_DIGITS - 1 - index)
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
