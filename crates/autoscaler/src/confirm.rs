//! Asking the activator whether it has the path to a revision: before the last pod goes, somebody
//! else has to be there for the next request.
//!
//! Source: spec/autoscaler.md §8.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use penstock_cluster::BoxFuture;
use penstock_types::header::{AUTOSCALING_PROBE_AGENT, NETWORK_PROBE, PROBE_ACTIVATOR};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Time between two questions.
const PERIOD: Duration = Duration::from_secs(1);
/// Time after which nobody goes on asking.
const LIMIT: Duration = Duration::from_secs(45);
/// Limit for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of an answer that are read: one more than the right one has.
const MOST: usize = PROBE_ACTIVATOR.len() + 1;

/// Finds out who is in the path.
pub trait Confirm: Send + Sync + 'static {
    /// Whether an activator answers for a revision at `public` (host and port). Asked once.
    fn ask<'a>(&'a self, public: &'a str) -> BoxFuture<'a, bool>;
}

/// Asks by HTTP: `GET /healthz`, with the header that makes an activator answer itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    /// Who is asked in place of every Service, by the same request; `None` asks the Service itself.
    pub proxy: Option<SocketAddr>,
}

impl Confirm for Probe {
    fn ask<'a>(&'a self, public: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match timeout(ANSWER, self.ask_once(public)).await {
                Ok(Ok(is_activator)) => is_activator,
                Ok(Err(error)) => {
                    tracing::debug!(public, %error, "no activator answers yet");
                    false
                }
                Err(_late) => false,
            }
        })
    }
}

impl Probe {
    async fn ask_once(self, public: &str) -> io::Result<bool> {
        let stream = match self.proxy {
            Some(proxy) => TcpStream::connect(proxy).await?,
            None => TcpStream::connect(public).await?,
        };
        ask(stream, public).await
    }
}

async fn ask(stream: TcpStream, public: &str) -> io::Result<bool> {
    let (mut link, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = Request::get("/healthz")
        .header(HOST, public)
        .header(USER_AGENT, AUTOSCALING_PROBE_AGENT)
        .header(NETWORK_PROBE, PROBE_ACTIVATOR)
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let exchange = async {
        let answer = link.send_request(request).await.map_err(io::Error::other)?;
        if answer.status() != StatusCode::OK {
            return Ok(false);
        }
        let body = Limited::new(answer.into_body(), MOST).collect().await;
        Ok(body.is_ok_and(|body| body.to_bytes() == PROBE_ACTIVATOR))
    };
    // The connection is only driven as long as the answer is waited for.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ended = connection => exchange.await,
    }
}

/// Asks until an activator answers, or for [`LIMIT`]. Returns whether one did.
pub(crate) async fn until_confirmed(confirm: &dyn Confirm, public: &str) -> bool {
    let asking = async {
        while !confirm.ask(public).await {
            sleep(PERIOD).await;
        }
    };
    timeout(LIMIT, asking).await.is_ok()
}

#[cfg(test)]
mod tests {
    use penstock_testkit::workload::{RawWorkload, Turn};

    use super::*;

    async fn ask_who_answers(answer: &'static str) -> bool {
        let server = RawWorkload::start([Turn::close(answer)]).await;
        Probe::default().ask(&server.addr().to_string()).await
    }

    #[tokio::test]
    async fn the_question_is_the_one_of_the_contract() {
        let server = RawWorkload::start([Turn::Hang]).await;
        let public = server.addr().to_string();
        let asking = tokio::spawn(async move { Probe::default().ask(&public).await });
        let head = server.next_request().await.to_ascii_lowercase();
        asking.abort();
        let head = String::from_utf8(head).unwrap();
        for line in [
            "get /healthz http/1.1",
            "k-network-probe: activator",
            "user-agent: knative-autoscaling-probe",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
    }

    #[tokio::test]
    async fn only_200_and_the_word_activator_confirm() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nactivator";
        assert!(ask_who_answers(ok).await);
        let others = [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nactivator",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nqueue",
            "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nactivator!!!",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "no HTTP at all\r\n\r\n",
        ];
        for answer in others {
            assert!(!ask_who_answers(answer).await, "{answer:?}");
        }
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = nobody.local_addr().unwrap();
        drop(nobody);
        assert!(!Probe::default().ask(&addr.to_string()).await);
    }
}
