//! Clients: hyper's, one connection each, and one that writes and reads raw HTTP/1.1.

mod hyper;
mod raw;

pub use hyper::{Answer, Client, RequestBody, body, empty, streaming_body, with_trailers};
pub use raw::{Head, RawClient, RawResponse, raw_http1};

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects, so that small writes are sent at once.
async fn connect(addr: SocketAddr) -> TcpStream {
    let connected = TcpStream::connect(addr).await;
    match connected.and_then(|socket| socket.set_nodelay(true).map(|()| socket)) {
        Ok(socket) => socket,
        Err(error) => panic!("connect to {addr}: {error}"),
    }
}
