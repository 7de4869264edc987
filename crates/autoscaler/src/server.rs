//! The statistics server: activators tell what they hold over WebSockets, on port 8080.
//!
//! ```text
//! activator ── frame ──► decode ──► bucket held here? ── yes ──► the loop
//!                                         └── no ──► forward ──► the autoscaler that holds it
//! ```
//!
//! Any path is served. Probes of the kubelet get a 200. A host that names a bucket which is held
//! elsewhere gets a plain 200 and no WebSocket, so that its caller looks further. At shutdown every
//! connection is closed with code 1012.
//!
//! What a caller sends cannot do harm: a frame has a limit, what waits for the loop has another in
//! bytes, frames that cannot be decoded and figures that no activator can have are left out and
//! counted, and a silent connection ends.
//!
//! Source: spec/autoscaler.md §4.4 and §4.5, spec/activator.md §5.5.

mod forward;
mod frame;
mod route;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use penstock_cluster::Leases;
use penstock_relay::listen::{ListenError, listen};
use penstock_runtime::seldom::Seldom;
use penstock_types::header;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::heard::{Batch, Heard, PODS, Words};
pub use forward::Peers;
pub(crate) use frame::is_possible;
pub(crate) use route::Route;

/// Callers at once: activators (20 at most in the original) and other autoscalers.
const MOST_CALLERS: usize = 256;
/// Bytes of one frame: some forty thousand revisions.
const MOST_FRAME: usize = 4 << 20;
/// Bytes of frames that wait for the loop.
const MOST_QUEUED: usize = 16 << 20;
/// Batches that wait for the loop.
const QUEUE: usize = 1000;
/// Limit for the head of a request.
const HEAD: Duration = Duration::from_secs(3);
/// A caller says something, if only a ping, every few seconds.
const SILENT: Duration = Duration::from_secs(60);
/// Time that callers get to take leave at shutdown.
const CLOSING: Duration = Duration::from_secs(5);
/// Pause after a failed accept: it is nearly always a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The statistics server: bound, not yet serving.
#[derive(Debug)]
pub struct StatServer {
    listener: TcpListener,
    addr: SocketAddr,
}

impl StatServer {
    /// Listens on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the address and why it cannot be had.
    pub fn bind(addr: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { addr, source };
        let listener = listen(addr)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop`, then closes. What is said about buckets that `leases` has elsewhere
    /// goes to `peers`. The receiver is for [`Autoscaler::run`](crate::Autoscaler::run).
    pub fn start(
        self,
        leases: watch::Receiver<Arc<Leases>>,
        peers: Peers,
        stop: CancellationToken,
    ) -> (Serving, mpsc::Sender<Batch>, mpsc::Receiver<Batch>) {
        let (to, batches) = mpsc::channel(QUEUE);
        let tasks = TaskTracker::new();
        let serving = Arc::new(Shared {
            to: to.clone(),
            forwards: forward::start(&leases, &peers, &to, &tasks, &stop),
            leases,
            room: Arc::new(Semaphore::new(MOST_QUEUED)),
            next: AtomicU64::new(PODS + 1),
            bad: Seldom::default(),
            stop,
            cut: CancellationToken::new(),
            tasks: tasks.clone(),
        });
        tasks.spawn(accept(self.listener, Arc::clone(&serving)));
        let serving = Serving { shared: serving };
        (serving, to, batches)
    }
}

/// The statistics server while it serves.
#[derive(Debug)]
pub struct Serving {
    shared: Arc<Shared>,
}

impl Serving {
    /// Waits, once it was told to stop, until every caller has taken leave or was cut off.
    pub async fn ended(self) {
        let Shared {
            stop, tasks, cut, ..
        } = &*self.shared;
        stop.cancelled().await;
        tasks.close();
        if timeout(CLOSING, tasks.wait()).await.is_err() {
            cut.cancel();
            tasks.wait().await;
        }
    }
}

#[derive(Debug)]
struct Shared {
    to: mpsc::Sender<Batch>,
    leases: watch::Receiver<Arc<Leases>>,
    forwards: forward::Forwards,
    /// Bytes of frames that may still be taken.
    room: Arc<Semaphore>,
    next: AtomicU64,
    bad: Seldom,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MOST_CALLERS));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = shared.stop.run_until_cancelled(accepted).await else {
            return;
        };
        match accepted {
            Ok((stream, _)) => {
                let (tasks, serving) = (shared.tasks.clone(), Arc::clone(&shared));
                tasks.spawn(async move {
                    let cut = serving.cut.clone();
                    cut.run_until_cancelled(serve(stream, serving)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for statistics");
                shared.stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

/// One connection: requests first, then perhaps a WebSocket.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Frames are small, and the next one is a second away.
    let _ = stream.set_nodelay(true);
    let (sockets, mut upgraded) = mpsc::channel(1);
    let answering = Arc::clone(&shared);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (shared, sockets) = (Arc::clone(&answering), sockets.clone());
        async move {
            let answer = answer(&mut request, &shared);
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                // There is one upgrade at most, so there is room for it.
                let _ = sockets.try_send(hyper::upgrade::on(request));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection for statistics ended early");
        return;
    }
    if let Ok(upgrade) = upgraded.try_recv()
        && let Ok(socket) = upgrade.await
    {
        listen_to(socket, shared).await;
    }
}

/// What a request gets.
fn answer(request: &mut Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let agent = headers.get(http::header::USER_AGENT);
    let kubelet = agent.is_some_and(|it| it.as_bytes().starts_with(b"kube-probe/"))
        || headers.contains_key(header::KUBELET_PROBE);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let elsewhere = host.is_some_and(|host| !route::may_serve(host, &shared.leases.borrow()));
    if kubelet || elsewhere {
        return Response::new(Full::default());
    }
    match create_response_with_body(request, Full::default) {
        Ok(mut response) => {
            if headers.get(header::DEMAND_EXTENSION).is_some() {
                let version = HeaderValue::from_static(header::DEMAND_EXTENSION_VERSION);
                response
                    .headers_mut()
                    .insert(header::DEMAND_EXTENSION, version);
            }
            response
        }
        Err(error) => {
            let mut response = Response::new(Full::from(format!("{error}\n")));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
    }
}

/// Reads frames until the caller leaves, or is told to.
async fn listen_to(socket: Upgraded, shared: Arc<Shared>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .max_message_size(Some(MOST_FRAME))
        .max_frame_size(Some(MOST_FRAME));
    let io = TokioIo::new(socket);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let connection = shared.next.fetch_add(1, Ordering::Relaxed);
    let mut route = Route::new(shared.leases.clone());
    loop {
        let message = tokio::select! {
            biased;
            () = shared.stop.cancelled() => {
                take_leave(&mut socket).await;
                return;
            }
            message = timeout(SILENT, socket.next()) => message,
        };
        match message {
            Ok(Some(Ok(Message::Binary(bytes)))) => {
                let said = say(&bytes, connection, &mut route, &shared);
                if shared.stop.run_until_cancelled(said).await == Some(false) {
                    return;
                }
            }
            // Texts are skipped, pings answered by the library.
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => {
                let closed = matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                if !closed && let Some(others) = shared.bad.may_say() {
                    tracing::warn!(%error, others, "a connection for statistics broke");
                }
                break;
            }
            Ok(None) | Err(_) => break,
        }
    }
    let _ = shared.to.send(Batch::new(Heard::Ended(connection))).await;
}

/// Hands a frame on; false if nobody takes it any more.
async fn say(bytes: &Bytes, connection: u64, route: &mut Route, shared: &Shared) -> bool {
    let received = Instant::now();
    let permits = u32::try_from(bytes.len().max(1)).unwrap_or(u32::MAX);
    let Ok(room) = Arc::clone(&shared.room).acquire_many_owned(permits).await else {
        return false;
    };
    let mut said = match frame::decode(bytes) {
        Ok(said) => said,
        Err(error) => {
            if let Some(others) = shared.bad.may_say() {
                tracing::warn!(%error, others, "a frame of statistics was left out");
            }
            return true;
        }
    };
    if said.absurd > 0
        && let Some(others) = shared.bad.may_say()
    {
        tracing::warn!(
            absurd = said.absurd,
            others,
            "figures that no activator can have were left out"
        );
    }
    shared.forwards.take(&mut said.words, route);
    if said.words.is_empty() && !said.whole {
        return true;
    }
    let words = Words {
        connection,
        whole: said.whole,
        words: said.words,
        _room: Some(room),
    };
    let batch = Batch {
        heard: Heard::Words(words),
        received,
    };
    shared.to.send(batch).await.is_ok()
}

/// Says why it is over, and waits until the caller has heard it.
async fn take_leave(socket: &mut WebSocketStream<TokioIo<Upgraded>>) {
    let why = CloseFrame {
        code: CloseCode::Restart,
        reason: "restarting".into(),
    };
    if socket.send(Message::Close(Some(why))).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}
