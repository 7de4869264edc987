//! Connections that have changed protocol: bytes both ways until both sides are done.
//!
//! A WebSocket whose server closes is not waited for in silence: between two frames its caller is
//! told that the server goes (1012), so that it comes back elsewhere. What the caller answers goes
//! on to the upstream, as all it sends does, and ends the WebSocket there; what the upstream still
//! says has nobody to hear it any more.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, sleep_until};

use crate::body::Deadlines;
use crate::nearby::Wire;
use crate::websocket::{Frames, RESTART};

/// As large as the peers' (spec/queue-proxy.md §3.9).
const BUFFER: usize = 32 * 1024;

/// What a tunnel goes by.
pub(crate) struct Terms<C, P> {
    /// When it has to be over.
    pub(crate) deadlines: Deadlines,
    /// Whether its caller is to be told now that the server goes; `None` if it never is, or would
    /// not understand it. Whoever changes it wakes the task.
    pub(crate) leaving: Option<C>,
    /// Is told of bytes in either direction.
    pub(crate) passed: P,
}

/// Copies between `caller` and `upstream`, each with what was read of it already, until both have
/// ended, one broke, or a deadline passed. The end of one direction is passed on and leaves the
/// other open. Bytes in either direction restart the idle deadline.
pub(crate) async fn run<C: Fn() -> bool, P: FnMut(usize)>(
    caller: (Wire, Bytes),
    upstream: (Wire, Bytes),
    terms: Terms<C, P>,
) {
    let Terms {
        deadlines,
        leaving,
        passed,
    } = terms;
    let start = Instant::now();
    let last = AtomicU64::new(0);
    // One task uses it, from two places.
    let passed = Mutex::new(passed);
    let mark = |bytes| {
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        last.store(millis, Ordering::Relaxed);
        if let Ok(mut passed) = passed.lock() {
            passed(bytes);
        }
    };
    let (from_caller, to_caller) = split(caller.0);
    let (from_upstream, to_upstream) = split(upstream.0);
    let to_upstream = (caller.1, from_caller, to_upstream);
    let to_caller = (upstream.1, from_upstream, to_caller);
    let both = async {
        match leaving {
            None => tokio::try_join!(copy(to_upstream, &mark), copy(to_caller, &mark)),
            Some(leaving) => {
                let told = AtomicBool::new(false);
                tokio::try_join!(
                    copy_replies(to_upstream, &told, &mark),
                    copy_and_take_leave(to_caller, &leaving, &told, &mark),
                )
            }
        }
    };
    let over = async {
        let Deadlines { whole, idle, .. } = deadlines;
        let idle_at = || {
            let last = start + Duration::from_millis(last.load(Ordering::Relaxed));
            idle.map_or(whole, |idle| (last + idle).min(whole))
        };
        while Instant::now() < idle_at() {
            sleep_until(idle_at()).await;
        }
    };
    tokio::select! {
        copied = both => {
            if let Err(error) = copied {
                tracing::debug!(%error, "an upgraded connection broke");
            }
        }
        () = over => tracing::debug!("an upgraded connection reached its deadline"),
    }
}

/// What was read already, and one direction.
type Way = (Bytes, ReadHalf<Wire>, WriteHalf<Wire>);

/// Copies what was read, then all that comes, then says that nothing more will.
async fn copy((first, mut from, mut to): Way, mark: &impl Fn(usize)) -> io::Result<()> {
    to.write_all(&first).await?;
    to.flush().await?;
    let mut buffer = Vec::with_capacity(BUFFER);
    while from.read_buf(&mut buffer).await? > 0 {
        mark(buffer.len());
        to.write_all(&buffer).await?;
        to.flush().await?;
        buffer.clear();
    }
    to.shutdown().await
}

/// The same from the caller of a WebSocket, which has nothing more to say once it was `told` that
/// the server goes and has answered that.
async fn copy_replies(
    (first, mut from, mut to): Way,
    told: &AtomicBool,
    mark: &impl Fn(usize),
) -> io::Result<()> {
    let mut frames = Frames::default();
    let mut buffer = Vec::with_capacity(BUFFER);
    buffer.extend_from_slice(&first);
    loop {
        frames.pass(&buffer);
        to.write_all(&buffer).await?;
        to.flush().await?;
        if frames.has_closed() && told.load(Ordering::Relaxed) {
            return Ok(());
        }
        buffer.clear();
        match from.read_buf(&mut buffer).await? {
            0 => return to.shutdown().await,
            read => mark(read),
        }
    }
}

/// The same to the caller of a WebSocket, until it has to be told that the server goes.
async fn copy_and_take_leave(
    (first, mut from, mut to): Way,
    leaving: &impl Fn() -> bool,
    told: &AtomicBool,
    mark: &impl Fn(usize),
) -> io::Result<()> {
    let mut frames = Frames::default();
    let mut buffer = Vec::with_capacity(BUFFER);
    buffer.extend_from_slice(&first);
    loop {
        let may_tell = |frames: &Frames| leaving() && frames.is_between() && !frames.has_closed();
        let mut written = 0;
        while written < buffer.len() && !may_tell(&frames) {
            let end = written + frames.pass_one(&buffer[written..]);
            // One write for many short frames, unless the end may be behind any of them.
            let end = if leaving() {
                end
            } else {
                frames.pass(&buffer[end..]);
                buffer.len()
            };
            to.write_all(&buffer[written..end]).await?;
            written = end;
        }
        to.flush().await?;
        if may_tell(&frames) {
            to.write_all(&RESTART).await?;
            to.flush().await?;
            told.store(true, Ordering::Relaxed);
            frames.pass(&buffer[written..]);
            return until_closed(from, frames).await;
        }
        buffer.clear();
        let read = poll_fn(|cx| {
            if may_tell(&frames) {
                return Poll::Ready(Ok(None));
            }
            let mut space = [0; 8 * 1024];
            let mut read = ReadBuf::new(&mut space);
            let polled = Pin::new(&mut from).poll_read(cx, &mut read);
            polled.map_ok(|()| {
                buffer.extend_from_slice(read.filled());
                Some(read.filled().len())
            })
        });
        match read.await? {
            None => {}
            Some(0) => return to.shutdown().await,
            Some(read) => mark(read),
        }
    }
}

/// Waits until the upstream has closed the WebSocket, too, or the connection.
async fn until_closed(mut from: ReadHalf<Wire>, mut frames: Frames) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    while !frames.has_closed() && from.read_buf(&mut buffer).await? > 0 {
        frames.pass(&buffer);
        buffer.clear();
    }
    Ok(())
}
