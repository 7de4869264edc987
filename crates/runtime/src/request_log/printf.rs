//! `printf` and numbers as Go writes them.

use std::io::Write as _;

use super::escape;
use super::value::Value;

/// Widest field and most digits that a format may ask for.
const MAX_WIDTH: usize = 1000;

/// A float in the fewest digits that tell it apart, with an exponent where Go has one (below
/// 0.0001, and from a million on).
pub(super) fn shortest(number: f64, out: &mut Vec<u8>) {
    if special(number, out) {
        return;
    }
    let scientific = format!("{number:e}");
    let exponent: i32 = match scientific.split_once('e') {
        Some((_, exponent)) => exponent.parse().unwrap_or(0),
        None => 0,
    };
    // Writing to a vector does not fail, here and below.
    if number != 0.0 && !(-4..6).contains(&exponent) {
        go_exponent(&scientific, out);
    } else {
        let _ = write!(out, "{number}");
    }
}

/// What is no ordinary number.
fn special(number: f64, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = match number {
        _ if number.is_nan() => b"NaN",
        f64::INFINITY => b"+Inf",
        f64::NEG_INFINITY => b"-Inf",
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

/// `1.5e-7` as `1.5e-07`.
fn go_exponent(scientific: &str, out: &mut Vec<u8>) {
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return out.extend_from_slice(scientific.as_bytes());
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
}

/// What stands between `%` and the verb.
#[derive(Default)]
struct Flags {
    minus: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `printf`: mistakes between format and arguments show in the text, as in Go.
///
/// # Errors
///
/// A field is wider than 1000 characters.
pub(super) fn printf(format: &[u8], args: &[Value<'_>]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut next = 0;
    let mut rest = format;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let flags = flags(&mut rest, args, &mut next)?;
        let verb = rest
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next());
        let Some(verb) = verb else {
            out.extend_from_slice(b"%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push(b'%');
            continue;
        }
        match args.get(next) {
            Some(arg) => one(verb, arg, &flags, &mut out),
            None => {
                let _ = write!(out, "%!{verb}(MISSING)");
            }
        }
        next += 1;
    }
    out.extend_from_slice(rest);
    if next < args.len() {
        out.extend_from_slice(b"%!(EXTRA ");
        for (place, arg) in args[next..].iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(b", ");
            }
            described(arg, &mut out);
        }
        out.push(b')');
    }
    Ok(out)
}

fn flags(rest: &mut &[u8], args: &[Value<'_>], next: &mut usize) -> Result<Flags, String> {
    let mut flags = Flags::default();
    while let [first, after @ ..] = *rest {
        match first {
            b'-' => flags.minus = true,
            b'+' => flags.plus = true,
            b' ' => flags.space = true,
            b'0' => flags.zero = true,
            b'#' => flags.sharp = true,
            _ => break,
        }
        *rest = after;
    }
    flags.width = number(rest, args, next)?;
    if let [b'.', after @ ..] = *rest {
        *rest = after;
        flags.precision = Some(number(rest, args, next)?.unwrap_or(0));
    }
    Ok(flags)
}

/// Digits, or `*` for an argument.
fn number(rest: &mut &[u8], args: &[Value<'_>], next: &mut usize) -> Result<Option<usize>, String> {
    let number = if let [b'*', after @ ..] = *rest {
        *rest = after;
        *next += 1;
        match args.get(*next - 1) {
            Some(Value::Int(number)) => usize::try_from(*number).ok(),
            _ => None,
        }
    } else {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..digits]).unwrap_or("");
        *rest = &rest[digits..];
        (digits > 0).then(|| text.parse().unwrap_or(usize::MAX))
    };
    match number {
        Some(number) if number > MAX_WIDTH => Err("a field of printf is too wide".to_owned()),
        number => Ok(number),
    }
}

fn one(verb: char, arg: &Value<'_>, flags: &Flags, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    let known = match (verb, arg) {
        ('v', Value::Float(_)) if flags.precision.is_some() => float('g', arg, flags, &mut text),
        ('v', Value::Int(_)) => integer('d', arg, flags, &mut text),
        ('v', Value::Float(_)) => float('g', arg, flags, &mut text),
        ('v', Value::Text(string)) if flags.sharp => {
            escape::quoted(string, &mut text);
            true
        }
        ('v', _) => {
            arg.print(&mut text);
            true
        }
        ('T', _) => {
            text.extend_from_slice(arg.kind().as_bytes());
            true
        }
        ('t', Value::Bool(_)) => {
            arg.print(&mut text);
            true
        }
        ('d' | 'b' | 'o' | 'x' | 'X' | 'c' | 'q' | 'U', Value::Int(_)) => {
            integer(verb, arg, flags, &mut text)
        }
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(_)) => float(verb, arg, flags, &mut text),
        ('s' | 'q' | 'x' | 'X', Value::Text(string)) => {
            of_text(verb, string, flags, &mut text);
            true
        }
        // What is printed as a string formats as one.
        ('s' | 'q', Value::Url(_) | Value::Cookie(..)) => {
            let mut string = Vec::new();
            arg.print(&mut string);
            of_text(verb, &string, flags, &mut text);
            true
        }
        ('s', Value::List(_) | Value::Map(_) | Value::Header(_)) => {
            arg.print(&mut text);
            true
        }
        _ => false,
    };
    if !known {
        let _ = write!(out, "%!{verb}(");
        described(arg, out);
        return out.push(b')');
    }
    pad(&text, arg, flags, out);
}

/// Type and value of what does not fit.
fn described(arg: &Value<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(arg.kind().as_bytes());
    if !matches!(arg, Value::Nil | Value::Missing) {
        out.push(b'=');
        arg.print(out);
    }
}

fn of_text(verb: char, string: &[u8], flags: &Flags, text: &mut Vec<u8>) {
    let string = match flags.precision {
        // Characters; bytes for the hexadecimal verbs.
        Some(most) if verb.eq_ignore_ascii_case(&'x') => &string[..most.min(string.len())],
        Some(most) => {
            let mut starts = (0..string.len()).filter(|at| string[*at] & 0xc0 != 0x80);
            &string[..starts.nth(most).unwrap_or(string.len())]
        }
        None => string,
    };
    match verb {
        'q' => escape::quoted(string, text),
        'x' => string.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        }),
        'X' => string.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02X}");
        }),
        _ => text.extend_from_slice(string),
    }
}

fn integer(verb: char, arg: &Value<'_>, flags: &Flags, text: &mut Vec<u8>) -> bool {
    let Value::Int(number) = *arg else {
        return false;
    };
    let one = u32::try_from(number).ok().and_then(char::from_u32);
    let one = one.unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut sign = true;
    let size = number.unsigned_abs();
    let digits = match (verb, flags.sharp) {
        ('d', _) => format!("{size}"),
        ('b', false) => format!("{size:b}"),
        ('b', true) => format!("0b{size:b}"),
        ('o', false) => format!("{size:o}"),
        ('o', true) => format!("0{size:o}"),
        ('x', false) => format!("{size:x}"),
        ('x', true) => format!("0x{size:x}"),
        ('X', false) => format!("{size:X}"),
        ('X', true) => format!("0X{size:X}"),
        (other, _) => {
            sign = false;
            match other {
                'c' => one.to_string(),
                'U' => format!("U+{size:04X}"),
                _ => format!("'{}'", one.escape_default()),
            }
        }
    };
    if sign {
        put_sign(number < 0, flags, text);
    }
    let _ = write!(
        text,
        "{digits:0>least$}",
        least = flags.precision.unwrap_or(0)
    );
    true
}

fn put_sign(negative: bool, flags: &Flags, text: &mut Vec<u8>) {
    if negative {
        text.push(b'-');
    } else if flags.plus {
        text.push(b'+');
    } else if flags.space {
        text.push(b' ');
    }
}

fn float(verb: char, arg: &Value<'_>, flags: &Flags, text: &mut Vec<u8>) -> bool {
    let Value::Float(number) = *arg else {
        return false;
    };
    if special(number, text) {
        return true;
    }
    put_sign(number.is_sign_negative(), flags, text);
    let size = number.abs();
    let from = text.len();
    match (verb.to_ascii_lowercase(), flags.precision) {
        ('f', digits) => {
            let _ = write!(text, "{size:.*}", digits.unwrap_or(6));
        }
        ('e', digits) => go_exponent(&format!("{size:.*e}", digits.unwrap_or(6)), text),
        (_, None) => shortest(size, text),
        (_, Some(digits)) => general(size, digits.max(1), text),
    }
    if verb.is_ascii_uppercase() {
        text[from..].make_ascii_uppercase();
    }
    true
}

/// `%g` with so many significant digits at most.
fn general(size: f64, digits: usize, text: &mut Vec<u8>) {
    let scientific = format!("{size:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= places {
        let mantissa = trim(mantissa);
        return go_exponent(&format!("{mantissa}e{exponent}"), text);
    }
    let after = usize::try_from(places - 1 - exponent).unwrap_or(0);
    text.extend_from_slice(trim(&format!("{size:.after$}")).as_bytes());
}

/// Without zeros behind the point.
fn trim(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

fn pad(text: &[u8], arg: &Value<'_>, flags: &Flags, out: &mut Vec<u8>) {
    let chars = text.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    let missing = flags.width.unwrap_or(0).saturating_sub(chars);
    let is_number = match arg {
        Value::Int(_) => flags.precision.is_none(),
        Value::Float(number) => number.is_finite(),
        _ => false,
    };
    if flags.minus {
        out.extend_from_slice(text);
        out.resize(out.len() + missing, b' ');
    } else if flags.zero && (is_number || matches!(arg, Value::Text(_))) {
        let sign = usize::from(is_number && text.first().is_some_and(|one| b"+- ".contains(one)));
        out.extend_from_slice(&text[..sign]);
        out.resize(out.len() + missing, b'0');
        out.extend_from_slice(&text[sign..]);
    } else {
        out.resize(out.len() + missing, b' ');
        out.extend_from_slice(text);
    }
}
