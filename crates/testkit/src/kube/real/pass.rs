//! Passes a program's request on to the cluster: under the names that namespaces have there, with the
//! rights of the caller, and shows it nothing of other tests.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use serde_json::Value;

use super::super::answer::{Answer, text_answer};
use super::super::call::Call;
use super::super::object::text;
use super::super::shared::{Shared, unpoisoned};
use super::Real;
use super::ask::send;

impl Real {
    /// Has the cluster answer a request.
    pub(in super::super) async fn pass(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        call: &Call,
        parts: &Parts,
        body: Bytes,
    ) -> io::Result<Response<Answer>> {
        let forgotten = unpoisoned(&shared.forgotten).clone();
        if forgotten.contains(&call.group) {
            return Ok(text_answer(StatusCode::NOT_FOUND, "404 page not found\n"));
        }
        let request = self.translated(shared, call, parts, body)?;
        let answer = send(self.base, request).await?;
        let (mut parts, body) = answer.into_parts();
        let is_json = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        if !is_json {
            let body = body.map_err(io::Error::other).boxed_unsync();
            return Ok(Response::from_parts(parts, body));
        }
        if call.verb == "watch" && parts.status.is_success() {
            let body = self.told(shared, call, body);
            return Ok(Response::from_parts(parts, body));
        }
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut document: Value = serde_json::from_slice(&body).map_err(io::Error::other)?;
        if let Some(items) = document.get_mut("items").and_then(Value::as_array_mut) {
            items.retain(|item| self.is_visible(item));
        }
        if let Some(groups) = document.get_mut("groups").and_then(Value::as_array_mut) {
            groups.retain(|group| !forgotten.iter().any(|name| group["name"] == **name));
        }
        self.to_ours(&mut document);
        let body = Full::new(document.to_string().into());
        let body = body.map_err(|never| match never {});
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }

    fn translated(
        &self,
        shared: &Shared,
        call: &Call,
        parts: &Parts,
        body: Bytes,
    ) -> io::Result<Request<Full<Bytes>>> {
        let place = format!("/namespaces/{}", call.namespace);
        let path = match call.namespace.as_str() {
            "" => call.path.clone(),
            namespace => {
                let theirs = format!("/namespaces/{}", self.theirs(namespace));
                call.path.replacen(&place, &theirs, 1)
            }
        };
        let uri = match call.query.as_str() {
            "" => path,
            query => format!("{path}?{query}"),
        };
        let mut request = Request::builder()
            .method(&parts.method)
            .uri(uri)
            .header(header::HOST, "localhost");
        for name in [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                request = request.header(name, value);
            }
        }
        if shared.rules_of(call).is_some() {
            request = request
                .header("impersonate-user", self.user(&call.token))
                .header("impersonate-group", "system:authenticated");
        }
        let body = match serde_json::from_slice::<Value>(&body) {
            Ok(mut document) if !document.is_null() => {
                self.to_theirs(&mut document);
                document.to_string().into()
            }
            _ => body,
        };
        request.body(Full::new(body)).map_err(io::Error::other)
    }

    /// Objects outside namespaces are, and those in this server's own.
    fn is_visible(&self, object: &Value) -> bool {
        match text(object, "/metadata/namespace") {
            "" => true,
            namespace => self.ours(namespace).is_some(),
        }
    }

    /// The events of a watch that concern this server.
    fn told(self: &Arc<Self>, shared: &Arc<Shared>, call: &Call, body: Incoming) -> Answer {
        shared.open_watches.send_modify(|open| *open += 1);
        let watch = Watch {
            real: Arc::clone(self),
            open: Open(Arc::clone(shared)),
            cut: shared.cut.subscribe(),
            body,
            rest: BytesMut::new(),
            everywhere: call.namespace.is_empty(),
        };
        let events = stream::unfold(watch, |mut watch| async {
            let event = watch.next().await?;
            Some((event.map(Frame::data), watch))
        });
        StreamBody::new(events).boxed_unsync()
    }
}

/// Counted among the open ones.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_watches.send_modify(|open| *open -= 1);
    }
}

struct Watch {
    real: Arc<Real>,
    open: Open,
    cut: tokio::sync::watch::Receiver<u64>,
    body: Incoming,
    rest: BytesMut,
    everywhere: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                let Ok(mut event) = serde_json::from_slice::<Value>(&line) else {
                    continue;
                };
                if self.everywhere && !self.real.is_visible(&event["object"]) {
                    continue;
                }
                self.real.to_ours(&mut event);
                return Some(Ok(format!("{event}\n").into()));
            }
            let frame = tokio::select! {
                frame = self.body.frame() => frame?,
                changed = self.cut.changed() => {
                    let _ = changed; // the server lives as long as this
                    let _open = &self.open;
                    return Some(Err(io::Error::other("cut by script")));
                }
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => self.rest.extend_from_slice(&data),
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(io::Error::other(error))),
            }
        }
    }
}
