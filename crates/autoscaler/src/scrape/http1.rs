//! One question to one queue-proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use penstock_scaling::scrape::Refused;
use penstock_types::request_stats::Report;
use penstock_types::stat::Stat;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::is_possible;

/// Limit for one answer.
const LIMIT: Duration = Duration::from_secs(3);
/// Bytes of an answer that are looked at: a `Stat` with the longest name there can be is no longer.
const MOST: usize = 336;
/// What is asked for, and what an answer has to be.
const PROTOBUF: &str = "application/protobuf";
/// Marks a request for one pod through a mesh.
const DIRECT: &str = "knative-direct-lb";

type Link = SendRequest<Empty<Bytes>>;
/// What one queue-proxy says.
pub(super) type Asked = Stat;

/// Connections to the pods of one revision, one each while they are idle.
#[derive(Debug, Default)]
pub(super) struct Links {
    idle: Mutex<HashMap<SocketAddr, Link>>,
}

impl Links {
    /// Closes the connections to all others.
    pub(super) fn retain(&self, stays: impl Fn(SocketAddr) -> bool) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|addr, _| stays(*addr));
    }

    /// Asks the pod at `addr`; `through` is the host to ask for instead of it.
    ///
    /// # Errors
    ///
    /// Why there are no figures.
    pub(super) async fn ask(
        &self,
        addr: SocketAddr,
        through: Option<&str>,
    ) -> Result<Asked, Refused> {
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.remove(&addr)
        };
        let own = addr.to_string();
        let exchange = async {
            let mut link = match idle {
                Some(link) if !link.is_closed() => link,
                _ => connect(&own).await?,
            };
            let stat = exchange(&mut link, through.unwrap_or(&own), through.is_some()).await?;
            Ok((stat, link))
        };
        let (stat, link) = timeout(LIMIT, exchange)
            .await
            .map_err(|_late| Refused::Other)??;
        // It is ready for the next question before that comes, or will be found closed.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.insert(addr, link);
        Ok(stat)
    }
}

/// Asks `host:port` over a connection of its own.
///
/// # Errors
///
/// Why there are no figures.
pub(super) async fn ask_once(host: &str) -> Result<Asked, Refused> {
    let exchange = async {
        let mut link = connect(host).await?;
        exchange(&mut link, host, false).await
    };
    timeout(LIMIT, exchange)
        .await
        .map_err(|_late| Refused::Other)?
}

async fn connect(host: &str) -> Result<Link, Refused> {
    let stream = TcpStream::connect(host).await.map_err(other)?;
    let _ = stream.set_nodelay(true);
    let (link, connection) = http1::Builder::new()
        .max_buf_size(16 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(other)?;
    // It ends when the link is dropped, and nobody asks how.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a queue-proxy ended early");
        }
    });
    Ok(link)
}

async fn exchange(link: &mut Link, host: &str, direct: bool) -> Result<Asked, Refused> {
    link.ready().await.map_err(other)?;
    let mut request = Request::get("/metrics")
        .header(HOST, host)
        .header(ACCEPT, PROTOBUF);
    if direct {
        request = request.header(DIRECT, "true");
    }
    let request = request.body(Empty::new()).map_err(other)?;
    let answer = link.send_request(request).await.map_err(other)?;
    read(answer).await
}

/// Reads an answer; what is beyond the limit is not waited for.
async fn read(answer: Response<Incoming>) -> Result<Asked, Refused> {
    match answer.status().as_u16() {
        200..=299 => {}
        502 | 503 => return Err(Refused::Mesh),
        _ => return Err(Refused::Other),
    }
    let content_type = answer.headers().get(CONTENT_TYPE);
    if content_type.is_none_or(|it| it != PROTOBUF) {
        return Err(Refused::Other);
    }
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    while bytes.len() < MOST
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame.map_err(other)?.into_data() {
            let room = MOST - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    stat(&bytes).ok_or(Refused::Other)
}

/// The figures in a body, if there are any that can be.
pub(crate) fn stat(body: &[u8]) -> Option<Stat> {
    let body = &body[..body.len().min(MOST)];
    Stat::decode(body).ok().filter(is_possible)
}

/// The figures of one pod without its name.
pub(crate) fn report_of(stat: &Stat) -> Report {
    Report {
        average_concurrency: stat.average_concurrent_requests,
        average_proxied_concurrency: stat.average_proxied_concurrent_requests,
        request_count: stat.request_count,
        proxied_request_count: stat.proxied_request_count,
    }
}

fn other<E>(_: E) -> Refused {
    Refused::Other
}
