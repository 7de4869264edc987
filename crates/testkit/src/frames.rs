//! HTTP/2 frame by frame, right or wrong, for either end of a connection.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
pub mod kind {
    #![expect(missing_docs, reason = "the names are the standard's")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flag of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// [`ACK`], [`END_STREAM`], [`END_HEADERS`] or others.
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
    /// What the kind says.
    pub payload: Bytes,
}

impl Frame {
    /// The number that RST_STREAM begins with, and GOAWAY has after the last stream.
    ///
    /// # Panics
    ///
    /// If it is a frame of another kind.
    pub fn error(&self) -> u32 {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => panic!("no error in {self:?}"),
        };
        let code = self.payload.get(at..at + 4).map(<[u8; 4]>::try_from);
        u32::from_be_bytes(code.expect("a whole frame").expect("four bytes"))
    }

    /// Whether it has that flag.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The bytes of a frame.
///
/// # Panics
///
/// If the payload is longer than any frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload that fits");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A head for HEADERS: `fields` as literals that nobody has to remember (RFC 7541 §6.2.2).
///
/// # Panics
///
/// If a name or value is longer than 126 bytes.
pub fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
            bytes.push(length.expect("a short text"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The head of a request for `/` at the host `a`, with more fields.
pub fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/"),
    ];
    fields.extend(more);
    head(&fields)
}

/// One end of a connection. It answers SETTINGS and PING by itself while it reads.
pub struct Frames {
    socket: TcpStream,
}

impl Frames {
    /// A caller's end, with `settings` as the payload of its first frame.
    ///
    /// # Panics
    ///
    /// If nobody listens at `addr`.
    pub async fn connect(addr: SocketAddr, settings: &[u8]) -> Self {
        let socket = TcpStream::connect(addr).await.expect("a listener");
        let mut this = Self { socket };
        this.write(PREFACE).await;
        this.send(kind::SETTINGS, 0, 0, settings).await;
        this
    }

    /// A server's end, with `settings` as the payload of its first frame.
    ///
    /// # Panics
    ///
    /// If what comes is no HTTP/2.
    pub async fn accept(listener: &TcpListener, settings: &[u8]) -> Self {
        let (mut socket, _) = listener.accept().await.expect("a listener");
        let mut preface = [0; PREFACE.len()];
        socket.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(preface, PREFACE);
        let mut this = Self { socket };
        this.send(kind::SETTINGS, 0, 0, settings).await;
        this
    }

    /// Writes bytes. The other end may be gone.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Writes a frame.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload)).await;
    }

    /// The next frame; `None` once the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).ok()?];
        self.socket.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload: payload.into(),
        };
        match frame.kind {
            kind::SETTINGS if !frame.has(ACK) => self.send(kind::SETTINGS, ACK, 0, &[]).await,
            kind::PING if !frame.has(ACK) => {
                self.send(kind::PING, ACK, 0, &frame.payload).await;
            }
            _ => {}
        }
        Some(frame)
    }

    /// The next frame of that kind.
    ///
    /// # Panics
    ///
    /// If the connection ends before.
    pub async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let next = self.next().await;
            let next = next.unwrap_or_else(|| panic!("it ended before a frame of kind {kind}"));
            if next.kind == kind {
                return next;
            }
        }
    }

    /// The next frame of that stream, window updates aside.
    ///
    /// # Panics
    ///
    /// If the connection ends before.
    pub async fn of(&mut self, stream: u32) -> Frame {
        loop {
            let next = self.next().await;
            let next = next.unwrap_or_else(|| panic!("it ended before a frame of {stream}"));
            if next.stream == stream && next.kind != kind::WINDOW_UPDATE {
                return next;
            }
        }
    }

    /// The error of the GOAWAY that ends the connection, if one came before its end.
    pub async fn last_word(&mut self) -> Option<u32> {
        let mut word = None;
        while let Some(next) = self.next().await {
            if next.kind == kind::GOAWAY {
                word = Some(next.error());
            }
        }
        word
    }
}
