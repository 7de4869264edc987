//! Handing words on to the autoscaler that holds their bucket.
//!
//! One task and one connection for each bucket. A word waits while nobody holds its bucket or its
//! holder does not answer, and is dropped when it is too old to be of use: the original means to
//! give up after thirty attempts, and never does.
//!
//! Source: spec/autoscaler.md §4.5.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request};
use penstock_cluster::{Holder, Leases};
use penstock_runtime::seldom::Seldom;
use penstock_types::header;
use penstock_types::wire::Frame;
use prost::Message as _;
use tokio::io;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::route::{Route, buckets};
use crate::heard::{Batch, Heard, Word, Words, kept};

/// Words that wait for one bucket.
const QUEUE: usize = 1000;
/// Time between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// Attempts that a word is given.
const ATTEMPTS: u32 = 30;
/// Limit for one address to be connected to.
const CONNECT: Duration = Duration::from_millis(500);

/// How other autoscalers are reached besides at their pods' addresses.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// What follows the name of a bucket in the host and port of its Service, such as
    /// `.knative-serving.svc.cluster.local:8080`; `None` where there are no Services.
    pub service: Option<String>,
}

/// The ways to all buckets.
#[derive(Debug)]
pub(super) struct Forwards {
    to: Vec<mpsc::Sender<Waiting>>,
    full: Seldom,
}

/// A word on its way.
#[derive(Debug)]
struct Waiting {
    word: Word,
    since: Instant,
}

/// Starts a task for each bucket of `leases` that there is now; their number is fixed.
pub(super) fn start(
    leases: &watch::Receiver<Arc<Leases>>,
    peers: &Peers,
    local: &mpsc::Sender<Batch>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Forwards {
    let named = leases.borrow().names.is_some();
    let buckets = buckets(&leases.borrow());
    let to = buckets.names().iter().enumerate().map(|(bucket, name)| {
        let (to, words) = mpsc::channel(QUEUE);
        let service = match &peers.service {
            // The name is an address by itself.
            _ if named => Some(host_and_port(name).to_owned()),
            Some(rest) => Some(format!("{name}{rest}")),
            None => None,
        };
        let way = Way {
            bucket,
            service,
            leases: leases.clone(),
            local: local.clone(),
            link: None,
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            stop.run_until_cancelled(way.run(words)).await;
        });
        to
    });
    Forwards {
        to: to.collect(),
        full: Seldom::default(),
    }
}

/// What follows the scheme of an address.
fn host_and_port(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

impl Forwards {
    /// Takes out of `words` what is not for this process, and hands it on. Never waits.
    pub(super) fn take(&self, words: &mut Vec<Word>, route: &mut Route) {
        words.retain_mut(|word| {
            let (bucket, holder) = route.of(&word.demand.revision);
            if holder == Holder::Here {
                return true;
            }
            let mut word = word.clone();
            word.at = word.at.or_else(unix_seconds);
            let waiting = Waiting {
                word,
                since: Instant::now(),
            };
            let way = self.to.get(bucket);
            if way.is_none_or(|to| to.try_send(waiting).is_err())
                && let Some(others) = self.full.may_say()
            {
                tracing::warn!(bucket, others, "statistics of a bucket were dropped");
            }
            false
        });
    }
}

/// Words without a time of their own get the second in which they came.
fn unix_seconds() -> Option<u64> {
    let now = std::time::SystemTime::now();
    let unix = now.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    Some(unix.as_secs())
}

/// The way to the holder of one bucket.
struct Way {
    bucket: usize,
    service: Option<String>,
    leases: watch::Receiver<Arc<Leases>>,
    local: mpsc::Sender<Batch>,
    link: Option<Link>,
}

/// A connection to another autoscaler.
struct Link {
    /// Its address, unless the bucket's name led to it.
    holder: Option<SocketAddr>,
    socket: WebSocketStream<TcpStream>,
    additions: bool,
}

impl Way {
    async fn run(mut self, mut words: mpsc::Receiver<Waiting>) {
        loop {
            let next = match &mut self.link {
                // Pings are answered, and its end is noticed, while nothing is to be said.
                Some(link) => tokio::select! {
                    next = words.recv() => next,
                    heard = link.socket.next() => {
                        if !matches!(heard, Some(Ok(_))) {
                            self.link = None;
                        }
                        continue;
                    }
                },
                None => words.recv().await,
            };
            let Some(waiting) = next else { return };
            if !self.deliver(&waiting).await {
                tracing::debug!(
                    bucket = self.bucket,
                    revision = %waiting.word.demand.revision,
                    "nobody took a word in time"
                );
            }
        }
    }

    /// Tries until somebody has taken the word, or it is too old.
    async fn deliver(&mut self, waiting: &Waiting) -> bool {
        loop {
            let holder = self
                .leases
                .borrow_and_update()
                .holders
                .get(self.bucket)
                .copied();
            let taken = match holder {
                Some(Holder::Here) => self.deliver_here(&waiting.word).await,
                Some(Holder::At(addr)) => self.deliver_to(Some(addr), &waiting.word).await.is_ok(),
                Some(Holder::ByName) => self.deliver_to(None, &waiting.word).await.is_ok(),
                Some(Holder::Nobody) | None => false,
            };
            if taken {
                return true;
            }
            if waiting.since.elapsed() + AGAIN > AGAIN * ATTEMPTS {
                return false;
            }
            tokio::select! {
                () = sleep(AGAIN) => {}
                Ok(()) = self.leases.changed() => {}
            }
        }
    }

    async fn deliver_here(&self, word: &Word) -> bool {
        let words = Words {
            connection: kept(self.bucket),
            whole: false,
            words: vec![word.clone()],
            _room: None,
        };
        self.local
            .send(Batch::new(Heard::Words(words)))
            .await
            .is_ok()
    }

    async fn deliver_to(&mut self, holder: Option<SocketAddr>, word: &Word) -> Result<(), Error> {
        if self.link.as_ref().is_some_and(|link| link.holder != holder) {
            self.link = None;
        }
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect(holder).await?,
        };
        let mut frame = Frame::of(
            std::slice::from_ref(&word.demand),
            &word.pod,
            link.additions && word.present,
        );
        frame.whole = false;
        let at = word.at.and_then(|at| i64::try_from(at).ok());
        for message in &mut frame.messages {
            if let Some(stat) = &mut message.stat {
                stat.timestamp = at.unwrap_or(0);
            }
        }
        let sent = link.socket.send(Message::binary(frame.encode_to_vec()));
        timeout(CONNECT, sent).await.map_err(too_late)??;
        self.link = Some(link);
        Ok(())
    }

    /// The pod's address first, then the bucket's Service.
    async fn connect(&self, holder: Option<SocketAddr>) -> Result<Link, Error> {
        let addr = holder.map(|holder| holder.to_string());
        let hosts = [addr.as_ref(), self.service.as_ref()];
        let mut last = Error::ConnectionClosed;
        for host in hosts.into_iter().flatten() {
            match timeout(CONNECT, dial(host)).await.map_err(too_late) {
                Ok(Ok((socket, additions))) => {
                    return Ok(Link {
                        holder,
                        socket,
                        additions,
                    });
                }
                Ok(Err(error)) | Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn too_late(_: tokio::time::error::Elapsed) -> Error {
    Error::Io(io::ErrorKind::TimedOut.into())
}

/// Connects to `host:port`. Says also whether the other side knows our additions.
async fn dial(host: &str) -> Result<(WebSocketStream<TcpStream>, bool), Error> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let mut request: Request<()> = format!("ws://{host}/").into_client_request()?;
    let version = HeaderValue::from_static(header::DEMAND_EXTENSION_VERSION);
    let headers = request.headers_mut();
    headers.insert(header::DEMAND_EXTENSION, version.clone());
    let (socket, answer) = client_async(request, stream).await?;
    let additions = answer.headers().get(header::DEMAND_EXTENSION) == Some(&version);
    Ok((socket, additions))
}
