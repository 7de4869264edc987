//! One exchange over HTTP/2 by prior knowledge, on a connection of its own. Its code is that of
//! the upstream connections (`../h2/client.rs`): a second kind of either would be in every
//! queue-proxy's memory.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http::{Answer, invalid};
use super::url::Url;
use super::{Failure, connect_to};
use crate::h2::inflow::Inflow;
use crate::h2::watch::Watched;
use crate::incoming::Incoming;
use crate::nearby::Wire;

pub(super) async fn get(url: &Url, headers: HeaderMap) -> Result<Answer, Failure> {
    let mut request = Request::new(Bytes::new());
    let authority = url.authority();
    *request.uri_mut() = format!("http://{authority}{}", url.path)
        .parse::<Uri>()
        .map_err(|_| invalid("path", &url.path))?;
    *request.headers_mut() = headers;
    let stream = connect_to(&url.host, url.port).await?;
    let exchange = Exchange::start(stream, request, &authority).await?;
    Ok(Answer::from(&exchange.answer))
}

/// An answer whose body may still come, and what drives its connection; both end together.
pub(super) struct Exchange {
    pub(super) answer: Response<Incoming>,
    _connection: JoinSet<()>,
}

impl Exchange {
    /// Sends `request` to `host` on `stream`, and waits for the head of its answer.
    pub(super) async fn start(
        stream: TcpStream,
        request: Request<Bytes>,
        host: &str,
    ) -> Result<Self, Failure> {
        let broken = |source: h2::Error| Failure::Protocol {
            host: host.to_owned(),
            source: source.into(),
        };
        let watched = Watched::of_upstream(Wire::Socket(stream));
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .handshake(watched)
            .await;
        let (sender, connection) = handshake.map_err(broken)?;
        let mut driving = JoinSet::new();
        driving.spawn(async move {
            // Its error is the request's error too.
            let _ = connection.await;
        });
        let mut sender = sender.ready().await.map_err(broken)?;
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts, ());
        let (answer, mut sending) = sender.send_request(head, body.is_empty()).map_err(broken)?;
        if !body.is_empty() {
            sending.send_data(body, true).map_err(broken)?;
        }
        let (head, stream) = answer.await.map_err(broken)?.into_parts();
        let body = Inflow::of_answer(stream, &head.headers);
        Ok(Self {
            answer: Response::from_parts(head, body.into()),
            _connection: driving,
        })
    }
}
