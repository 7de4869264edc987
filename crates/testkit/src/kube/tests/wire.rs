//! Requests as they are on the wire.

use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::ApiServer;
use crate::client;

/// What went wrong with a connection.
pub(super) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Sends a request over a connection of its own, which lives as long as the set.
pub(super) async fn send(
    server: &ApiServer,
    mut request: Request<client::RequestBody>,
) -> Result<(Response<Incoming>, JoinSet<()>), Broken> {
    let stream = TcpStream::connect(server.addr()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Its end is seen by the request.
        let _ = connection.await;
    });
    let host = server.addr().to_string().parse()?;
    request.headers_mut().insert(header::HOST, host);
    Ok((sender.send_request(request).await?, tasks))
}

/// The same with the whole body, which is null if it is no JSON.
pub(super) async fn answer(
    server: &ApiServer,
    request: Request<client::RequestBody>,
) -> Result<(http::response::Parts, Value), Broken> {
    let (answer, _connection) = send(server, request).await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok((parts, serde_json::from_slice(&body).unwrap_or_default()))
}

/// One request over a connection of its own: the status, and the body if it is JSON.
pub(super) async fn ask(
    server: &ApiServer,
    method: &str,
    path: &str,
    media: &str,
    body: &Value,
) -> (u16, Value) {
    let request = request(method, path, media, body);
    let (parts, body) = answer(server, request).await.unwrap();
    (parts.status.as_u16(), body)
}

/// The same without a body.
pub(super) async fn get(server: &ApiServer, path: &str) -> (u16, Value) {
    ask(server, "GET", path, "", &Value::Null).await
}

pub(super) fn request(
    method: &str,
    path: &str,
    media: &str,
    body: &Value,
) -> Request<client::RequestBody> {
    let mut request = Request::builder().method(method).uri(path);
    if !media.is_empty() {
        request = request.header("content-type", media);
    }
    let body = match body {
        Value::Null => client::empty(),
        Value::String(text) => client::body(text.clone()),
        document => client::body(document.to_string()),
    };
    request.body(body).unwrap()
}

/// An open watch, event by event.
pub(super) struct Watching {
    body: Incoming,
    unread: Vec<u8>,
    _connection: JoinSet<()>,
}

impl Watching {
    /// Opens one; the status, if it is refused, 0 if the connection broke.
    pub(super) async fn open(server: &ApiServer, path: &str) -> Result<Self, u16> {
        let request = request("GET", path, "", &Value::Null);
        let (answer, connection) = send(server, request).await.map_err(|_| 0u16)?;
        if answer.status() != 200 {
            return Err(answer.status().as_u16());
        }
        Ok(Self {
            body: answer.into_body(),
            unread: Vec::new(),
            _connection: connection,
        })
    }

    /// The next event; `None` at the end, an error if it was cut.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, hyper::Error> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).unwrap()));
            }
            match self.body.frame().await {
                None if self.unread.is_empty() => return Ok(None),
                None => {
                    let last = std::mem::take(&mut self.unread);
                    return Ok(serde_json::from_slice(&last).ok());
                }
                Some(frame) => {
                    if let Some(data) = frame?.data_ref() {
                        self.unread.extend_from_slice(data);
                    }
                }
            }
        }
    }

    /// The type and the object's name of the next event.
    pub(super) async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.unwrap().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}
