//! Regular expressions for numbers of seconds, so that the document says exactly what is accepted.

use std::time::Duration;

/// Digits before the point, and after it.
const MAX_DIGITS: usize = 9;

/// Any number of seconds.
pub(crate) const SECONDS_PATTERN: &str = r"^[0-9]{1,9}(\.[0-9]{1,9})?$";

/// At most so many digits of a fraction, not all of them zero.
fn nonzero_fraction(digits: usize) -> String {
    join_alternatives((0..digits).map(|zeros| {
        format!(
            "{}[1-9]{}",
            "0".repeat(zeros),
            optional_digits(digits - 1 - zeros)
        )
    }))
}

/// Seconds from just above 0 to `max`, in every way in which the number may be written.
pub(crate) fn seconds_up_to(max: Duration) -> String {
    let whole = max.as_secs().min(999_999_999);
    let digits = whole.to_string();
    let fraction = format!("{:09}", max.subsec_nanos());
    let below_one = if whole > 0 {
        nonzero_fraction(MAX_DIGITS)
    } else {
        nonzero_fraction_up_to(&fraction)
    };
    let mut ways = vec![format!(r"0{{1,{MAX_DIGITS}}}\.{below_one}")];
    if whole > 1 {
        ways.push(format!(
            r"{}(?:\.[0-9]{{1,{MAX_DIGITS}}})?",
            whole_number_below(&digits)
        ));
    }
    if whole > 0 {
        ways.push(format!(
            r"{}{digits}(?:\.{})?",
            leading_zeros(digits.len()),
            fraction_up_to(&fraction)
        ));
    }
    format!("^{}$", join_alternatives(ways))
}

/// Whole numbers from 1 to one less than this, with zeros before them.
fn whole_number_below(limit: &str) -> String {
    let length = limit.len();
    let shorter = (1..length).map(|n| format!("{}[1-9]{}", leading_zeros(n), exact_digits(n - 1)));
    let same = limit.bytes().enumerate().filter_map(|(at, digit)| {
        let lowest = if at == 0 { b'1' } else { b'0' };
        let range = (digit > lowest).then(|| digit_range(lowest, digit - 1))?;
        Some(format!(
            "{}{}{range}{}",
            leading_zeros(length),
            &limit[..at],
            exact_digits(length - at - 1)
        ))
    });
    join_alternatives(shorter.chain(same))
}

/// One to nine digits that, after a point, are at most these nine.
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
    let beginnings = (1..=MAX_DIGITS).map(|n| limit[..n].to_owned());
    join_alternatives(smaller.chain(beginnings))
}

/// The same, not all of them zero.
fn nonzero_fraction_up_to(limit: &str) -> String {
    let Some(zeros) = limit.find(|digit| digit != '0') else {
        return fraction_up_to(limit);
    };
    let (before, first) = (&limit[..zeros], limit.as_bytes()[zeros]);
    let mut ways = Vec::new();
    if zeros + 1 < MAX_DIGITS {
        ways.push(format!(
            "{before}0{}",
            nonzero_fraction(MAX_DIGITS - 1 - zeros)
        ));
    }
    if first > b'1' {
        ways.push(format!(
            "{before}{}{}",
            digit_range(b'1', first - 1),
            optional_digits(MAX_DIGITS - 1 - zeros)
        ));
    }
    let later = limit
        .bytes()
        .enumerate()
        .skip(zeros + 1)
        .filter(|(_, digit)| *digit > b'0');
    ways.extend(later.map(|(at, digit)| {
        format!(
            "{}{}{}",
            &limit[..at],
            digit_range(b'0', digit - 1),
            optional_digits(MAX_DIGITS - 1 - at)
        )
    }));
    ways.extend((zeros + 1..=MAX_DIGITS).map(|n| limit[..n].to_owned()));
    join_alternatives(ways)
}

/// The zeros that may stand before so many digits.
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

fn join_alternatives(ways: impl IntoIterator<Item = String>) -> String {
    format!("(?:{})", ways.into_iter().collect::<Vec<_>>().join("|"))
}
