//! Accepting. Each worker accepts from the same socket and hands the connection to the worker
//! whose turn it is (`Workers::next`); `connection.rs` serves it.

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
use crate::connection::{Open, serve_connection, shake_hands};
pub use crate::crowd::Most;
use crate::crowd::{Crowd, Member};
use crate::nearby::{Door, PIPE, Wire};
use crate::tls;
use crate::workers::{Worker, Workers};

/// How long accepting pauses when the process has no descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// The address of a caller in the same process, who has none.
const WITHIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What ends a server (see the drain phases of its process), and what bounds it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new connection; open requests finish.
    pub close: CancellationToken,
    /// What still runs is dropped.
    pub cut: CancellationToken,
    /// Accept loops and connections.
    pub tasks: TaskTracker,
    /// Cancelled by an accept loop that ends by itself, which is a panic: somebody who connects
    /// would wait for ever.
    pub died: CancellationToken,
    /// All connections on its ports; without it there may be any number.
    crowd: Option<Arc<Crowd>>,
}

impl Stop {
    /// Of a server that takes no more connections than `most`, on all its ports together. Those
    /// within the process do not count.
    pub fn with_most(most: Most) -> Self {
        Self {
            crowd: Some(Crowd::new(most)),
            ..Self::default()
        }
    }
}

/// Answers requests. One is made for each worker; it is shared by all connections there.
pub trait Answer: Send + Sync + 'static {
    /// Held by each answer until its last byte.
    type Guard: Guard;

    /// What it calls itself to a caller that sends what is no request (`Proxy-Status`, RFC 9209).
    const NAME: &'static str = "penstock";

    /// Whether callers with an open WebSocket are told when the server closes (1012).
    const TAKES_LEAVE: bool = false;

    /// Ends when a request that comes then might not be refused for want of room. Waited for by
    /// connections whose requests were refused and keep coming (see [`Caller::turn_away`]); who
    /// waits longest is to hear first. Some miss it, so it need not tell of all room.
    fn room(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Answers one request. There is no error: a refusal is an answer, too.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> impl Future<Output = Response<Body<Self::Guard>>> + Send;
}

/// Where to accept from.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// The socket.
    pub listener: &'a TcpListener,
    /// TLS on it, if it is to be spoken there.
    pub tls: Option<&'a tls::Server>,
}

/// Accepts from `listener`, without TLS. See [`serve_all`].
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
    let port = Port {
        listener,
        tls: None,
    };
    serve_all(&[port], workers, stop, |_| Arc::new(make()))
}

/// Accepts from all `ports` on all `workers` until `stop.close`; `answer` is called once for each
/// worker, by its place among them, and may give what serves other ports as well. `stop.cut` has to
/// be cancelled at the very end even if nothing was left to cut.
///
/// # Errors
///
/// The system's, if a socket cannot be shared with a worker.
pub fn serve_all<A: Answer>(
    ports: &[Port<'_>],
    workers: &Workers,
    stop: &Stop,
    mut answer: impl FnMut(usize) -> Arc<A>,
) -> io::Result<()> {
    let seats: Seats<A> = workers
        .all()
        .iter()
        .enumerate()
        .map(|(place, worker)| {
            Arc::new(Seat {
                worker: Arc::clone(worker),
                open: Open::default(),
                answer: answer(place),
                tasks: stop.tasks.clone(),
            })
        })
        .collect();
    let mut doors = Vec::new();
    for port in ports {
        accept_on(port, &seats, workers, stop)?;
        doors.push(port.listener.local_addr()?);
    }
    for seat in seats.iter() {
        let (watched, stop) = (Arc::clone(seat), stop.clone());
        let (doors, nearby) = (doors.clone(), workers.nearby().clone());
        // Not tracked: it outlives the connections that it watches over, until `cut`.
        seat.worker.handle.spawn(async move {
            stop.close.cancelled().await;
            for addr in doors {
                nearby.close(addr);
            }
            watched.open.close();
            stop.cut.cancelled().await;
            watched.open.cut();
        });
    }
    Ok(())
}

/// Accepts from one port.
fn accept_on<A: Answer>(
    port: &Port<'_>,
    seats: &Seats<A>,
    workers: &Workers,
    stop: &Stop,
) -> io::Result<()> {
    let addr = port.listener.local_addr()?;
    for (index, seat) in seats.iter().enumerate() {
        let socket = port.listener.try_clone()?;
        let _guard = seat.worker.handle.enter();
        let accepting = Accepting {
            socket: tokio::net::TcpListener::from_std(socket)?,
            tls: port.tls.cloned(),
            own: index,
            workers: workers.clone(),
            seats: Arc::clone(seats),
            crowd: stop.crowd.clone(),
        };
        let close = stop.close.clone();
        let accept = async move {
            close.run_until_cancelled(accepting.run()).await;
            accepting.rest();
        };
        let accept = to_its_end(accept, stop.died.clone());
        stop.tasks.spawn_on(accept, &seat.worker.handle);
    }
    if port.tls.is_none() {
        let door = Inside(Arc::clone(seats));
        workers.nearby().open(addr, Arc::new(door));
    }
    Ok(())
}

/// Carries a task out; one that is dropped before its end, as by a panic, cancels `died`.
async fn to_its_end(task: impl Future<Output = ()>, died: CancellationToken) {
    let died = died.drop_guard();
    task.await;
    died.disarm();
}

/// A worker's share of what is served.
struct Seat<A> {
    worker: Arc<Worker>,
    open: Open,
    answer: Arc<A>,
    tasks: TaskTracker,
}

/// All workers' shares.
type Seats<A> = Arc<[Arc<Seat<A>>]>;

/// The way in for those within the process.
struct Inside<A>(Seats<A>);

impl<A: Answer> Door for Inside<A> {
    fn enter(&self, worker: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let seat = Arc::clone(&self.0[worker]);
        let counted = Counted::enter(&seat.worker, None);
        let (tasks, handle) = (seat.tasks.clone(), seat.worker.handle.clone());
        tasks.spawn_on(
            connection(Wire::Pipe(theirs), WITHIN, seat, counted),
            &handle,
        );
        ours
    }
}

/// One worker's accept loop.
struct Accepting<A> {
    socket: tokio::net::TcpListener,
    tls: Option<tls::Server>,
    own: usize,
    workers: Workers,
    seats: Seats<A>,
    crowd: Option<Arc<Crowd>>,
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
    /// Open connections are told first: who finds the port closed may count on that.
    fn rest(self) {
        self.seats[self.own].open.close();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok((stream, addr))) = self.socket.poll_accept(&mut cx) {
            self.place(stream, addr);
        }
    }

    /// Hands a connection to the worker whose turn it is.
    fn place(&self, stream: TcpStream, addr: SocketAddr) {
        let member = match &self.crowd {
            None => None,
            Some(crowd) => match crowd.enter() {
                Some(member) => Some(member),
                None => return self.turn_away(crowd, stream),
            },
        };
        let chosen = self.workers.next(self.own);
        let seat = Arc::clone(&self.seats[chosen]);
        let counted = Counted::enter(&seat.worker, member);
        let tasks = seat.tasks.clone();
        if chosen == self.own {
            tasks.spawn(arrived(stream, self.tls.clone(), addr, seat, counted));
        } else if let Ok(stream) = stream.into_std() {
            let handle = seat.worker.handle.clone();
            let tls = self.tls.clone();
            tasks.spawn_on(
                async move {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        arrived(stream, tls, addr, seat, counted).await;
                    }
                },
                &handle,
            );
        }
    }
}

impl<A> Accepting<A> {
    /// Tells somebody that there is no room; who speaks TLS would have to shake hands for it.
    fn turn_away(&self, crowd: &Arc<Crowd>, stream: TcpStream) {
        if self.tls.is_none()
            && let Some(refusing) = crowd.refuse(stream)
        {
            self.seats[self.own].tasks.spawn(refusing);
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

async fn arrived<A: Answer>(
    stream: TcpStream,
    tls: Option<tls::Server>,
    addr: SocketAddr,
    seat: Arc<Seat<A>>,
    counted: Counted,
) {
    let wire = match tls {
        None => Wire::Socket(stream),
        // Apart, so that the room for it is gone once it is over.
        Some(server) => match Box::pin(shake_hands(stream, &server, &seat.open)).await {
            Some(wire) => wire,
            None => return,
        },
    };
    connection(wire, addr, seat, counted).await;
}

async fn connection<A: Answer>(
    wire: Wire,
    addr: SocketAddr,
    seat: Arc<Seat<A>>,
    _counted: Counted,
) {
    serve_connection(wire, addr, &seat.answer, &seat.open).await;
}

/// Counts a connection among its worker's while held, whether or not it comes to be served.
struct Counted {
    worker: Arc<Worker>,
    /// And among all of the server's, if there may be only so many.
    _member: Option<Member>,
}

impl Counted {
    fn enter(worker: &Arc<Worker>, member: Option<Member>) -> Self {
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            worker: Arc::clone(worker),
            _member: member,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.worker.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
