//! One exchange over HTTP/2 by prior knowledge, on a connection of its own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http::{Answer, invalid};
use super::url::Url;
use super::{Failure, connect_to};

pub(super) async fn get(url: &Url, headers: HeaderMap) -> Result<Answer, Failure> {
    let mut request = Request::new(Full::default());
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
    _tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Exchange {
    /// Sends `request` to `host` on `stream`, and waits for the head of its answer.
    pub(super) async fn start(
        stream: TcpStream,
        request: Request<Full<Bytes>>,
        host: &str,
    ) -> Result<Self, Failure> {
        let broken = |source| Failure::Protocol {
            host: host.to_owned(),
            source,
        };
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let executor = Tasks(Arc::downgrade(&tasks));
        let builder = hyper::client::conn::http2::Builder::new(executor.clone());
        let (mut sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        executor.execute(async move {
            // Its error is the request's error too.
            let _ = connection.await;
        });
        let answer = sender.send_request(request).await.map_err(broken)?;
        Ok(Self {
            answer,
            _tasks: tasks,
        })
    }
}

/// Runs what hyper spawns in a set that ends with the exchange.
///
/// Weak, because the tasks in the set hold their executor.
#[derive(Clone)]
struct Tasks(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .spawn(task);
        }
    }
}
