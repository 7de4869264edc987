//! HTTP/1.1 byte by byte, for what a well-behaved client hides: 1xx responses, how a body ends,
//! requests that are wrong.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that takes nothing for so long has paused.
const PAUSE: Duration = Duration::from_millis(150);

/// Sends `request` and returns everything that comes until the server closes.
///
/// # Panics
///
/// If nobody listens at `addr`.
pub async fn raw_http1(addr: SocketAddr, request: impl AsRef<[u8]>) -> Bytes {
    let mut client = RawClient::connect(addr).await;
    client.send(request).await;
    client.read_to_close().await
}

/// A connection over which a test writes bytes and reads responses.
pub struct RawClient {
    socket: TcpStream,
    /// Read and not used yet.
    unread: BytesMut,
}

/// Status line and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status.
    pub status: u16,
    /// Header lines in order, as they were written.
    pub headers: Vec<(String, String)>,
}

/// One response, with all that came before it.
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// The 1xx responses before it, in order. 101 is not among them: it is a last one.
    pub informational: Vec<Head>,
    /// Its own head.
    pub head: Head,
    /// Its body, without the framing.
    pub body: Bytes,
    /// Its trailers; empty if there were none.
    pub trailers: Vec<(String, String)>,
    /// Whether its body ended as its framing says. `false`: the connection closed before.
    pub complete: bool,
}

impl Head {
    /// The value of a header; of several lines the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl RawResponse {
    /// The value of a trailer; of several lines the first.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        find(&self.trailers, name)
    }
}

impl RawClient {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens at `addr`.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self {
            socket: super::connect(addr).await,
            unread: BytesMut::new(),
        }
    }

    /// Sends these bytes. That the server has closed is seen when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref()).await;
    }

    /// Sends as many of these bytes as the server takes, and no more once it has paused for long.
    pub async fn send_what_is_taken(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            match timeout(PAUSE, self.socket.write(&bytes[taken..])).await {
                Ok(Ok(more)) => taken += more,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        taken
    }

    /// Ends the connection by a reset, as a machine that is switched off does.
    ///
    /// # Panics
    ///
    /// If the system does not let it.
    pub fn reset(self) {
        let set = self.socket.set_zero_linger();
        set.expect("a socket that may be reset");
    }

    /// Says that nothing more will be sent.
    pub async fn end(&mut self) {
        let _ = self.socket.shutdown().await;
    }

    /// Everything that comes until the server closes, or resets.
    pub async fn read_to_close(&mut self) -> Bytes {
        while self.read_more().await {}
        self.unread.split().freeze()
    }

    /// The next `length` bytes.
    ///
    /// # Panics
    ///
    /// If the server closes before.
    pub async fn read_exact(&mut self, length: usize) -> Bytes {
        while self.unread.len() < length {
            assert!(self.read_more().await, "closed after {:?}", self.unread);
        }
        self.unread.split_to(length).freeze()
    }

    /// Bytes up to and with `end`: for bodies that are read as they come.
    ///
    /// # Panics
    ///
    /// If the server closes before.
    pub async fn read_until(&mut self, end: &[u8]) -> Bytes {
        loop {
            let found = self.unread.windows(end.len()).position(|at| at == end);
            if let Some(at) = found {
                return self.unread.split_to(at + end.len()).freeze();
            }
            assert!(self.read_more().await, "closed after {:?}", self.unread);
        }
    }

    /// The next head, 1xx or not.
    ///
    /// # Panics
    ///
    /// If the server closes before its end, or if it is not HTTP/1.
    pub async fn read_head(&mut self) -> Head {
        let head = self.read_until(b"\r\n\r\n").await;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines
            .next()
            .filter(|line| line.starts_with("HTTP/1."))
            .and_then(|line| line.get(9..12)?.parse().ok());
        let Some(status) = status else {
            panic!("not a status line: {text:?}")
        };
        Head {
            status,
            headers: lines.map(header_line).collect(),
        }
    }

    /// The next response to anything but HEAD or CONNECT.
    ///
    /// # Panics
    ///
    /// If the server closes before its head ends, or if it is not HTTP/1.
    pub async fn read_response(&mut self) -> RawResponse {
        self.read(true).await
    }

    /// The next response to HEAD: whatever it announces, it has no body.
    ///
    /// # Panics
    ///
    /// If the server closes before its head ends, or if it is not HTTP/1.
    pub async fn read_response_to_head(&mut self) -> RawResponse {
        self.read(false).await
    }

    async fn read(&mut self, may_have_body: bool) -> RawResponse {
        let mut informational = Vec::new();
        let head = loop {
            let head = self.read_head().await;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            informational.push(head);
        };
        let mut response = RawResponse {
            informational,
            head,
            body: Bytes::new(),
            trailers: Vec::new(),
            complete: true,
        };
        let length = response.head.header("content-length");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        let chunked = response
            .head
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        if !may_have_body || matches!(response.head.status, 101 | 204 | 304) {
            return response;
        }
        if chunked {
            self.read_chunks(&mut response).await;
        } else if let Some(length) = length {
            while self.unread.len() < length && self.read_more().await {}
            response.complete = self.unread.len() >= length;
            let there = length.min(self.unread.len());
            response.body = self.unread.split_to(there).freeze();
        } else {
            response.body = self.read_to_close().await;
        }
        response
    }

    async fn read_chunks(&mut self, response: &mut RawResponse) {
        let mut body = BytesMut::new();
        response.complete = loop {
            let Some(line) = self.line().await else {
                break false;
            };
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                panic!("not the size of a chunk: {line:?}")
            };
            if size == 0 {
                break self.read_trailers(&mut response.trailers).await;
            }
            while self.unread.len() < size + 2 && self.read_more().await {}
            let there = size.min(self.unread.len());
            body.extend_from_slice(&self.unread.split_to(there));
            if self.unread.len() < 2 {
                break false;
            }
            self.unread.advance(2);
        };
        response.body = body.freeze();
    }

    /// Whether they came to their end.
    async fn read_trailers(&mut self, trailers: &mut Vec<(String, String)>) -> bool {
        while let Some(line) = self.line().await {
            if line.is_empty() {
                return true;
            }
            trailers.push(header_line(&line));
        }
        false
    }

    /// A line without its end; `None` if the server closes before.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.split_to(at + 2);
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    /// Reads what has come; `false` once nothing more will. A reset is an end like any other.
    async fn read_more(&mut self) -> bool {
        matches!(self.socket.read_buf(&mut self.unread).await, Ok(1..))
    }
}

fn header_line(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

fn find<'a>(lines: &'a [(String, String)], name: &str) -> Option<&'a str> {
    lines
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}
