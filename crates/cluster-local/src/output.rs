//! What a program prints, line by line.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Gets each line of each pod: the pod's name, and the line without its end.
pub type Output = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Longest line that is handed on in one piece, in bytes.
const LONGEST: usize = 16 * 1024;

/// The last line that a program wrote to its standard error.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastLine(Arc<Mutex<String>>);

impl LastLine {
    fn set(&self, line: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.clone_into(&mut last);
    }

    /// Takes it; empty if there was none.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Hands on lines from `pipe` until it ends. What is not UTF-8 is replaced; a line that is
/// too long comes in pieces.
pub(crate) async fn read_lines(
    mut pipe: impl AsyncRead + Unpin,
    pod: Arc<str>,
    output: Output,
    last: Option<LastLine>,
) {
    let say = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = String::from_utf8_lossy(line);
        output(&pod, &line);
        if let Some(last) = &last
            && !line.trim().is_empty()
        {
            last.set(&line);
        }
    };
    let mut held: Vec<u8> = Vec::new();
    loop {
        held.reserve(LONGEST / 4);
        // A pipe that fails has nothing more to say, like one that ends.
        let read = pipe.read_buf(&mut held).await.unwrap_or(0);
        let mut done = 0;
        while let Some(length) = held[done..].iter().position(|byte| *byte == b'\n') {
            say(&held[done..done + length]);
            done += length + 1;
        }
        held.drain(..done);
        while held.len() >= LONGEST {
            let piece = whole_characters(&held[..LONGEST]);
            say(&held[..piece]);
            held.drain(..piece);
        }
        if read == 0 {
            if !held.is_empty() {
                say(&held);
            }
            return;
        }
    }
}

/// How much of `bytes` there is before a character that is cut off at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let start = (bytes.len().saturating_sub(3)..bytes.len())
        .rev()
        .find(|at| bytes[*at] >= 0xC0);
    match start {
        Some(at) if std::str::from_utf8(&bytes[at..]).is_err_and(|e| e.error_len().is_none()) => at,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8]) -> (Vec<String>, String) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let output: Output = Arc::new(move |pod, line| {
            assert_eq!(pod, "p");
            sink.lock().unwrap().push(line.to_owned());
        });
        let last = LastLine::default();
        read_lines(input, Arc::from("p"), output, Some(last.clone())).await;
        let seen = seen.lock().unwrap().clone();
        (seen, last.take())
    }

    #[tokio::test]
    async fn lines_come_whole_and_the_last_without_an_end_too() {
        let (seen, last) = lines(b"a\r\n\nb\xFFc\n \nend").await;
        assert_eq!(seen, ["a", "", "b\u{FFFD}c", " ", "end"]);
        assert_eq!(last, "end");
        let (_, last) = lines(b"why\n\n").await;
        assert_eq!(last, "why", "an empty line says nothing");
    }

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces_that_cut_no_character() {
        let text = format!("x{}", "ö".repeat(LONGEST));
        let (seen, _) = lines(text.as_bytes()).await;
        assert!(
            seen.iter()
                .all(|piece| piece.len() <= LONGEST && !piece.contains('\u{FFFD}'))
        );
        assert_eq!(seen.concat(), text);
    }
}
