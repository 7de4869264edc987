//! Accepting, and serving one connection: HTTP/1.1, or HTTP/2 by prior knowledge, on one port.
//!
//! Each worker accepts from the same socket and hands the connection to the worker with the
//! fewest. `Upgrade: h2c` is not taken, which RFC 9113 §3.1 allows: such a request is served as
//! HTTP/1.1.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{Body, Guard};
use crate::interim::Interim;
use crate::transport::Transport;
use crate::workers::{Worker, Workers};

/// Time for the head of a request, from its first byte (or from the start of a connection that
/// sends none) to its end (spec/queue-proxy.md §2).
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// How long accepting pauses when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What ends a server: see the drain phases of its process.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new connection; open requests finish.
    pub close: CancellationToken,
    /// What still runs is dropped.
    pub cut: CancellationToken,
    /// Accept loops and connections.
    pub tasks: TaskTracker,
}

/// The peer of one connection.
#[derive(Debug)]
pub struct Caller {
    addr: SocketAddr,
    pub(crate) interim: Interim,
    opened: Instant,
    /// Milliseconds since `opened`, plus one, at which the head that is being read began; 0
    /// while none is.
    head_since: AtomicU64,
    /// Requests that are not answered to their end: what comes meanwhile is their bodies.
    requests: AtomicUsize,
}

impl Caller {
    fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            interim: Interim::default(),
            opened: Instant::now(),
            head_since: AtomicU64::new(1),
            requests: AtomicUsize::new(0),
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn bytes_came(&self) {
        let unknown = self.head_since.load(Ordering::Relaxed) == 0;
        if unknown && self.requests.load(Ordering::Relaxed) == 0 {
            let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.head_since.store(millis + 1, Ordering::Relaxed);
        }
    }

    /// A whole head has come; what is returned is held to the end of its answer.
    fn request_came(self: &Arc<Self>) -> Asked {
        self.head_since.store(0, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        Asked(Arc::clone(self))
    }

    fn head_due(&self) -> Option<Instant> {
        match self.head_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(self.opened + Duration::from_millis(since - 1) + HEAD_LIMIT),
        }
    }
}

/// One request that is not answered to its end yet.
#[derive(Debug)]
pub(crate) struct Asked(Arc<Caller>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers requests. One is made for each worker; it is shared by all connections there.
pub trait Answer: Send + Sync + 'static {
    /// Held by each answer until its last byte.
    type Guard: Guard;

    /// Answers one request. There is no error: a refusal is an answer, too.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> impl Future<Output = Response<Body<Self::Guard>>> + Send;
}

/// Accepts from `listener` on all `workers` until `stop.close`; `make` is called once for each
/// worker. `stop.cut` has to be cancelled at the very end even if nothing was left to cut.
///
/// # Errors
///
/// The system's, if the socket cannot be shared with a worker.
pub fn serve<A: Answer>(
    listener: &TcpListener,
    workers: &Workers,
    stop: &Stop,
    mut make: impl FnMut() -> A,
) -> io::Result<()> {
    let seats: Arc<[Arc<Seat<A>>]> = workers
        .all()
        .iter()
        .map(|worker| {
            Arc::new(Seat {
                worker: Arc::clone(worker),
                open: Open::default(),
                answer: Arc::new(make()),
                tasks: stop.tasks.clone(),
            })
        })
        .collect();
    for (index, seat) in seats.iter().enumerate() {
        let socket = listener.try_clone()?;
        let (seats, workers, stop) = (Arc::clone(&seats), workers.clone(), stop.clone());
        let handle = &seat.worker.handle;
        let _guard = handle.enter();
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let watched = Arc::clone(seat);
        let (close, cut) = (stop.close.clone(), stop.cut.clone());
        // Not tracked: it outlives the connections that it watches over, until `cut`.
        handle.spawn(async move {
            close.cancelled().await;
            watched.open.end(END_CLOSE);
            cut.cancelled().await;
            watched.open.end(END_CUT);
        });
        stop.tasks.spawn_on(
            async move {
                let close = stop.close.clone();
                close
                    .run_until_cancelled_owned(accept(socket, index, workers, seats))
                    .await;
            },
            handle,
        );
    }
    Ok(())
}

/// A worker's share of one listener.
struct Seat<A> {
    worker: Arc<Worker>,
    open: Open,
    answer: Arc<A>,
    tasks: TaskTracker,
}

async fn accept<A: Answer>(
    socket: tokio::net::TcpListener,
    own: usize,
    workers: Workers,
    seats: Arc<[Arc<Seat<A>>]>,
) {
    loop {
        let (stream, addr) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Out of descriptors or memory: whoever waits in the backlog waits on.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        let chosen = workers.idlest(own);
        let seat = Arc::clone(&seats[chosen]);
        seat.worker.connections.fetch_add(1, Ordering::Relaxed);
        let tasks = seat.tasks.clone();
        if chosen == own {
            tasks.spawn(connection(stream, addr, seat));
        } else if let Ok(stream) = stream.into_std() {
            let handle = seat.worker.handle.clone();
            tasks.spawn_on(
                async move {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connection(stream, addr, seat).await;
                    }
                },
                &handle,
            );
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn connection<A: Answer>(stream: TcpStream, addr: SocketAddr, seat: Arc<Seat<A>>) {
    let _counted = Counted(&seat.worker);
    // Small answers must not wait for the caller's acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let Ok(Ok((first, is_h2))) = timeout(HEAD_LIMIT, first_bytes(&stream)).await else {
        return;
    };
    let caller = Arc::new(Caller::new(addr));
    let transport = Transport::new(stream, first, Arc::clone(&caller));
    let service = service_fn(|request| {
        let asked = caller.request_came();
        let answer = Arc::clone(&seat.answer).answer(request, Arc::clone(&caller));
        async move { Ok::<_, Infallible>(answer.await.map(|body| body.answers(asked))) }
    });
    if is_h2 {
        let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // The limits that callers of the original know (spec/queue-proxy.md §2).
        http.timer(TokioTimer::new())
            .max_concurrent_streams(250)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .max_frame_size(1 << 20)
            .max_header_list_size((1 << 20) + 320);
        let mut http = pin!(http.serve_connection(transport, service));
        drive(&seat.open, &caller, |cx, closing| {
            if closing {
                http.as_mut().graceful_shutdown();
            }
            http.as_mut().poll(cx).map(drop)
        })
        .await;
    } else {
        let mut http = hyper::server::conn::http1::Builder::new();
        // The limit on the head is kept in `drive`: hyper's would also end idle connections,
        // and costs a timer for each request.
        http.header_read_timeout(None);
        let mut http = pin!(http.serve_connection(transport, service).with_upgrades());
        drive(&seat.open, &caller, |cx, closing| {
            if closing {
                http.as_mut().graceful_shutdown();
            }
            http.as_mut().poll(cx).map(drop)
        })
        .await;
    }
}

/// Reads just enough to tell the protocols apart; a connection that ends before has no request.
async fn first_bytes(stream: &TcpStream) -> io::Result<(Bytes, bool)> {
    let mut first = [0; PREFACE.len()];
    let mut count = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut first[count..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if first[..count] != PREFACE[..count] {
            return Ok((Bytes::copy_from_slice(&first[..count]), false));
        }
        if count == PREFACE.len() {
            return Ok((Bytes::copy_from_slice(&first), true));
        }
    }
}

/// Polls a connection to its end; tells it to close, drops it when it is cut or when the head
/// of a request takes too long. A timer is set only while the head of a request is incomplete.
async fn drive(
    open: &Open,
    caller: &Caller,
    mut poll: impl FnMut(&mut std::task::Context<'_>, bool) -> Poll<()>,
) {
    let mut entered = None;
    let mut closing = false;
    let mut timer = pin!(sleep_until(caller.opened + HEAD_LIMIT));
    let mut timer_set = false;
    poll_fn(|cx| {
        entered.get_or_insert_with(|| open.enter(cx.waker().clone()));
        let end = open.state.load(Ordering::Acquire);
        if end == END_CUT {
            return Poll::Ready(());
        }
        let close_now = end == END_CLOSE && !closing;
        closing |= close_now;
        if poll(cx, close_now).is_ready() {
            return Poll::Ready(());
        }
        if let Some(due) = caller.head_due() {
            if !timer_set {
                timer.as_mut().reset(due);
                timer_set = true;
            }
            // A timer from an earlier, complete head may ring early; it is set again then.
            while timer.as_mut().poll(cx).is_ready() {
                if Instant::now() >= due {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(due);
            }
        } else {
            timer_set = false;
        }
        Poll::Pending
    })
    .await;
}

const END_CLOSE: u8 = 1;
const END_CUT: u8 = 2;

/// The open connections of one seat, to be woken when they have to end. Cheaper for a
/// connection than a token that all of them poll, which would be one lock for all threads.
#[derive(Default)]
struct Open {
    state: AtomicU8,
    wakers: Mutex<(u64, HashMap<u64, Waker>)>,
}

impl Open {
    fn enter(&self, waker: Waker) -> Entered<'_> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.0 += 1;
        let key = wakers.0;
        wakers.1.insert(key, waker);
        Entered { open: self, key }
    }

    fn end(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Waker> = wakers.1.values().cloned().collect();
        drop(wakers);
        all.into_iter().for_each(Waker::wake);
    }
}

struct Entered<'a> {
    open: &'a Open,
    key: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut wakers = self.open.wakers.lock();
        if let Ok(wakers) = &mut wakers {
            wakers.1.remove(&self.key);
        }
    }
}

struct Counted<'a>(&'a Worker);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
