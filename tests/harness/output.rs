//! What a process prints, line by line, as events.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PATIENCE;

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// All lines so far.
#[derive(Debug)]
pub(crate) struct Output {
    lines: Arc<Mutex<Vec<(Stream, String)>>>,
    /// Changes with each line; closed once both streams are.
    news: watch::Receiver<()>,
    _readers: JoinSet<()>,
}

impl Output {
    pub(crate) fn read(
        stdout: impl AsyncRead + Unpin + Send + 'static,
        stderr: impl AsyncRead + Unpin + Send + 'static,
    ) -> Self {
        let lines = Arc::default();
        let (tell, news) = watch::channel(());
        let mut readers = JoinSet::new();
        readers.spawn(collect(
            stdout,
            Stream::Stdout,
            Arc::clone(&lines),
            tell.clone(),
        ));
        readers.spawn(collect(stderr, Stream::Stderr, Arc::clone(&lines), tell));
        Self {
            lines,
            news,
            _readers: readers,
        }
    }

    /// The first line that contains `text`, as soon as it is there.
    ///
    /// # Panics
    ///
    /// If it does not come, or no more lines can come.
    pub(crate) async fn until_line(&self, text: &str) -> String {
        let mut lines = self.until_lines(text, 1).await;
        lines.remove(0)
    }

    /// The first `count` lines that contain `text`, as soon as they are there.
    ///
    /// # Panics
    ///
    /// If they do not come, or no more lines can come.
    pub(crate) async fn until_lines(&self, text: &str, count: usize) -> Vec<String> {
        let mut news = self.news.clone();
        let looking = async {
            loop {
                news.mark_unchanged();
                let mut found = self.lines_with(text);
                if found.len() >= count {
                    found.truncate(count);
                    return Some(found);
                }
                if news.changed().await.is_err() {
                    let found = self.lines_with(text);
                    return (found.len() >= count).then_some(found);
                }
            }
        };
        match timeout(PATIENCE, looking).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("its output ended without {count} times {text:?}"),
            Err(_) => panic!("not {count} times {text:?} within {PATIENCE:?}"),
        }
    }

    /// Waits until both streams are closed.
    pub(crate) async fn until_end(&self) {
        let mut news = self.news.clone();
        let ended = async { while news.changed().await.is_ok() {} };
        let ended = timeout(PATIENCE, ended).await;
        assert!(ended.is_ok(), "somebody still holds its output");
    }

    /// All lines so far that contain `text`.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = lock(&self.lines);
        let found = lines.iter().filter(|(_, line)| line.contains(text));
        found.map(|(_, line)| line.clone()).collect()
    }

    /// All lines so far of one stream.
    pub(crate) fn of(&self, stream: Stream) -> Vec<String> {
        let lines = lock(&self.lines);
        let found = lines.iter().filter(|(from, _)| *from == stream);
        found.map(|(_, line)| line.clone()).collect()
    }

    /// Everything, for the reader of a failed test.
    pub(crate) fn all(&self) -> String {
        let mut text = String::new();
        for (stream, line) in lock(&self.lines).iter() {
            let mark = if *stream == Stream::Stdout { ' ' } else { '!' };
            let _ = writeln!(text, "  {mark} {line}");
        }
        text
    }
}

async fn collect(
    from: impl AsyncRead + Unpin,
    stream: Stream,
    to: Arc<Mutex<Vec<(Stream, String)>>>,
    news: watch::Sender<()>,
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // A stream that breaks has ended.
    while matches!(from.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line)
            .trim_end_matches('\n')
            .to_owned();
        lock(&to).push((stream, text));
        line.clear();
        news.send_replace(());
    }
}

/// A test that failed under the lock left the lines whole.
fn lock<T>(lines: &Mutex<T>) -> MutexGuard<'_, T> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
