//! Text made safe for what it is put into, as Go's template functions do it.

use std::io::Write as _;

/// `js`: for the inside of a JavaScript or JSON string.
pub(super) fn js(text: &[u8], out: &mut Vec<u8>) {
    each(text, |one, bytes| match one {
        '\\' => out.extend_from_slice(br"\\"),
        '\'' => out.extend_from_slice(br"\'"),
        '"' => out.extend_from_slice(br#"\""#),
        '<' | '>' | '&' | '=' | '\0'..' ' => unicode(one, out),
        '\x7f' => out.push(0x7f),
        printable if is_printable(printable) => out.extend_from_slice(bytes),
        other => unicode(other, out),
    });
}

fn unicode(one: char, out: &mut Vec<u8>) {
    // Writing to a vector does not fail, here and below.
    let _ = write!(out, "\\u{:04X}", u32::from(one));
}

/// `html`: for text and attributes.
pub(super) fn html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            other => out.push(other),
        }
    }
}

/// `urlquery`: for the query of a URL.
pub(super) fn url_query(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b' ' => out.push(b'+'),
            plain if plain.is_ascii_alphanumeric() || b"-_.~".contains(&plain) => out.push(plain),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
}

/// `%q`: a string as it is written in Go.
pub(super) fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    each(text, |one, bytes| match one {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        '\n' => out.extend_from_slice(br"\n"),
        '\r' => out.extend_from_slice(br"\r"),
        '\t' => out.extend_from_slice(br"\t"),
        '\x07' => out.extend_from_slice(br"\a"),
        '\x08' => out.extend_from_slice(br"\b"),
        '\x0b' => out.extend_from_slice(br"\v"),
        '\x0c' => out.extend_from_slice(br"\f"),
        '\u{fffd}' if bytes.len() == 1 => {
            let _ = write!(out, "\\x{:02x}", bytes[0]);
        }
        '\0'..' ' | '\x7f' => {
            let _ = write!(out, "\\x{:02x}", u32::from(one));
        }
        printable if is_printable(printable) => out.extend_from_slice(bytes),
        other => {
            let code = u32::from(other);
            let _ = match code {
                ..0x10000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    });
    out.push(b'"');
}

/// A header's name as Go writes it: `X-Request-Id`.
pub(super) fn canonical(lower: &str) -> String {
    let mut first = true;
    let letters = lower.chars().map(|letter| {
        let upper = std::mem::replace(&mut first, letter == '-');
        if upper {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    });
    letters.collect()
}

/// Calls `with` for each character and its bytes. A byte that is of none is U+FFFD.
fn each(text: &[u8], mut with: impl FnMut(char, &[u8])) {
    for chunk in text.utf8_chunks() {
        for one in chunk.valid().chars() {
            with(one, one.encode_utf8(&mut [0; 4]).as_bytes());
        }
        for byte in chunk.invalid() {
            with('\u{fffd}', std::slice::from_ref(byte));
        }
    }
}

/// Whether a character is shown as it is.
fn is_printable(one: char) -> bool {
    if one.is_ascii() {
        return matches!(one, ' '..='~');
    }
    // Behind a letter, so that a mark that goes over it counts as printable.
    let mut buffer = [b'a'; 5];
    let len = one.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..=len]).unwrap_or("");
    text.escape_debug().count() == 2
}
