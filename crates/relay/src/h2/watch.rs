//! The bytes of a caller's connection, watched on their way to and from h2, for what h2 does not
//! limit: a head that does not end, frames that only make work, and a caller that takes
//! nothing.
//!
//! Only the nine bytes before each frame are looked at (RFC 9113 §4.1).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::nearby::Wire;

/// PING and SETTINGS frames that a caller may send at once, and again for each pause.
const CHORES: u32 = 1000;
const CHORE_PAUSE: Duration = Duration::from_millis(100);

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What is seen of a connection, for those who do not hold it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    head_is_open: AtomicBool,
    flooded: AtomicBool,
    /// The last write found no room.
    stuck: AtomicBool,
    written: AtomicU64,
}

impl Seen {
    /// Whether a head has begun and did not end.
    pub(crate) fn head_is_open(&self) -> bool {
        self.head_is_open.load(Ordering::Relaxed)
    }

    /// Whether more frames came that only make work than anybody needs.
    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    /// Bytes written when writing stopped because the other side takes no more.
    pub(crate) fn stuck_at(&self) -> Option<u64> {
        let stuck = self.stuck.load(Ordering::Relaxed);
        stuck.then(|| self.written())
    }

    /// Bytes written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// A connection that is watched. What was read to tell the protocols apart comes first.
#[derive(Debug)]
pub(crate) struct Watched {
    wire: Wire,
    first: &'static [u8],
    frames: Option<Frames>,
    /// Nothing more is written.
    is_shut: bool,
    seen: Arc<Seen>,
}

impl Watched {
    /// A caller's, of which `first` was read, all of it before the first frame.
    pub(crate) fn of_caller(wire: Wire, first: &'static [u8]) -> Self {
        Self {
            wire,
            first,
            frames: Some(Frames::default()),
            is_shut: false,
            seen: Arc::default(),
        }
    }

    /// An upstream's, of which only the written bytes are counted.
    pub(crate) fn of_upstream(wire: Wire) -> Self {
        Self {
            wire,
            first: &[],
            frames: None,
            is_shut: false,
            seen: Arc::default(),
        }
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.seen
            .stuck
            .store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(count)) = written {
            self.seen.written.fetch_add(count as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let (now, later) = this.first.split_at(this.first.len().min(buf.remaining()));
            buf.put_slice(now);
            this.first = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.wire).poll_read(cx, buf))?;
        if let Some(frames) = &mut this.frames {
            frames.pass(&buf.filled()[before..], &this.seen);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    /// From a caller that floods, also reads until it closes: what is not read would make the
    /// system reset the connection, and the last word be lost. Whoever polls sets a limit.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_shut {
            ready!(Pin::new(&mut this.wire).poll_shutdown(cx))?;
            this.is_shut = true;
        }
        while this.seen.is_flooded() {
            let mut unwanted = [0; 1024];
            let mut unwanted = ReadBuf::new(&mut unwanted);
            ready!(Pin::new(&mut this.wire).poll_read(cx, &mut unwanted))?;
            if unwanted.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.wire).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }
}

/// Where in the sequence of frames a connection is.
#[derive(Debug)]
struct Frames {
    head: [u8; 9],
    head_bytes: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: usize,
    /// The frame is the last of a head.
    ends_head: bool,
    chores: Chores,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            head: [0; 9],
            head_bytes: 0,
            payload: 0,
            ends_head: false,
            chores: Chores {
                left: CHORES,
                since: None,
            },
        }
    }
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8], seen: &Seen) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = &bytes[skipped..];
            } else {
                let wanted = (self.head.len() - self.head_bytes).min(bytes.len());
                let (now, later) = bytes.split_at(wanted);
                self.head[self.head_bytes..][..wanted].copy_from_slice(now);
                self.head_bytes += wanted;
                bytes = later;
                if self.head_bytes < self.head.len() {
                    return;
                }
                self.begin(seen);
            }
            if self.payload == 0 && self.ends_head {
                self.ends_head = false;
                seen.head_is_open.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Nine bytes are there: length, type, flags and stream of a frame.
    fn begin(&mut self, seen: &Seen) {
        let [long, mid, short, kind, flags, ..] = self.head;
        self.head_bytes = 0;
        self.payload = u32::from_be_bytes([0, long, mid, short]) as usize;
        match kind {
            HEADERS | CONTINUATION => {
                self.ends_head = flags & END_HEADERS != 0;
                seen.head_is_open.store(true, Ordering::Relaxed);
            }
            SETTINGS | PING if flags & ACK == 0 && !self.chores.is_one_more() => {
                seen.flooded.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// What a caller may still make us do for nothing.
#[derive(Debug)]
struct Chores {
    left: u32,
    since: Option<Instant>,
}

impl Chores {
    /// Whether one more may be asked for.
    fn is_one_more(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let pauses = (now - since).as_millis() / CHORE_PAUSE.as_millis();
        let pauses = u32::try_from(pauses).unwrap_or(CHORES).min(CHORES);
        if pauses > 0 {
            self.since = Some(now);
            self.left = (self.left + pauses).min(CHORES);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        // Bytes that would be frames of other kinds if they were taken for heads.
        frame.resize(9 + payload, PING);
        frame
    }

    #[test]
    fn a_head_is_open_from_its_first_frame_to_the_last_byte_of_the_one_that_ends_it() {
        let (mut frames, seen) = (Frames::default(), Seen::default());
        let steps = [
            (frame(HEADERS, END_HEADERS, 20), false),
            (frame(HEADERS, END_HEADERS, 20)[..28].to_vec(), true),
            (vec![0], false),
            (frame(HEADERS, 0, 20), true),
            (frame(CONTINUATION, 0, 0), true),
            (frame(CONTINUATION, END_HEADERS, 0), false),
            (frame(0, END_HEADERS, 20)[..15].to_vec(), false),
        ];
        for (step, (bytes, open)) in steps.into_iter().enumerate() {
            frames.pass(&bytes, &seen);
            assert_eq!(seen.head_is_open(), open, "after step {step}");
        }
        assert!(!seen.is_flooded());
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_makes_work_is_counted_and_forgiven_with_time() {
        let mut chores = Chores {
            left: CHORES,
            since: None,
        };
        for _ in 0..CHORES {
            assert!(chores.is_one_more());
        }
        assert!(!chores.is_one_more());
        tokio::time::advance(CHORE_PAUSE * 3).await;
        let allowed = (0..10).filter(|_| chores.is_one_more()).count();
        assert_eq!(allowed, 3);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..5000).filter(|_| chores.is_one_more()).count(), 1000);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            kinds in prop::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..30),
            cuts in prop::collection::vec(1usize..20, 1..50),
        ) {
            let bytes: Vec<u8> = kinds
                .iter()
                .flat_map(|(kind, flags, payload)| frame(*kind, *flags, *payload))
                .collect();
            let whole = Seen::default();
            let mut frames = Frames::default();
            frames.pass(&bytes, &whole);
            prop_assert_eq!((frames.payload, frames.head_bytes), (0, 0));

            let pieces = Seen::default();
            let mut frames = Frames::default();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
                let (now, later) = rest.split_at(rest.len().min(*cut));
                frames.pass(now, &pieces);
                rest = later;
            }
            prop_assert_eq!(pieces.head_is_open(), whole.head_is_open());
            prop_assert_eq!(frames.chores.left, {
                let chores = |kind: &u8, flags: &u8| matches!(*kind, SETTINGS | PING) && flags & ACK == 0;
                let count = kinds.iter().filter(|(kind, flags, _)| chores(kind, flags)).count();
                CHORES - u32::try_from(count).unwrap()
            });
        }
    }
}
