//! Numbers, truth values and durations as config maps and annotations write them.
//!
//! The grammar is the contract's (spec/autoscaler.md §1), which is wider than Rust's in some
//! places (hexadecimal numbers, `_` between digits) and narrower in others. Nothing is trimmed.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Reads `1 t T TRUE true True` and `0 f F FALSE false False`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a signed 32-bit number in base 10 that is not below 0.
pub(crate) fn count(text: &str) -> Option<u32> {
    text.parse::<i32>().ok()?.try_into().ok()
}

/// Reads a number, unless `wrong` says that it is out of range.
///
/// The ranges are given by what is wrong, because a NaN passes each of them.
pub(crate) fn number_unless(text: &str, wrong: impl FnOnce(f64) -> bool) -> Option<f64> {
    number(text).filter(|&value| !wrong(value))
}

/// Reads a number in `range`, or a NaN.
pub(crate) fn number_within(text: &str, range: RangeInclusive<f64>) -> Option<f64> {
    number_unless(text, |value| value < *range.start() || value > *range.end())
}

/// Reads a number: decimal, with an exponent, hexadecimal (`0x1p4`), `inf`, `nan`, and with `_`
/// between digits. A finite number too large for a double is none.
pub(crate) fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if unsigned.eq_ignore_ascii_case("nan") {
        return (unsigned.len() == text.len()).then_some(f64::NAN);
    }
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    let hexadecimal = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) => hexadecimal_number(&without_underscores(digits, true)?)?,
        None => {
            let digits = without_underscores(unsigned, false)?;
            // A second sign, and the words that Rust would take.
            if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                return None;
            }
            digits.parse().ok()?
        }
    };
    value.is_finite().then_some(sign * value)
}

/// Drops `_`, which has to stand between digits, or after the `0x` that a hexadecimal number
/// had in front.
fn without_underscores(text: &str, hexadecimal: bool) -> Option<String> {
    let is_digit = |c: Option<char>| {
        c.is_some_and(|c| c.is_ascii_digit() || (hexadecimal && c.is_ascii_hexdigit()))
    };
    let mut before = hexadecimal.then_some('0');
    let mut chars = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        if c != '_' {
            plain.push(c);
        } else if !is_digit(before) || !is_digit(chars.peek().copied()) {
            return None;
        }
        before = Some(c);
    }
    Some(plain)
}

/// Reads what follows `0x`: digits, perhaps a point, and a binary exponent, which must be there.
fn hexadecimal_number(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Beyond this any mantissa is zero or too large; it also keeps the sums below in range.
    let mut exponent = exponent
        .parse::<i64>()
        .unwrap_or(if exponent.starts_with('-') { -1 } else { 1 } * 1_000_000)
        .clamp(-1_000_000, 1_000_000);

    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut bits: u64 = 0;
    for (index, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let in_fraction = index >= whole.len();
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
            exponent -= if in_fraction { 4 } else { 0 };
        } else {
            // No room: remember only that something follows, for the rounding.
            bits |= u64::from(digit != 0);
            exponent += if in_fraction { 0 } else { 4 };
        }
    }
    if bits == 0 {
        return Some(0.0);
    }
    // Two steps, so that a small result is reached through numbers that a double can hold.
    let exponent = exponent.clamp(-2_200, 2_200) as i32;
    let half = exponent / 2;
    Some(bits as f64 * 2.0_f64.powi(half) * 2.0_f64.powi(exponent - half))
}

/// Reads a duration that is not below zero.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let nanos = nanoseconds(text)?;
    Some(Duration::from_nanos(nanos.try_into().ok()?))
}

/// Reads a duration in whole seconds that is not below zero.
pub(crate) fn whole_seconds(text: &str) -> Option<Duration> {
    duration(text).filter(|duration| duration.subsec_nanos() == 0)
}

/// Reads `1h2m3.5s`, with a sign if any, or a bare `0`. Parts of a nanosecond are cut off.
fn nanoseconds(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Some(0);
    }
    if unsigned.is_empty() {
        return None;
    }
    let mut rest = unsigned;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        if !whole.is_empty() {
            total = total.checked_add(whole.parse::<u64>().ok()? as u128 * unit)?;
        }
        // 18 digits say more than the longest unit has nanoseconds.
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            let part: u128 = fraction.parse().ok()?;
            total += part * unit / 10_u128.pow(fraction.len() as u32);
        }
        rest = after;
    }
    let total = i64::try_from(total).ok()?;
    Some(if text.starts_with('-') { -total } else { total })
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_contract_writes_them() {
        let table = [
            ("0", Some(0.0)),
            ("+1.5", Some(1.5)),
            ("-.5", Some(-0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1_000.2_5", Some(1000.25)),
            ("0x1p4", Some(16.0)),
            ("-0X1.8p1", Some(-3.0)),
            ("0x_ffp-4", Some(15.9375)),
            ("0x1p-1074", Some(f64::from_bits(1))),
            ("0x10000000000000000p0", Some(18_446_744_073_709_551_616.0)),
            ("0x0p999999999999999999999", Some(0.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e400", None),
            ("0x1p2000", None),
            ("", None),
            ("+", None),
            (".", None),
            ("+-1", None),
            ("--1", None),
            ("+nan", None),
            ("0x1", None),
            ("0xp1", None),
            ("0x1p", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("1_.5", None),
            (" 1", None),
            ("1 ", None),
            ("55%", None),
        ];
        for (text, want) in table {
            assert_eq!(number(text), want, "{text:?}");
        }
        assert!(number("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn durations_are_read_as_the_contract_writes_them() {
        let table = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1ns", Some(1)),
            ("1.5us", Some(1_500)),
            ("1m9s82ms", Some(69_082_000_000)),
            ("+1h", Some(3_600_000_000_000)),
            (".5s", Some(500_000_000)),
            ("-42s", Some(-42_000_000_000)),
            ("0.3333333333333333333333h", Some(1_199_999_999_999)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("9223372036854775808ns", None),
            ("", None),
            ("-", None),
            ("90", None),
            ("1 s", None),
            (" 1s", None),
            ("s", None),
            (".s", None),
            ("1d", None),
            ("1s ", None),
        ];
        for (text, want) in table {
            assert_eq!(nanoseconds(text), want, "{text:?}");
        }
        assert_eq!(duration("-1s"), None);
        assert_eq!(whole_seconds("61984ms"), None);
        assert_eq!(whole_seconds("2000ms"), Some(Duration::from_secs(2)));
    }

    #[test]
    fn counts_have_31_bits_and_truth_values_have_six_spellings() {
        assert_eq!(count("2147483647"), Some(2_147_483_647));
        for text in ["2147483648", "-1", "1.5", "0x1", "1_0", " 1", ""] {
            assert_eq!(count(text), None, "{text:?}");
        }
        assert_eq!(boolean("TRUE"), Some(true));
        assert_eq!(boolean("tRUE"), None);
    }
}
