//! Numbers, switches and durations as Go's standard library reads them, since the contract's
//! values were written for it.
//!
//! Source: spec/queue-proxy.md §1; the grammar of durations is that of Go's `time.ParseDuration`.

use std::time::Duration;

/// A whole number: a sign, then decimal or `0x`, `0o`, `0b` or a leading `0` (octal); `_` may
/// stand between digits, and after the prefix.
pub fn int(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, after_prefix(unsigned.get(2..)?)),
        [b'0', b'o' | b'O', ..] => (8, after_prefix(unsigned.get(2..)?)),
        [b'0', b'b' | b'B', ..] => (2, after_prefix(unsigned.get(2..)?)),
        [b'0', _, ..] => (8, after_prefix(unsigned.get(1..)?)),
        _ => (10, unsigned),
    };
    if digits.is_empty() || digits.split('_').any(str::is_empty) {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits.chars().filter(|c| *c != '_') {
        let digit = i64::from(digit.to_digit(radix)?);
        // Built on the side of the sign, so that the smallest number fits.
        let signed = if negative { -digit } else { digit };
        value = value.checked_mul(i64::from(radix))?.checked_add(signed)?;
    }
    Some(value)
}

fn after_prefix(digits: &str) -> &str {
    digits.strip_prefix('_').unwrap_or(digits)
}

/// A switch: `1 t T TRUE true True` or `0 f F FALSE false False`, and nothing else.
pub fn bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A duration such as `300ms`, `1h2m` or `1.5s`; a bare number is only allowed to be `0`.
///
/// Unlike Go's, it is never below zero; like Go's, it is whole nanoseconds, at most 2⁶³ − 1.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, tail) = rest.split_at(number_end?);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(unit_end.unwrap_or(tail.len()));
        total = total.checked_add(nanos(number, unit_nanos(unit)?)?)?;
        rest = tail;
    }
    i64::try_from(total).ok()?;
    Some(Duration::from_nanos(total))
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter look alike; both are accepted.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits, perhaps with one point) times `unit`; what is below a nanosecond is cut off.
fn nanos(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // No unit has more than 13 digits, so digits beyond the 18th are far below a nanosecond.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let mut below: u128 = 0;
    let mut scale: u128 = 1;
    for digit in fraction.bytes() {
        below = below * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    let below = u64::try_from(below * u128::from(unit) / scale).ok()?;
    whole.checked_mul(unit)?.checked_add(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers() {
        let table = [
            ("0", Some(0)),
            ("10", Some(10)),
            ("1000", Some(1000)),
            ("+7", Some(7)),
            ("-5", Some(-5)),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("-0x10", Some(-16)),
            ("0o17", Some(15)),
            ("0O17", Some(15)),
            ("0b101", Some(5)),
            ("017", Some(15)),
            ("00", Some(0)),
            ("-0", Some(0)),
            ("1_000", Some(1000)),
            ("0x_1_0", Some(16)),
            ("0_17", Some(15)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("", None),
            ("+", None),
            ("-", None),
            ("--1", None),
            ("+-1", None),
            ("abc", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
            ("1e3", None),
            ("0x", None),
            ("0b2", None),
            ("08", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("0x__1", None),
            ("0_", None),
            ("0x-1", None),
            ("١", None),
        ];
        for (text, want) in table {
            assert_eq!(int(text), want, "{text:?}");
        }
    }

    #[test]
    fn switches() {
        for yes in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(bool(yes), Some(true), "{yes:?}");
        }
        for no in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(bool(no), Some(false), "{no:?}");
        }
        for other in ["", "yes", "no", "on", "tRUE", "2", " true", "true\n"] {
            assert_eq!(bool(other), None, "{other:?}");
        }
    }

    #[test]
    fn durations() {
        let nanos = Duration::from_nanos;
        let table = [
            ("0", Some(Duration::ZERO)),
            ("+0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("300ms", Some(Duration::from_millis(300))),
            ("1h2m", Some(Duration::from_secs(3720))),
            ("1h2m3s4ms5us6ns", Some(nanos(3_723_004_005_006))),
            ("1.5s", Some(Duration::from_millis(1500))),
            (".5s", Some(Duration::from_millis(500))),
            ("1.s", Some(Duration::from_secs(1))),
            ("+1s", Some(Duration::from_secs(1))),
            ("7\u{b5}s", Some(Duration::from_micros(7))),
            ("7\u{3bc}s", Some(Duration::from_micros(7))),
            ("2s1h", Some(Duration::from_secs(3602))),
            ("0.9999999999999999999999s", Some(nanos(999_999_999))),
            ("0.3ns", Some(Duration::ZERO)),
            (
                "9223372036854775807ns",
                Some(nanos(9_223_372_036_854_775_807)),
            ),
            ("9223372036854775808ns", None),
            ("2562048h", None),
            ("99999999999999999999h", None),
            ("", None),
            ("3", None),
            ("-1s", None),
            ("s", None),
            (".s", None),
            ("1..5s", None),
            ("1d", None),
            ("1 s", None),
            ("1s ", None),
            ("1S", None),
            ("1s2", None),
            ("+", None),
        ];
        for (text, want) in table {
            assert_eq!(duration(text), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_read_back_in_every_base(n: i64) {
            let (sign, digits) = (if n < 0 { "-" } else { "" }, n.unsigned_abs());
            prop_assert_eq!(int(&n.to_string()), Some(n));
            prop_assert_eq!(int(&format!("{sign}0x{digits:x}")), Some(n));
            prop_assert_eq!(int(&format!("{sign}0o{digits:o}")), Some(n));
            prop_assert_eq!(int(&format!("{sign}0b{digits:b}")), Some(n));
            prop_assert_eq!(int(&format!("{sign}0{digits:o}")), Some(n));
        }

        #[test]
        fn durations_are_read_back(h in 0_u64..1000, m in 0_u64..60, ns in 0_u64..60_000_000_000) {
            let want = Duration::from_secs(h * 3600 + m * 60) + Duration::from_nanos(ns);
            prop_assert_eq!(duration(&format!("{h}h{m}m{ns}ns")), Some(want));
            let (s, below) = (ns / 1_000_000_000, ns % 1_000_000_000);
            prop_assert_eq!(duration(&format!("{h}h{m}m{s}.{below:09}s")), Some(want));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[-+0-9._nuµmsh]*|[-+0-9_xXobBfF]*") {
            let _ = (int(&text), bool(&text), duration(&text));
        }
    }
}
