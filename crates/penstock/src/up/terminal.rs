//! Standard output: what is said at the start, and what the pods print.
//!
//! A thread of its own writes, so that a terminal that is stopped or a pipe that nobody reads
//! holds up no request. If it falls too far behind, lines are lost, and their number is said; if
//! nobody is there to read, nothing happens.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use penstock_cluster_local::Output;
use tokio::sync::oneshot;

/// Pieces of text that may wait to be written.
const BEHIND: usize = 4096;
/// How long the end waits for what is not written yet.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Writes lines without waiting. Clones write to the same place.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    pieces: SyncSender<Piece>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    End,
}

/// The other end of a [`Terminal`].
#[derive(Debug)]
pub(crate) struct Written(oneshot::Receiver<()>);

impl Terminal {
    /// Starts to write to `to`.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<(Self, Written)> {
        let (pieces, from) = sync_channel(BEHIND);
        let lost = Arc::new(AtomicU64::new(0));
        let (done, written) = oneshot::channel();
        let counted = Arc::clone(&lost);
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                write_all(to, &from, &counted);
                let _ = done.send(());
            })?;
        Ok((Self { pieces, lost }, Written(written)))
    }

    /// Writes `text`, which ends with a line break.
    pub(crate) fn say(&self, text: String) {
        if let Err(TrySendError::Full(Piece::Text(text))) = self.pieces.try_send(Piece::Text(text))
        {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count();
            self.lost.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }

    /// Writes nothing more than what was said before.
    pub(crate) fn end(&self) {
        // If there is no room even for that, nobody reads, and the wait has its limit.
        let _ = self.pieces.try_send(Piece::End);
    }

    /// Where pods print to.
    pub(crate) fn output(&self) -> Output {
        let terminal = self.clone();
        Arc::new(move |pod, line| terminal.say(format!("[{pod}] {line}\n")))
    }
}

impl Written {
    /// Waits until everything before the end is written, but not for ever.
    pub(crate) async fn wait(self) {
        let _ = tokio::time::timeout(LAST_WORDS, self.0).await;
    }
}

fn write_all(mut to: impl Write, from: &Receiver<Piece>, lost: &AtomicU64) {
    let mut end = false;
    while !end && let Ok(first) = from.recv() {
        // Whatever has come in meanwhile is written in one go.
        let mut text = String::new();
        for piece in std::iter::once(first).chain(from.try_iter().take(BEHIND)) {
            match piece {
                Piece::Text(more) => text.push_str(&more),
                Piece::End => end = true,
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(text, "({lost} lines are lost: nobody read fast enough)");
        }
        // A reader that is gone is no error.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits for leave before each write.
    struct Slow {
        leave: mpsc::Receiver<()>,
        seen: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.leave.recv();
            let _ = self.seen.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn pods_print_with_their_name_and_nothing_is_lost_at_the_end() {
        let (go, leave) = mpsc::channel();
        let (seen, see) = mpsc::channel();
        let (terminal, written) = Terminal::start(Slow { leave, seen }).unwrap();
        terminal.say("hello\n".to_owned());
        terminal.output()("pod-a", "a line");
        terminal.end();
        drop(go);
        written.0.await.unwrap();
        let all: String = see.iter().collect();
        assert_eq!(all, "hello\n[pod-a] a line\n");
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_costs_lines_and_no_time() {
        let (go, leave) = mpsc::channel();
        let (seen, see) = mpsc::channel();
        let (terminal, written) = Terminal::start(Slow { leave, seen }).unwrap();
        let said = 3 * BEHIND + 10;
        for _ in 0..said {
            terminal.say("x\n".to_owned());
        }
        drop(go);
        drop(terminal);
        let _ = written.0.await;
        let all: String = see.iter().collect();
        let lost = all.lines().filter_map(|line| {
            let (lost, _) = line.strip_prefix('(')?.split_once(' ')?;
            lost.parse::<usize>().ok()
        });
        let lost: usize = lost.sum();
        assert!(lost > 0);
        assert_eq!(all.matches("x\n").count() + lost, said);
    }

    #[tokio::test]
    async fn a_closed_pipe_ends_nothing() {
        let (terminal, written) = Terminal::start(Closed).unwrap();
        terminal.say("one\n".to_owned());
        terminal.say("two\n".to_owned());
        terminal.end();
        written.0.await.unwrap();
    }
}
