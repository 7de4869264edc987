//! The functions of the language.

use std::cmp::Ordering;

use super::compare::{equal, order};
use super::escape;
use super::printf::printf;
use super::value::Value;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Html,
    Js,
    UrlQuery,
    Print,
    Printf,
    Println,
    Len,
    Index,
    Slice,
}

impl Function {
    /// By its name in a template.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "le" => Self::Le,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "html" => Self::Html,
            "js" => Self::Js,
            "urlquery" => Self::UrlQuery,
            "print" => Self::Print,
            "printf" => Self::Printf,
            "println" => Self::Println,
            "len" => Self::Len,
            "index" => Self::Index,
            "slice" => Self::Slice,
            _ => return None,
        })
    }

    /// How many arguments it takes, and what it is called: told while compiling.
    pub(super) fn takes(self) -> (std::ops::RangeInclusive<usize>, &'static str) {
        match self {
            Self::And => (1..=usize::MAX, "and"),
            Self::Or => (1..=usize::MAX, "or"),
            Self::Not => (1..=1, "not"),
            Self::Eq => (2..=usize::MAX, "eq"),
            Self::Ne => (2..=2, "ne"),
            Self::Lt => (2..=2, "lt"),
            Self::Le => (2..=2, "le"),
            Self::Gt => (2..=2, "gt"),
            Self::Ge => (2..=2, "ge"),
            Self::Html => (0..=usize::MAX, "html"),
            Self::Js => (0..=usize::MAX, "js"),
            Self::UrlQuery => (0..=usize::MAX, "urlquery"),
            Self::Print => (0..=usize::MAX, "print"),
            Self::Printf => (1..=usize::MAX, "printf"),
            Self::Println => (0..=usize::MAX, "println"),
            Self::Len => (1..=1, "len"),
            Self::Index => (1..=usize::MAX, "index"),
            Self::Slice => (1..=4, "slice"),
        }
    }

    /// Calls it; the number of arguments is right.
    pub(super) fn call<'a>(self, args: &[Value<'a>]) -> Result<Value<'a>, String> {
        let [first, rest @ ..] = args else {
            return Ok(match self {
                Self::Println => Value::text("\n"),
                _ => Value::text(""),
            });
        };
        let second = rest.first().unwrap_or(&Value::Nil);
        Ok(match self {
            Self::And => args
                .iter()
                .find(|arg| !arg.is_true())
                .or(args.last())
                .cloned(),
            Self::Or => args
                .iter()
                .find(|arg| arg.is_true())
                .or(args.last())
                .cloned(),
            Self::Not => Some(Value::Bool(!first.is_true())),
            Self::Eq => {
                let mut any = false;
                for other in rest {
                    any = any || equal(first, other)?;
                }
                Some(Value::Bool(any))
            }
            Self::Ne => Some(Value::Bool(!equal(first, second)?)),
            Self::Lt => compared(first, second, |order| order.is_lt())?,
            Self::Le => compared(first, second, |order| order.is_le())?,
            Self::Gt => compared(first, second, |order| order.is_gt())?,
            Self::Ge => compared(first, second, |order| order.is_ge())?,
            Self::Html => Some(escaped(args, escape::html)),
            Self::Js => Some(escaped(args, escape::js)),
            Self::UrlQuery => Some(escaped(args, escape::url_query)),
            Self::Print => Some(Value::Text(print(args).into())),
            Self::Printf => match first {
                Value::Text(format) => Some(Value::Text(printf(format, rest)?.into())),
                other => {
                    return Err(format!(
                        "wrong type for value; expected string; got {}",
                        other.kind()
                    ));
                }
            },
            Self::Println => {
                let mut line = Vec::new();
                for (place, arg) in args.iter().enumerate() {
                    if place > 0 {
                        line.push(b' ');
                    }
                    arg.print(&mut line);
                }
                line.push(b'\n');
                Some(Value::Text(line.into()))
            }
            Self::Len => Some(match first {
                Value::Text(text) => Value::count(text.len()),
                Value::List(list) => Value::count(list.len()),
                other => match other.as_map() {
                    Some(map) => Value::count(map.len()),
                    None => return Err(format!("len of type {}", other.kind())),
                },
            }),
            Self::Index => {
                let mut found = first.clone();
                for at in rest {
                    found = found.index(at)?;
                }
                Some(found)
            }
            Self::Slice => Some(slice(first, rest)?),
        }
        .unwrap_or(Value::Nil))
    }
}

fn compared<'a>(
    a: &Value<'_>,
    b: &Value<'_>,
    holds: impl Fn(Ordering) -> bool,
) -> Result<Option<Value<'a>>, String> {
    let order = order(a, b)?;
    Ok(Some(Value::Bool(order.is_some_and(holds))))
}

fn escaped<'a>(args: &[Value<'_>], escape: impl Fn(&[u8], &mut Vec<u8>)) -> Value<'a> {
    let mut out = Vec::new();
    match args {
        [Value::Text(text)] => escape(text, &mut out),
        args => escape(&print(args), &mut out),
    }
    Value::Text(out.into())
}

/// One behind the other, with spaces between those of which neither is a string.
fn print(args: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before_is_text = true;
    for arg in args {
        let is_text = matches!(arg, Value::Text(_));
        if !before_is_text && !is_text {
            out.push(b' ');
        }
        arg.print(&mut out);
        before_is_text = is_text;
    }
    out
}

fn slice<'a>(item: &Value<'a>, bounds: &[Value<'_>]) -> Result<Value<'a>, String> {
    let len = match item {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        other => return Err(format!("can't slice item of type {}", other.kind())),
    };
    if bounds.len() == 3 && matches!(item, Value::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut places = [0, len, len];
    for (place, bound) in places.iter_mut().zip(bounds) {
        let Value::Int(number) = bound else {
            return Err(format!(
                "cannot index slice/array with type {}",
                bound.kind()
            ));
        };
        let valid = usize::try_from(*number)
            .ok()
            .filter(|number| *number <= len);
        *place = valid.ok_or_else(|| format!("index out of range: {number}"))?;
    }
    let [from, to, limit] = places;
    if from > to || to > limit {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Value::Text(text) => Value::Text(text[from..to].to_vec().into()),
        Value::List(list) => Value::List(list[from..to].to_vec()),
        _ => Value::Nil,
    })
}
