//! A scalar, and what its text means when it is not quoted.

use granit_parser::{ScalarStyle, Tag};

/// A scalar as written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Neither quoted nor a block, so that its text decides what it is.
    plain: bool,
}

/// What a scalar is, by the rules that Kubernetes' tools read YAML with: YAML 1.1's words for
/// booleans, and octal numbers in both spellings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number with a point, or one too large for 64 bits.
    Float,
    Text,
}

impl Scalar {
    /// # Errors
    ///
    /// A tag that is none of YAML's own.
    pub(super) fn new(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Result<Self, String> {
        let plain = match tag {
            None => style == ScalarStyle::Plain,
            Some(tag) if tag.original() == "!" => false,
            Some(tag) => match tag.core_suffix() {
                Some("str") => false,
                Some("int" | "float" | "bool" | "null") => true,
                _ => return Err(tag.original()),
            },
        };
        Ok(Self { text, plain })
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        if !self.plain {
            return Kind::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
                Kind::Boolean(true)
            }
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
                Kind::Boolean(false)
            }
            text => number(text),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// How to show it within a sentence: as short as it takes to find it again.
    pub(crate) fn shown(&self) -> String {
        const LONGEST: usize = 60;
        let text: String = self.text.chars().take(LONGEST).collect();
        let dots = if text.len() < self.text.len() {
            "..."
        } else {
            ""
        };
        match self.kind() {
            Kind::Text => format!("{text:?}{dots}"),
            Kind::Null => "null".to_owned(),
            _ => format!("{text}{dots}"),
        }
    }
}

fn number(text: &str) -> Kind {
    let digits = text.trim_start_matches(['+', '-']);
    let octal = |digit: &u8| (b'0'..=b'7').contains(digit);
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(octal) => (8, &digits[1..]),
        _ if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") => {
            return Kind::Float;
        }
        [b'0'..=b'9' | b'.', ..] => (10, digits),
        _ => return Kind::Text,
    };
    if text.len() - text.trim_start_matches(['+', '-']).len() > 1 {
        return Kind::Text;
    }
    let whole = !digits.is_empty() && digits.chars().all(|letter| letter.is_digit(radix));
    if whole {
        let signed = match text.as_bytes().first() {
            Some(b'-') => i64::from_str_radix(&format!("-{digits}"), radix),
            _ => i64::from_str_radix(digits, radix),
        };
        return signed.map_or(Kind::Float, Kind::Integer);
    }
    if radix != 16 && text.parse::<f64>().is_ok() {
        return Kind::Float;
    }
    Kind::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        Scalar::new(text.to_owned(), ScalarStyle::Plain, None)
            .unwrap()
            .kind()
    }

    #[test]
    fn a_plain_scalar_is_what_kubernetes_reads() {
        let table = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("true", Kind::Boolean(true)),
            ("off", Kind::Boolean(false)),
            ("8080", Kind::Integer(8080)),
            ("-1", Kind::Integer(-1)),
            ("+1", Kind::Integer(1)),
            ("0", Kind::Integer(0)),
            ("0x1F", Kind::Integer(31)),
            ("0o17", Kind::Integer(15)),
            ("017", Kind::Integer(15)),
            ("089", Kind::Integer(89)),
            ("1.5", Kind::Float),
            ("1e3", Kind::Float),
            (".inf", Kind::Float),
            ("99999999999999999999", Kind::Float),
            ("1.2.3", Kind::Text),
            ("--1", Kind::Text),
            ("5m", Kind::Text),
            ("0x", Kind::Text),
            ("-", Kind::Text),
            ("y", Kind::Text),
            ("infinity", Kind::Text),
        ];
        for (text, want) in table {
            assert_eq!(kind(text), want, "{text}");
        }
    }

    #[test]
    fn a_quoted_scalar_is_text() {
        let quoted = Scalar::new("5".to_owned(), ScalarStyle::DoubleQuoted, None).unwrap();
        assert_eq!(quoted.kind(), Kind::Text);
    }
}
