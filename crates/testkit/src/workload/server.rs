//! The workload: its socket, its counts, and what the test holds of it.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::routes;
use super::stream::Streamed;

/// A server for HTTP/1.1 and h2c that does what the path says:
///
/// | Path | What it does |
/// |---|---|
/// | `/hold` | answers 200 once the test calls [`Workload::release`] |
/// | `/echo` | streams the request body back, as it comes, and its trailers |
/// | `/trailers` | answers `body`, then the trailer `x-checksum: 42` |
/// | `/status/NNN` | answers that status, without a body |
/// | `/events` | an event stream that the test writes, by [`Workload::next_stream`] |
/// | `/grpc...` | echoes the body as gRPC does: trailer `grpc-status: 0` |
/// | any, with `Upgrade` (HTTP/1.1) | 101, then echoes bytes |
/// | any other | answers a description of the request, for [`Seen::parse`](super::Seen::parse) |
pub struct Workload {
    addr: SocketAddr,
    shared: Arc<Shared>,
    streams: Mutex<mpsc::UnboundedReceiver<Streamed>>,
    /// Ends the server when dropped.
    _server: JoinSet<()>,
}

/// What the requests share.
pub(super) struct Shared {
    pub(super) counts: watch::Sender<Counts>,
    pub(super) released: Semaphore,
    pub(super) streams: mpsc::UnboundedSender<Streamed>,
    /// Connections that were upgraded; they end with the last request and the workload.
    pub(super) upgraded: std::sync::Mutex<JoinSet<()>>,
}

/// Requests that were seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// Inside now; one leaves when its answer has begun, or is cancelled.
    pub(super) inside: usize,
    /// The most that were inside at once.
    pub(super) most: usize,
    /// All, ever.
    pub(super) total: usize,
    /// Connections that were accepted, ever.
    pub(super) connections: usize,
}

impl Workload {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If the loopback has no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        Self::on(listener.expect("a free port on the loopback"))
    }

    /// One at an address that was chosen before.
    ///
    /// # Panics
    ///
    /// If the socket is none.
    pub fn on(listener: TcpListener) -> Self {
        let addr = listener.local_addr().expect("a bound socket");
        let (sender, streams) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            counts: watch::Sender::default(),
            released: Semaphore::new(0),
            streams: sender,
            upgraded: std::sync::Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&shared)));
        Self {
            addr,
            shared,
            streams: Mutex::new(streams),
            _server: server,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets `requests` of `/hold` go, now or when they come.
    pub fn release(&self, requests: usize) {
        self.shared.released.add_permits(requests);
    }

    /// Waits until exactly `requests` are inside at once.
    pub async fn until_inside(&self, requests: usize) {
        self.until(|counts| counts.inside == requests).await;
    }

    /// Waits until `requests` have come, in all.
    pub async fn until_total(&self, requests: usize) {
        self.until(|counts| counts.total >= requests).await;
    }

    /// Requests inside now: come, and neither answered nor cancelled.
    pub fn inside(&self) -> usize {
        self.shared.counts.borrow().inside
    }

    /// The most requests that were ever inside at once.
    pub fn most_inside(&self) -> usize {
        self.shared.counts.borrow().most
    }

    /// Requests that came, in all.
    pub fn total(&self) -> usize {
        self.shared.counts.borrow().total
    }

    /// Connections that were accepted, in all.
    pub fn connections(&self) -> usize {
        self.shared.counts.borrow().connections
    }

    /// Waits for the next request of `/events`; its body is then the test's to write.
    ///
    /// # Panics
    ///
    /// If the workload has died.
    pub async fn next_stream(&self) -> Streamed {
        let stream = self.streams.lock().await.recv().await;
        stream.expect("the workload runs as long as this does")
    }

    async fn until(&self, is_so: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let seen = counts.wait_for(is_so).await;
        seen.expect("the counts live as long as this does");
    }
}

/// Serves until it is dropped, and its connections with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        shared.counts.send_modify(|counts| counts.connections += 1);
        // Small writes are to arrive at once; that this fails means the client has gone.
        let _ = socket.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let service = service_fn(move |request| routes::answer(Arc::clone(&shared), request));
            // A connection that breaks is the test's own doing.
            let _ = server
                .serve_connection_with_upgrades(TokioIo::new(socket), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Counts one request as inside until it is dropped.
pub(super) struct Inside(Arc<Shared>);

impl Inside {
    pub(super) fn enter(shared: &Arc<Shared>) -> Self {
        shared.counts.send_modify(|counts| {
            counts.inside += 1;
            counts.total += 1;
            counts.most = counts.most.max(counts.inside);
        });
        Self(Arc::clone(shared))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.inside -= 1);
    }
}
