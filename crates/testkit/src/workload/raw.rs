//! A workload that writes the bytes it was given, right or wrong, over HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// 103 with a link, then 200 with the body `ok`.
pub const EARLY_HINTS_200: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nlink: </s.css>; rel=preload\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// 103 with a link, then 404 with the body `no`.
pub const EARLY_HINTS_404: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nlink: </s.css>; rel=preload\r\n\r\n\
    HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";

/// What a [`RawWorkload`] does with one request of a connection.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Writes these bytes, and reads on.
    Write(Bytes),
    /// Writes these bytes and closes. With none: closes without an answer.
    Close(Bytes),
    /// Neither answers nor closes.
    Hang,
}

impl Turn {
    /// Writes these bytes, and reads on.
    pub fn write(bytes: impl AsRef<[u8]>) -> Self {
        Self::Write(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// Writes these bytes and closes.
    pub fn close(bytes: impl AsRef<[u8]>) -> Self {
        Self::Close(Bytes::copy_from_slice(bytes.as_ref()))
    }
}

/// A server of which each connection goes through the same turns, one for each request head.
/// After the last turn it closes; without turns it closes as soon as it has accepted.
pub struct RawWorkload {
    addr: SocketAddr,
    heads: Mutex<mpsc::UnboundedReceiver<Bytes>>,
    /// Ends the server when dropped.
    _server: JoinSet<()>,
}

impl RawWorkload {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If the loopback has no free port.
    pub async fn start(turns: impl IntoIterator<Item = Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port on the loopback");
        let addr = listener.local_addr().expect("a bound socket");
        let (sender, heads) = mpsc::unbounded_channel();
        let mut server = JoinSet::new();
        let turns: Arc<[Turn]> = turns.into_iter().collect();
        server.spawn(serve(listener, turns, sender));
        Self {
            addr,
            heads: Mutex::new(heads),
            _server: server,
        }
    }

    /// One that closes each connection as soon as it has accepted it.
    ///
    /// # Panics
    ///
    /// If the loopback has no free port.
    pub async fn closing() -> Self {
        Self::start([]).await
    }

    /// One that answers what is not HTTP.
    ///
    /// # Panics
    ///
    /// If the loopback has no free port.
    pub async fn garbage() -> Self {
        Self::start([Turn::close("\x01\x02 this is not HTTP\r\n\r\n")]).await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next request, of whatever connection, and returns the bytes of its head,
    /// with what of its body came in the same read.
    ///
    /// # Panics
    ///
    /// If the workload has died.
    pub async fn next_request(&self) -> Bytes {
        let head = self.heads.lock().await.recv().await;
        head.expect("the workload runs as long as this does")
    }
}

async fn serve(listener: TcpListener, turns: Arc<[Turn]>, heads: mpsc::UnboundedSender<Bytes>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(converse(socket, Arc::clone(&turns), heads.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut socket: TcpStream, turns: Arc<[Turn]>, heads: mpsc::UnboundedSender<Bytes>) {
    for turn in turns.iter() {
        let Some(head) = read_head(&mut socket).await else {
            return;
        };
        // Nobody has to look at them.
        let _ = heads.send(head);
        let bytes = match turn {
            Turn::Write(bytes) | Turn::Close(bytes) => bytes,
            Turn::Hang => {
                // Until the other side has enough of it.
                let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
                return;
            }
        };
        if socket.write_all(bytes).await.is_err() || matches!(turn, Turn::Close(_)) {
            return;
        }
    }
}

/// Reads to the end of a head; `None` if the other side closes before.
async fn read_head(socket: &mut TcpStream) -> Option<Bytes> {
    let mut head = BytesMut::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if socket.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head.freeze())
}
