//! A pod of which the test answers every request and every probe itself, or does not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::stage::within;

/// The pod. Dropped, it refuses connections; those that were handed out stay.
pub(crate) struct AskedPod {
    pub(crate) addr: SocketAddr,
    requests: UnboundedReceiver<Asked>,
    probes: UnboundedReceiver<Asked>,
    _server: JoinSet<()>,
}

/// One request, on a connection of its own. Dropped, it is cut off.
pub(crate) struct Asked {
    pub(crate) head: String,
    socket: TcpStream,
}

impl AskedPod {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// One at an address that was chosen before.
    pub(crate) fn on(listener: TcpListener) -> Self {
        let addr = listener.local_addr().unwrap();
        let (to_requests, requests) = mpsc::unbounded_channel();
        let (to_probes, probes) = mpsc::unbounded_channel();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, to_requests, to_probes));
        Self {
            addr,
            requests,
            probes,
            _server: server,
        }
    }

    /// The next request that is no probe.
    pub(crate) async fn request(&mut self) -> Asked {
        within(self.requests.recv()).await.unwrap()
    }

    /// The next probe.
    pub(crate) async fn probe(&mut self) -> Asked {
        within(self.probes.recv()).await.unwrap()
    }

    /// Whether a request has come that was not taken by [`AskedPod::request`].
    pub(crate) fn has_more(&mut self) -> bool {
        self.requests.try_recv().is_ok()
    }

    /// Whether a probe has come that was not taken by [`AskedPod::probe`].
    pub(crate) fn has_probes(&mut self) -> bool {
        self.probes.try_recv().is_ok()
    }
}

impl Asked {
    /// Answers 200, and closes.
    pub(crate) async fn answer(self, text: &str) {
        self.write(&fine(text)).await;
    }

    /// The same, to somebody who may have left.
    pub(crate) async fn try_answer(self, text: &str) {
        self.try_write(&fine(text)).await;
    }

    /// Writes this to somebody who may have left, and closes.
    pub(crate) async fn try_write(mut self, text: &str) {
        let _ = self.socket.write_all(text.as_bytes()).await;
    }

    /// Writes this, and goes on holding the connection.
    pub(crate) async fn write(mut self, text: &str) -> Self {
        self.socket.write_all(text.as_bytes()).await.unwrap();
        self
    }
}

fn fine(text: &str) -> String {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}")
}

async fn serve(
    listener: TcpListener,
    requests: UnboundedSender<Asked>,
    probes: UnboundedSender<Asked>,
) {
    let mut heads = JoinSet::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        let (requests, probes) = (requests.clone(), probes.clone());
        heads.spawn(async move {
            let mut head = Vec::new();
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let is_probe = head.contains("k-network-probe: queue");
            let to = if is_probe { probes } else { requests };
            // The test may be over.
            let _ = to.send(Asked { head, socket });
        });
    }
}
