//! Regular expressions for numbers of seconds, so that the document says exactly what is accepted.

use std::time::Duration;

/// Digits before the point, and after it.
const DIGITS: usize = 9;

/// Any number of seconds.
pub(super) const SECONDS: &str = r"^[0-9]{1,9}(\.[0-9]{1,9})?$";

/// At most so many digits of a fraction, not all of them zero.
fn some_fraction(digits: usize) -> String {
    group(
        (0..digits).map(|zeros| format!("{}[1-9]{}", "0".repeat(zeros), up_to(digits - 1 - zeros))),
    )
}

/// Seconds from just above 0 to `max`, in every way in which the number may be written.
pub(super) fn seconds_up_to(max: Duration) -> String {
    let whole = max.as_secs().min(999_999_999);
    let digits = whole.to_string();
    let fraction = format!("{:09}", max.subsec_nanos());
    let below_one = if whole > 0 {
        some_fraction(DIGITS)
    } else {
        some_fraction_up_to(&fraction)
    };
    let mut ways = vec![format!(r"0{{1,{DIGITS}}}\.{below_one}")];
    if whole > 1 {
        ways.push(format!(
            r"{}(?:\.[0-9]{{1,{DIGITS}}})?",
            whole_below(&digits)
        ));
    }
    if whole > 0 {
        ways.push(format!(
            r"{}{digits}(?:\.{})?",
            zeros_before(digits.len()),
            fraction_up_to(&fraction)
        ));
    }
    format!("^{}$", group(ways))
}

/// Whole numbers from 1 to one less than this, with zeros before them.
fn whole_below(limit: &str) -> String {
    let length = limit.len();
    let shorter = (1..length).map(|n| format!("{}[1-9]{}", zeros_before(n), exactly(n - 1)));
    let same = limit.bytes().enumerate().filter_map(|(at, digit)| {
        let lowest = if at == 0 { b'1' } else { b'0' };
        let range = (digit > lowest).then(|| range(lowest, digit - 1))?;
        Some(format!(
            "{}{}{range}{}",
            zeros_before(length),
            &limit[..at],
            exactly(length - at - 1)
        ))
    });
    group(shorter.chain(same))
}

/// One to nine digits that, after a point, are at most these nine.
fn fraction_up_to(limit: &str) -> String {
    let smaller = limit.bytes().enumerate().filter(|(_, digit)| *digit > b'0');
    let smaller = smaller.map(|(at, digit)| {
        format!(
            "{}{}{}",
            &limit[..at],
            range(b'0', digit - 1),
            up_to(DIGITS - 1 - at)
        )
    });
    let beginnings = (1..=DIGITS).map(|n| limit[..n].to_owned());
    group(smaller.chain(beginnings))
}

/// The same, not all of them zero.
fn some_fraction_up_to(limit: &str) -> String {
    let Some(zeros) = limit.find(|digit| digit != '0') else {
        return fraction_up_to(limit);
    };
    let (before, first) = (&limit[..zeros], limit.as_bytes()[zeros]);
    let mut ways = Vec::new();
    if zeros + 1 < DIGITS {
        ways.push(format!("{before}0{}", some_fraction(DIGITS - 1 - zeros)));
    }
    if first > b'1' {
        ways.push(format!(
            "{before}{}{}",
            range(b'1', first - 1),
            up_to(DIGITS - 1 - zeros)
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
            range(b'0', digit - 1),
            up_to(DIGITS - 1 - at)
        )
    }));
    ways.extend((zeros + 1..=DIGITS).map(|n| limit[..n].to_owned()));
    group(ways)
}

/// The zeros that may stand before so many digits.
fn zeros_before(digits: usize) -> String {
    match DIGITS - digits {
        0 => String::new(),
        zeros => format!("0{{0,{zeros}}}"),
    }
}

fn range(from: u8, to: u8) -> String {
    if from == to {
        char::from(from).to_string()
    } else {
        format!("[{}-{}]", char::from(from), char::from(to))
    }
}

fn exactly(digits: usize) -> String {
    if digits == 0 {
        String::new()
    } else {
        format!("[0-9]{{{digits}}}")
    }
}

fn up_to(digits: usize) -> String {
    if digits == 0 {
        String::new()
    } else {
        format!("[0-9]{{0,{digits}}}")
    }
}

fn group(ways: impl IntoIterator<Item = String>) -> String {
    format!("(?:{})", ways.into_iter().collect::<Vec<_>>().join("|"))
}
