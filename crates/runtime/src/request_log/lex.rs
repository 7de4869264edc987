//! A template's text cut into literal text and the tokens of actions.

use super::BadTemplate;

/// A token of an action, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Offset in the template.
    pub(super) at: usize,
    /// Whether there is space in front of it: `.A .B` is two operands, `.A.B` is one.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A keyword, a function or a constant.
    Word(String),
    /// `.Name`
    Field(String),
    /// `.`
    Dot,
    /// `$name` with its dollar, or `$`.
    Variable(String),
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Pipe,
    Open,
    Close,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// A stretch of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Action { at: usize, tokens: Vec<Token> },
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts `template`; trimmed text, empty text and comments are gone.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece<'_>>, BadTemplate> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    let mut trim = false; // the action before ended in ` -}}`
    loop {
        let text = &template[rest..];
        let (mut literal, action) = match text.find("{{") {
            Some(begin) => (&text[..begin], Some(rest + begin)),
            None => (text, None),
        };
        if trim {
            literal = literal.trim_start_matches(SPACE);
        }
        let mut body = action.map(|at| at + 2);
        if let Some(from) = body
            && let Some(after) = template[from..].strip_prefix('-')
            && after.starts_with(SPACE)
        {
            literal = literal.trim_end_matches(SPACE);
            body = Some(from + 1);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        let (Some(at), Some(body)) = (action, body) else {
            return Ok(pieces);
        };
        let mut lexer = Lexer {
            template,
            place: body,
        };
        if let Some(end) = lexer.comment(at)? {
            (rest, trim) = end;
            continue;
        }
        let mut tokens = Vec::new();
        (rest, trim) = loop {
            match lexer.next(at)? {
                Next::Token(token) => tokens.push(token),
                Next::End { rest, trim } => break (rest, trim),
            }
        };
        pieces.push(Piece::Action { at, tokens });
    }
}

enum Next {
    Token(Token),
    End { rest: usize, trim: bool },
}

struct Lexer<'a> {
    template: &'a str,
    place: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.template[self.place..]
    }

    fn wrong<T>(&self, at: usize, problem: impl Into<String>) -> Result<T, BadTemplate> {
        Err(BadTemplate::new(self.template, at, problem))
    }

    /// Passes over a comment, which has to fill its action.
    fn comment(&mut self, at: usize) -> Result<Option<(usize, bool)>, BadTemplate> {
        let after_space = self.rest().trim_start_matches(SPACE);
        if !after_space.starts_with("/*") {
            return Ok(None);
        }
        let Some(end) = after_space.find("*/") else {
            return self.wrong(at, "the comment is not closed");
        };
        self.place = self.template.len() - after_space.len() + end + 2;
        match self.end() {
            Some(end) => Ok(Some(end)),
            None => self.wrong(at, "a comment ends before its closing }}"),
        }
    }

    /// The end of the action, if it is here.
    fn end(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some((self.place + 2, false));
        }
        let after = rest.trim_start_matches(SPACE);
        let trimmed = after.len() < rest.len() && after.starts_with("-}}");
        trimmed.then(|| (self.template.len() - after.len() + 3, true))
    }

    fn next(&mut self, action: usize) -> Result<Next, BadTemplate> {
        if let Some((rest, trim)) = self.end() {
            return Ok(Next::End { rest, trim });
        }
        let before = self.place;
        self.place = self.template.len() - self.rest().trim_start_matches(SPACE).len();
        let spaced = self.place > before;
        if let Some((rest, trim)) = self.end() {
            return Ok(Next::End { rest, trim });
        }
        let at = self.place;
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else {
            return self.wrong(action, "the action is not closed");
        };
        let second = chars.next();
        let (kind, len) = match (first, second) {
            (':', Some('=')) => (Kind::Declare, 2),
            ('=', _) => (Kind::Assign, 1),
            ('|', _) => (Kind::Pipe, 1),
            ('(', _) => (Kind::Open, 1),
            (')', _) => (Kind::Close, 1),
            (',', _) => (Kind::Comma, 1),
            ('"', _) => self.quoted(at)?,
            ('\'', _) => self.character(at)?,
            ('`', _) => match rest[1..].find('`') {
                Some(len) => (Kind::Text(rest.as_bytes()[1..=len].to_vec()), len + 2),
                None => return self.wrong(at, "the raw string is not closed"),
            },
            ('$', _) => {
                let len = 1 + word(&rest[1..]);
                (Kind::Variable(rest[..len].to_owned()), len)
            }
            ('.', Some(next)) if !next.is_ascii_digit() => match word(&rest[1..]) {
                0 => (Kind::Dot, 1),
                len => (Kind::Field(rest[1..=len].to_owned()), len + 1),
            },
            ('+' | '-' | '.' | '0'..='9', _) => self.number(at)?,
            _ => match word(rest) {
                0 => return self.wrong(at, format!("unexpected {first:?}")),
                len => (Kind::Word(rest[..len].to_owned()), len),
            },
        };
        self.place += len;
        // As `(` and a quote, what follows an operand directly has to be able to.
        let follows = self.rest().chars().next();
        let operand = matches!(
            kind,
            Kind::Word(_)
                | Kind::Field(_)
                | Kind::Dot
                | Kind::Variable(_)
                | Kind::Int(_)
                | Kind::Float(_)
        );
        if operand
            && let Some(follows) = follows
            && !SPACE.contains(&follows)
            && !matches!(follows, '.' | ',' | '|' | ':' | ')' | '(' | '=' | '}' | '-')
        {
            return self.wrong(
                self.place,
                format!("unexpected {follows:?} behind an operand"),
            );
        }
        Ok(Next::Token(Token { kind, at, spaced }))
    }

    /// A string with the escapes of Go.
    fn quoted(&self, at: usize) -> Result<(Kind, usize), BadTemplate> {
        let mut text = Vec::new();
        let mut place = at + 1;
        loop {
            match self.template[place..].chars().next() {
                None | Some('\n') => return self.wrong(at, "the string is not closed"),
                Some('"') => return Ok((Kind::Text(text), place + 1 - at)),
                Some('\\') => place += self.escape(place, '"', &mut text)?,
                Some(other) => {
                    text.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    place += other.len_utf8();
                }
            }
        }
    }

    /// A character, which is a number.
    fn character(&self, at: usize) -> Result<(Kind, usize), BadTemplate> {
        let place = at + 1;
        let (value, len) = match self.template[place..].chars().next() {
            Some('\\') => {
                let mut text = Vec::new();
                let len = self.escape(place, '\'', &mut text)?;
                let value = match (std::str::from_utf8(&text), text.first()) {
                    (Ok(text), _) => text.chars().next().map(u32::from),
                    (Err(_), byte) => byte.copied().map(u32::from),
                };
                (value.unwrap_or(0), len)
            }
            Some(one) if !matches!(one, '\'' | '\n') => (u32::from(one), one.len_utf8()),
            _ => return self.wrong(at, "a character is missing between the quotes"),
        };
        match self.template[place + len..].starts_with('\'') {
            true => Ok((Kind::Int(i64::from(value)), len + 2)),
            false => self.wrong(at, "the character is not closed"),
        }
    }

    /// Adds what the escape at `place` stands for to `text`; the answer is its length.
    fn escape(&self, place: usize, quote: char, text: &mut Vec<u8>) -> Result<usize, BadTemplate> {
        let rest = &self.template[place + 1..];
        let wrong = || BadTemplate::new(self.template, place, "this escape is not known");
        let letter = rest.chars().next().ok_or_else(wrong)?;
        let digits = |from: usize, count: usize, radix| {
            let digits = rest.get(from..from + count)?;
            let all = digits.chars().all(|digit| digit.is_digit(radix));
            all.then(|| u32::from_str_radix(digits, radix).ok())?
        };
        let simple = match letter {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            quoted if quoted == quote => quote as u8,
            'x' => {
                let byte = digits(1, 2, 16).and_then(|byte| u8::try_from(byte).ok());
                text.push(byte.ok_or_else(wrong)?);
                return Ok(4);
            }
            '0'..='7' => {
                let byte = digits(0, 3, 8).and_then(|byte| u8::try_from(byte).ok());
                text.push(byte.ok_or_else(wrong)?);
                return Ok(4);
            }
            'u' | 'U' => {
                let count = if letter == 'u' { 4 } else { 8 };
                let one = digits(1, count, 16).and_then(char::from_u32);
                let one = one.ok_or_else(wrong)?;
                text.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(2 + count);
            }
            _ => return Err(wrong()),
        };
        text.push(simple);
        Ok(2)
    }

    fn number(&self, at: usize) -> Result<(Kind, usize), BadTemplate> {
        let rest = self.rest();
        let mut before = ' ';
        let part = |one: char| {
            let sign = matches!(one, '+' | '-') && matches!(before, ' ' | 'e' | 'E' | 'p' | 'P');
            before = one;
            sign || one.is_ascii_alphanumeric() || matches!(one, '.' | '_')
        };
        let mut part = part;
        let len = rest.find(|one| !part(one)).unwrap_or(rest.len());
        let text = &rest[..len];
        let kind = whole(text)
            .map(Kind::Int)
            .or_else(|| {
                let digits = text.replace('_', "");
                let plain = |one: char| one.is_ascii_digit() || "+-.eE".contains(one);
                let plain = digits.chars().all(plain);
                let number = plain.then(|| digits.parse::<f64>().ok()).flatten()?;
                Some(Kind::Float(number))
            })
            .filter(|kind| !matches!(kind, Kind::Float(number) if number.is_infinite()));
        match kind {
            Some(kind) => Ok((kind, len)),
            None => self.wrong(at, format!("{text:?} is not a number")),
        }
    }
}

/// An integer with the prefixes of Go.
fn whole(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Length of the word that `text` begins with.
fn word(text: &str) -> usize {
    let part = |one: char| one == '_' || one.is_alphanumeric();
    text.find(|one| !part(one)).unwrap_or(text.len())
}
