//! Accepting. Each worker accepts from the same socket and hands the connection to the worker
//! with the fewest; `connection.rs` serves it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::incoming::Incoming;
use http::{Request, Response};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{Body, Guard};
pub use crate::caller::Caller;
use crate::connection::{Open, serve_connection};
use crate::nearby::{Door, PIPE, Wire};
use crate::workers::{Worker, Workers};

/// How long accepting pauses when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// The address of a caller in the same process, who has none.
const WITHIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

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
    let addr = listener.local_addr()?;
    for (index, seat) in seats.iter().enumerate() {
        let socket = listener.try_clone()?;
        let (seats, workers, stop) = (Arc::clone(&seats), workers.clone(), stop.clone());
        let handle = &seat.worker.handle;
        let _guard = handle.enter();
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let watched = Arc::clone(seat);
        let (close, cut) = (stop.close.clone(), stop.cut.clone());
        let nearby = workers.nearby().clone();
        // Not tracked: it outlives the connections that it watches over, until `cut`.
        handle.spawn(async move {
            close.cancelled().await;
            nearby.close(addr);
            watched.open.close();
            cut.cancelled().await;
            watched.open.cut();
        });
        stop.tasks.spawn_on(
            async move {
                let accepting = Accepting {
                    socket,
                    own: index,
                    workers,
                    seats,
                };
                stop.close.run_until_cancelled(accepting.run()).await;
                accepting.rest();
            },
            handle,
        );
    }
    workers.nearby().open(addr, Arc::new(Seats(seats)));
    Ok(())
}

/// A worker's share of one listener.
struct Seat<A> {
    worker: Arc<Worker>,
    open: Open,
    answer: Arc<A>,
    tasks: TaskTracker,
}

/// All shares of one listener, for those within the process.
struct Seats<A>(Arc<[Arc<Seat<A>>]>);

impl<A: Answer> Door for Seats<A> {
    fn enter(&self, worker: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let seat = Arc::clone(&self.0[worker]);
        seat.worker.connections.fetch_add(1, Ordering::Relaxed);
        let (tasks, handle) = (seat.tasks.clone(), seat.worker.handle.clone());
        tasks.spawn_on(connection(Wire::Pipe(theirs), WITHIN, seat), &handle);
        ours
    }
}

/// One worker's accept loop.
struct Accepting<A> {
    socket: tokio::net::TcpListener,
    own: usize,
    workers: Workers,
    seats: Arc<[Arc<Seat<A>>]>,
}

impl<A: Answer> Accepting<A> {
    async fn run(&self) {
        let mut told = false;
        loop {
            match self.socket.accept().await {
                Ok((stream, addr)) => {
                    told = false;
                    self.place(stream, addr);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: whoever waits in the backlog waits on.
                    if !told {
                        tracing::warn!(%error, "cannot accept connections");
                        told = true;
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    /// At the end: takes who has connected already, since the system has told them that they are.
    fn rest(self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok((stream, addr))) = self.socket.poll_accept(&mut cx) {
            self.place(stream, addr);
        }
    }

    /// Hands a connection to the worker with the fewest.
    fn place(&self, stream: TcpStream, addr: SocketAddr) {
        let chosen = self.workers.idlest(self.own);
        let seat = Arc::clone(&self.seats[chosen]);
        seat.worker.connections.fetch_add(1, Ordering::Relaxed);
        let tasks = seat.tasks.clone();
        if chosen == self.own {
            tasks.spawn(connection(Wire::Socket(stream), addr, seat));
        } else if let Ok(stream) = stream.into_std() {
            let handle = seat.worker.handle.clone();
            tasks.spawn_on(
                async move {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connection(Wire::Socket(stream), addr, seat).await;
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

async fn connection<A: Answer>(wire: Wire, addr: SocketAddr, seat: Arc<Seat<A>>) {
    let _counted = Counted(&seat.worker);
    serve_connection(wire, addr, &seat.answer, &seat.open).await;
}

struct Counted<'a>(&'a Worker);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
