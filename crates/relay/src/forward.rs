//! One exchange with an upstream: send a request, get the head of its answer, hand over a body
//! that brings the rest.
//!
//! Over HTTP/2 an upstream says of requests that it has not processed them (RFC 9113 §8.7): those
//! are sent again, whatever they are, as far as their bodies are still there.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use tokio::sync::Notify;

use crate::body::{Body, Guard, Relayed};
use crate::caller::Caller;
use crate::deadline::Limits;
pub use crate::dial::DialError;
pub use crate::h1::{BadBody, BadHead, WrongLength};
use crate::h2::inflow::Inflow;
use crate::headers;
use crate::incoming::Broken;
pub use crate::link::LinkError;
pub use crate::outgoing::Outgoing;
pub use crate::pool::Keep;
use crate::pool::Pool;
use crate::request_body::RequestBody;
use crate::tls;
use crate::workers::Workers;

/// How often a request is sent, at most, that an HTTP/2 upstream says it has not processed. Some
/// are refused because it had not yet said how many it takes at once.
const ATTEMPTS: u32 = 5;

/// Sends requests on. One for each worker: its connections stay on the thread that made them.
#[derive(Clone, Debug)]
pub struct Relay {
    pool: Arc<Pool>,
    secured: Option<Arc<Secured>>,
}

/// Pools of one worker for upstreams that speak TLS, by the name that they have to have.
#[derive(Debug)]
struct Secured {
    client: Arc<tls::Client>,
    keep: Keep,
    by_name: Mutex<HashMap<Box<str>, Arc<Pool>>>,
}

/// Why there is no answer of the upstream to hand on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection: nothing was sent.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There was a connection, and it ended before anything of the request was written to it; or,
    /// by HTTP/2, the upstream has said that it did not process the request (RFC 9113 §8.7).
    #[error("{addr} closed the connection before it was sent anything, or refused it unread")]
    Unsent {
        /// Who was to be asked.
        addr: SocketAddr,
        /// What is known of it.
        source: Broken,
    },
    /// The connection ended before the head of the answer was complete.
    #[error("{addr} closed the connection before it answered")]
    Closed {
        /// Who was asked.
        addr: SocketAddr,
        /// What is known of it.
        source: Broken,
    },
    /// What came is no HTTP, or the connection broke.
    #[error("{addr} gave no usable answer: {source}")]
    Broken {
        /// Who was asked.
        addr: SocketAddr,
        /// What is known of it.
        source: Broken,
    },
    /// Nobody had the request yet, but more of its body was read than is kept to send it again.
    #[error("the pod could not be reached, and the body was too long to send it to another")]
    NotRepeatable,
    /// It changed to a protocol that was not asked for.
    #[error("backend tried to switch protocol {got:?} when {asked:?} was requested")]
    Switched {
        /// What it changed to.
        got: String,
        /// What was asked for.
        asked: String,
    },
}

impl ForwardError {
    /// Whether the upstream has certainly not seen the request, for a reason of its own.
    pub fn nothing_sent(&self) -> bool {
        match self {
            Self::Dial(DialError::Refused { .. } | DialError::TimedOut { .. }) => true,
            Self::Unsent { .. } => true,
            Self::Dial(DialError::Exhausted { .. }) => false,
            Self::Closed { .. } | Self::Broken { .. } => false,
            Self::NotRepeatable | Self::Switched { .. } => false,
        }
    }

    /// RFC 9209 §2.3: the type of the error.
    pub fn proxy_error(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Refused { .. }) | Self::Unsent { .. } => "connection_refused",
            Self::Dial(DialError::Exhausted { .. }) => "proxy_internal_error",
            Self::Dial(DialError::TimedOut { .. }) => "connection_timeout",
            Self::Closed { .. } => "connection_terminated",
            Self::Broken { .. } => "http_protocol_error",
            Self::NotRepeatable => "connection_refused",
            Self::Switched { .. } => "http_upgrade_failed",
        }
    }
}

impl Secured {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Pool>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// A relay that keeps `keep` idle connections.
    pub fn new(keep: Keep) -> Self {
        Self {
            pool: Arc::new(Pool::new(keep, None)),
            secured: None,
        }
    }

    /// One for each of `workers`, in their order. Upstreams that are served by the same workers are
    /// reached within the process, without a socket.
    pub fn for_workers(workers: &Workers, keep: Keep) -> Vec<Self> {
        let near = |worker| Some((workers.nearby().clone(), worker));
        (0..workers.count())
            .map(|worker| Self {
                pool: Arc::new(Pool::new(keep, near(worker))),
                secured: None,
            })
            .collect()
    }

    /// One for each of `workers`, in their order, before one upstream that takes `most` requests at
    /// once: it gets no further connection as long as any of them has an idle one.
    pub fn siblings(workers: &Workers, most: usize) -> Vec<Self> {
        let pools = Pool::siblings(workers.count(), most);
        let relay = |pool| Self {
            pool: Arc::new(pool),
            secured: None,
        };
        pools.into_iter().map(relay).collect()
    }

    /// The same with TLS to those that are asked by [`Self::named`].
    #[must_use]
    pub fn secured(self, client: Arc<tls::Client>, keep: Keep) -> Self {
        let secured = Secured {
            client,
            keep,
            by_name: Mutex::default(),
        };
        Self {
            secured: Some(Arc::new(secured)),
            ..self
        }
    }

    /// The way to upstreams with that name in their certificates; the common one if none of them
    /// speaks TLS. What was agreed on under one name is not used under another.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let Some(secured) = &self.secured else {
            return self.clone();
        };
        let mut by_name = secured.lock();
        let pool = match by_name.get(name) {
            Some(pool) => Arc::clone(pool),
            None => {
                let client = Arc::clone(&secured.client);
                let pool = Arc::new(Pool::secured(secured.keep, client, name));
                by_name.insert(name.into(), Arc::clone(&pool));
                pool
            }
        };
        Self {
            pool,
            secured: self.secured.clone(),
        }
    }

    /// Closes all connections to these upstreams that are idle, and the others once they are.
    pub fn let_go(&self, upstreams: &HashSet<SocketAddr>) {
        self.pool.let_go(upstreams);
        if let Some(secured) = &self.secured {
            let pools: Vec<_> = secured.lock().values().cloned().collect();
            pools.iter().for_each(|pool| pool.let_go(upstreams));
        }
    }

    /// Sends `outgoing` to `addr` with `Host: host`; HTTP/2 if it came by HTTP/2. Answers
    /// with status 1xx go straight to `caller`.
    ///
    /// A connection that had been used before and ends without a byte of the answer is replaced
    /// by a new one if the request may be repeated, or nothing of it was written.
    ///
    /// # Errors
    ///
    /// [`ForwardError`]; [`ForwardError::nothing_sent`] tells whether another upstream may be
    /// asked instead.
    pub async fn forward(
        &self,
        addr: SocketAddr,
        host: &HeaderValue,
        outgoing: &Outgoing,
        body: RequestBody,
        caller: &Arc<Caller>,
    ) -> Result<Response<Relayed>, ForwardError> {
        let answer = if outgoing.version() == Version::HTTP_2 {
            // Boxed, as dialling is: requests that do not need it would carry the room.
            Box::pin(self.by_stream(addr, host, outgoing, body, caller)).await?
        } else {
            self.by_link(addr, host, outgoing, body, caller).await?
        };
        let (mut parts, body) = answer.into_parts();
        if parts.version < Version::HTTP_11 {
            // How it came is between the upstream and here; the caller is answered in its own.
            parts.version = Version::HTTP_11;
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            switched(&mut parts.headers, outgoing)?;
        } else {
            headers::remove_hop_by_hop(&mut parts.headers);
        }
        Ok(Response::from_parts(parts, body))
    }

    async fn by_stream(
        &self,
        addr: SocketAddr,
        host: &HeaderValue,
        outgoing: &Outgoing,
        mut body: RequestBody,
        caller: &Caller,
    ) -> Result<Response<Relayed>, ForwardError> {
        let bare = body.is_empty();
        let mut attempts = 1;
        loop {
            let (shared, mut stream) = self.pool.share(addr).await?;
            let go = held_back(outgoing, &mut body);
            let hear = |interim: Response<()>| match &go {
                Some(go) if interim.status() == StatusCode::CONTINUE => go.notify_one(),
                _ if outgoing.hears_interim() => {
                    caller.interim(interim.status(), interim.headers());
                }
                _ => {}
            };
            let head = outgoing.stream_head(self.pool.scheme(), host);
            let failed = match shared.ask(head, &mut body, &mut stream, hear).await {
                Ok(answer) => {
                    let (parts, body) = answer.into_parts();
                    if parts.headers.keys_len() > headers::MOST_NAMES {
                        let source = LinkError::from(BadHead::TooLong).into();
                        return Err(ForwardError::Broken { addr, source });
                    }
                    let body = Inflow::of_answer(body, &parts.headers);
                    let body = Relayed::by_stream(body.into(), stream);
                    return Ok(Response::from_parts(parts, body));
                }
                Err(failed) => failed,
            };
            let again = if failed.unprocessed {
                !body.is_begun()
            } else {
                failed.stale && bare && outgoing.is_repeatable() && failed.why.is_end()
            };
            attempts += 1;
            if !again || attempts > ATTEMPTS {
                let source = failed.why;
                return Err(if failed.unprocessed {
                    ForwardError::Unsent { addr, source }
                } else {
                    broke(addr, source)
                });
            }
        }
    }

    async fn by_link(
        &self,
        addr: SocketAddr,
        host: &HeaderValue,
        outgoing: &Outgoing,
        mut body: RequestBody,
        caller: &Arc<Caller>,
    ) -> Result<Response<Relayed>, ForwardError> {
        let bare = body.is_empty();
        loop {
            let mut link = match self.pool.take(addr) {
                Some(link) => link,
                None => Box::pin(self.pool.open(addr)).await?,
            };
            link.begin(outgoing, host, body);
            let answered = poll_fn(|cx| {
                link.poll_head(cx, |status, headers| {
                    if outgoing.hears_interim() {
                        caller.interim(status, headers);
                    }
                })
            });
            let error = match answered.await {
                Ok(answer) => {
                    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
                    let body = if switched {
                        Relayed::upgraded(link, &self.pool)
                    } else {
                        Relayed::by_link(link, &self.pool)
                    };
                    return Ok(answer.map(|()| body));
                }
                Err(error) => error,
            };
            let stale = link.used && link.is_silent() && error.is_end();
            body = match link.take_back() {
                // Nothing was written: as good as new.
                Some(body) if stale => body,
                Some(_) => {
                    let source = error.into();
                    return Err(ForwardError::Unsent { addr, source });
                }
                None if stale && bare && outgoing.is_repeatable() => RequestBody::empty(),
                None => return Err(broke(addr, error.into())),
            };
        }
    }

    /// Makes the caller's answer of an upstream's: it holds `guard` to its last byte and ends at
    /// the limits. After a 101 the two connections are joined under the same conditions.
    pub fn hand_on<G: Guard>(
        &self,
        answer: Response<Relayed>,
        limits: &Limits,
        guard: G,
    ) -> Response<Body<G>> {
        let until = limits.of_answer();
        answer.map(|relayed| Body::relayed(relayed).until(until).holding(guard))
    }
}

/// Holds the body back until the upstream asks for it, if the caller waits for that.
fn held_back(outgoing: &Outgoing, body: &mut RequestBody) -> Option<Arc<Notify>> {
    outgoing.expects().then(|| {
        let go = Arc::new(Notify::new());
        body.wait_for(Arc::clone(&go));
        go
    })
}

fn switched(answer: &mut HeaderMap, outgoing: &Outgoing) -> Result<(), ForwardError> {
    let got = answer.get(http::header::UPGRADE).cloned();
    let text = |value: Option<&HeaderValue>| {
        value.map_or_else(String::new, |value| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        })
    };
    let same = |got: &HeaderValue, asked: &HeaderValue| {
        got.as_bytes().eq_ignore_ascii_case(asked.as_bytes())
    };
    match (got.as_ref(), outgoing.upgrade()) {
        (Some(got), Some(asked)) if same(got, asked) => {
            headers::remove_hop_by_hop(answer);
            headers::ask_upgrade(answer, got.clone());
            Ok(())
        }
        (got, asked) => Err(ForwardError::Switched {
            got: text(got),
            asked: text(asked),
        }),
    }
}

fn broke(addr: SocketAddr, source: Broken) -> ForwardError {
    if source.is_end() {
        ForwardError::Closed { addr, source }
    } else {
        ForwardError::Broken { addr, source }
    }
}
