//! Bodies of requests on their way to an upstream.
//!
//! One that may have to be sent twice is kept as it passes, up to a limit. That of a caller which
//! sent `Expect: 100-continue` may be held back until the upstream asks for it, or a second has
//! passed (spec/queue-proxy.md §3.8): the caller is asked when its body is first read. (Over
//! HTTP/1 the link sees to that.)

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::incoming::{Broken, Incoming};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// How long a body waits for the upstream's `100 Continue` before it goes anyway.
const CONTINUE_LIMIT: Duration = Duration::from_secs(1);

/// The body of one attempt.
#[derive(Debug)]
pub struct RequestBody {
    /// Was taken for an attempt of which nothing went out.
    front: Option<Bytes>,
    source: Source,
    wait: Option<Wait>,
    begun: bool,
}

#[derive(Debug)]
enum Source {
    Empty,
    Once(Incoming),
    Kept {
        kept: Arc<Mutex<Kept>>,
        attempt: u64,
        next: usize,
    },
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self {
            front: None,
            source: Source::Empty,
            wait: None,
            begun: false,
        }
    }

    /// A body that is sent once.
    pub fn once(body: Incoming) -> Self {
        let source = if body.is_end_stream() {
            Source::Empty
        } else {
            Source::Once(body)
        };
        Self {
            front: None,
            source,
            wait: None,
            begun: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_none() && matches!(self.source, Source::Empty)
    }

    /// The same with `front` before it.
    pub(crate) fn behind(mut self, front: Bytes) -> Self {
        self.front = Some(front);
        self
    }

    /// Whether any of it was read.
    pub(crate) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Holds the body back until `go` is notified, or for a second.
    pub(crate) fn wait_for(&mut self, go: Arc<Notify>) {
        if !self.is_empty() {
            self.wait = Some(Wait {
                go: Box::pin(async move { go.notified().await }),
                limit: Box::pin(sleep(CONTINUE_LIMIT)),
            });
        }
    }
}

struct Wait {
    go: Pin<Box<dyn Future<Output = ()> + Send>>,
    limit: Pin<Box<Sleep>>,
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wait")
    }
}

/// A body that can be sent again as long as no more than a limit of it was read.
#[derive(Debug)]
pub struct Replay(Option<Arc<Mutex<Kept>>>);

#[derive(Debug)]
struct Kept {
    body: Incoming,
    frames: Vec<Bytes>,
    size: usize,
    limit: usize,
    spilled: bool,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Number of the latest attempt, the only one that reads.
    attempt: u64,
}

impl Replay {
    /// Keeps up to `limit` bytes of `body`.
    pub fn new(body: Incoming, limit: usize) -> Self {
        Self((!body.is_end_stream()).then(|| {
            Arc::new(Mutex::new(Kept {
                body,
                frames: Vec::new(),
                size: 0,
                limit,
                spilled: false,
                trailers: None,
                ended: false,
                attempt: 0,
            }))
        }))
    }

    /// The body for one attempt, from its beginning; `None` once more than the limit was read.
    /// For the body of an earlier attempt, which an HTTP/2 connection may hold for a while, it is
    /// over: what is read then is for the new one.
    pub fn attempt(&self) -> Option<RequestBody> {
        let Some(kept) = &self.0 else {
            return Some(RequestBody::empty());
        };
        let mut now = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if now.spilled {
            return None;
        }
        now.attempt += 1;
        Some(RequestBody {
            front: None,
            source: Source::Kept {
                kept: Arc::clone(kept),
                attempt: now.attempt,
                next: 0,
            },
            wait: None,
            begun: false,
        })
    }
}

impl Kept {
    fn poll_frame(
        &mut self,
        next: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.spilled {
            if let Some(frame) = self.frames.get(*next) {
                *next += 1;
                return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
            }
            if let Some(trailers) = &self.trailers {
                let again = (*next == self.frames.len()).then(|| trailers.clone());
                *next = self.frames.len() + 1;
                return Poll::Ready(again.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.ended = true,
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.trailers = Some(trailers.clone());
                    *next = self.frames.len() + 1;
                }
                if let Some(data) = frame.data_ref() {
                    self.size += data.len();
                    self.spilled |= self.size > self.limit;
                    if self.spilled {
                        self.frames = Vec::new();
                    } else {
                        self.frames.push(data.clone());
                        *next += 1;
                    }
                }
            }
            Some(Err(_)) => self.spilled = true,
        }
        Poll::Ready(frame)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(wait) = &mut self.wait {
            if wait.go.as_mut().poll(cx).is_pending() && wait.limit.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
        }
        if let Some(front) = self.front.take() {
            return Poll::Ready(Some(Ok(Frame::data(front))));
        }
        let frame = match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::Once(body) => Pin::new(body).poll_frame(cx),
            Source::Kept {
                kept,
                attempt,
                next,
            } => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if *attempt != kept.attempt {
                    return Poll::Ready(None);
                }
                kept.poll_frame(next, cx)
            }
        };
        self.begun |= frame.is_ready();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_none()
            && match &self.source {
                Source::Empty => true,
                Source::Once(body) => body.is_end_stream(),
                // What was kept may have to be said before the end that the source is at.
                Source::Kept { .. } => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let front = self.front.as_ref().map_or(0, Bytes::len) as u64;
        let hint = match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Once(body) => body.size_hint(),
            Source::Kept { kept, .. } => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let hint = kept.body.size_hint();
                match hint.exact() {
                    Some(rest) => SizeHint::with_exact(rest + kept.size as u64),
                    None => hint,
                }
            }
        };
        match hint.exact() {
            Some(rest) => SizeHint::with_exact(rest + front),
            None => hint,
        }
    }
}
