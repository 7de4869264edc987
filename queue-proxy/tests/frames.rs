//! HTTP/2 on both sides of a queue-proxy, of which the test writes every frame.

use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frame, Frames, head, kind, request};
use tokio::net::TcpListener;

use crate::world::{Proxy, before};

/// RST_STREAM and GOAWAY codes (RFC 9113 §7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A queue-proxy before a container of which the test writes every frame.
pub(crate) struct World {
    pub(crate) proxy: Proxy,
    listener: TcpListener,
    pub(crate) caller: Frames,
}

impl World {
    pub(crate) async fn start(slots: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = before(listener.local_addr().unwrap()).slots(slots).start();
        let caller = Frames::connect(proxy.addr(), &[]).await;
        Self {
            proxy,
            listener,
            caller,
        }
    }

    /// The container's side of the next connection.
    pub(crate) async fn accept(&self) -> Frames {
        Frames::accept(&self.listener, &[]).await
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&mut self, stream: u32) {
        let head = request("GET", &[]);
        let flags = END_HEADERS | END_STREAM;
        self.caller.send(kind::HEADERS, flags, stream, &head).await;
    }

    /// Sends the head of a request that has a body.
    pub(crate) async fn upload(&mut self, stream: u32) {
        let head = request("POST", &[]);
        self.caller
            .send(kind::HEADERS, END_HEADERS, stream, &head)
            .await;
    }

    /// Has a caller on a connection of its own.
    pub(crate) async fn connect(&mut self) {
        self.caller = Frames::connect(self.proxy.addr(), &[]).await;
    }

    /// Nothing is left, of requests or of connections.
    pub(crate) async fn end(self) {
        drop(self.caller);
        self.proxy.end().await;
    }
}

/// Whether a block of headers, as this proxy writes it, says the text. (Values that the encoder
/// compresses are longer than those here.)
pub(crate) fn is_status(frame: &Frame, status: u16) -> bool {
    let indexed = [200, 204, 206, 304, 400, 404, 500]
        .iter()
        .position(|known| *known == status)
        .map(|at| 0x88 + u8::try_from(at).unwrap());
    match indexed {
        Some(byte) => frame.payload.first() == Some(&byte),
        None => frame.payload.first() != Some(&0x88),
    }
}

pub(crate) async fn answer(container: &mut Frames, stream: u32, status: &str) {
    let head = head(&[(":status", status)]);
    container
        .send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &head)
        .await;
}

pub(crate) async fn reset(container: &mut Frames, stream: u32, error: u32) {
    container
        .send(kind::RST_STREAM, 0, stream, &error.to_be_bytes())
        .await;
}

pub(crate) async fn go_away(container: &mut Frames, last: u32) {
    let payload = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
    container.send(kind::GOAWAY, 0, 0, &payload).await;
}
