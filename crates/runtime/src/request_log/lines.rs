//! From the request path to standard output without waiting for it.
//!
//! A worker that wrote by itself would stand still, with all its connections, while the reader
//! of a pipe does. So lines are handed to a thread of their own, which writes each of them with
//! one call. What it cannot take within a bounded memory is dropped, counted, and told, once a
//! second at most, when the reader goes on.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::seldom::Seldom;

/// Most bytes of lines that wait to be written.
const MAX_BYTES: usize = 1 << 20;
/// How long the end of the process waits for a reader.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Where lines go. Clones are the same; the last one to be dropped waits a moment for the lines
/// that are still to be written.
#[derive(Clone, Debug)]
pub struct Lines {
    end: Arc<End>,
}

#[derive(Debug)]
struct End(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to write, or the end.
    more: Condvar,
    /// All is written.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room since this was last told.
    dropped: u64,
    ended: bool,
    done: bool,
}

impl Lines {
    /// Lines that go to standard output.
    ///
    /// # Errors
    ///
    /// The system's, if it has no thread left.
    pub fn to_stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    /// Lines that go to `sink`, with one call each.
    ///
    /// # Errors
    ///
    /// The system's, if it has no thread left.
    pub fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::Builder::new()
            .name("request-log".to_owned())
            .spawn(move || own.write_all(sink))?;
        Ok(Self {
            end: Arc::new(End(shared)),
        })
    }

    /// Hands a line over, or drops it if too much waits.
    pub fn write(&self, line: Vec<u8>) {
        let shared = &self.end.0;
        let mut queue = shared.lock();
        if queue.bytes + line.len() > MAX_BYTES {
            queue.dropped += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        shared.more.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whole at every step, so a panic elsewhere does not spoil it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut sink: impl Write) {
        let told = Seldom::default();
        let mut queue = self.lock();
        loop {
            let dropped = match queue.dropped > 0 && told.may_say().is_some() {
                true => std::mem::take(&mut queue.dropped),
                false => 0,
            };
            if let Some(line) = queue.lines.pop_front() {
                drop(queue);
                // A reader that is gone is no reason to fail: the line is lost.
                let written = sink.write_all(&line).and_then(|()| sink.flush());
                if dropped > 0 {
                    tracing::warn!(
                        dropped,
                        "lines of the request log were dropped: nobody read fast enough"
                    );
                }
                queue = self.lock();
                queue.bytes -= line.len();
                if written.is_err() && queue.ended {
                    queue.lines.clear();
                }
            } else if queue.ended {
                queue.done = true;
                self.done.notify_all();
                return;
            } else {
                let woken = self.more.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.ended = true;
        self.0.more.notify_one();
        let waited = self
            .0
            .done
            .wait_timeout_while(queue, LAST_WAIT, |queue| !queue.done);
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells of a line, and is done with it only when it is let.
    struct Gate {
        permits: mpsc::Receiver<()>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.taken.send(line.to_vec());
            // Open once nobody can give permits any more.
            let _ = self.permits.recv();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Lines, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (permit, permits) = mpsc::channel();
        let (taken, took) = mpsc::channel();
        (Lines::to(Gate { permits, taken }).unwrap(), permit, took)
    }

    #[test]
    fn each_line_is_one_write_in_order_and_none_is_lost_at_the_end() {
        let (lines, permit, took) = gate();
        for n in 0..100 {
            lines.write(format!("line {n}\n").into_bytes());
        }
        drop(permit);
        drop(lines);
        let all: Vec<_> = took.iter().collect();
        assert_eq!(all.len(), 100);
        assert_eq!(all[7], b"line 7\n");
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_but_no_time_and_no_memory() {
        let (lines, permit, took) = gate();
        let line = vec![b'x'; MAX_BYTES / 4];
        lines.write(line.clone());
        took.recv().unwrap();
        for _ in 0..9 {
            lines.write(line.clone());
        }
        assert_eq!(lines.end.0.lock().dropped, 6);
        drop(permit);
        drop(lines);
        assert_eq!(took.iter().count(), 3);
    }
}
