//! HTTP/1, both sides of it (RFC 9112), with httparse for what a head is made of.
//!
//! ```text
//! caller ──► intake (what comes, read by its connection or as a body) ──► head, framing
//!                                                                            │
//! caller ◄── server (one task: next head, the answer, all writing) ◄── the owner's answer()
//!                                                                            │
//! upstream ◄── outbox ◄── encode ◄── ../link.rs (driven by who uses it) ◄────┘
//! ```
//!
//! Why it is not hyper's: a queue-proxy is paid for with every request. In one run against nginx
//! (one worker each, 13-byte GET, 64 connections, the proxy alone on its processor) the CPU per
//! request went from 1.51 to 1.05 times nginx's; private memory for each of 2000 open connections
//! from 22 to 4.2 KiB (nginx 9.6), since one that waits holds no buffer and no room for a request;
//! system calls per request from 4.23 to 4.08 (nginx 5.07). No request has a timer
//! (`../patience.rs`) or a task, and a head is not copied to be sent.
//!
//! And what the contract asks that hyper does not do: trailers that were not announced, heads up
//! to 1 MiB with any number of lines, 505 for other versions, the length in a 304, interim
//! answers in their place, a caller that leaves being noticed while nobody reads from it, and a
//! say in what is refused.

pub(crate) mod encode;
mod framing;
mod head;
mod intake;
mod outbox;
#[cfg(test)]
mod properties;
mod rest;
mod server;
pub(crate) mod stock;
#[cfg(test)]
mod tests;

pub use framing::BadBody;
pub use head::BadHead;
pub use outbox::WrongLength;

pub(crate) use framing::{Decoder, Piece};
pub(crate) use head::{AnswerHead, Framing, Scan, answer};
pub(crate) use intake::CallerBody;
pub(crate) use outbox::{Encoder, Outbox};
pub(crate) use server::serve;

/// Reads one whole head of a request, as benchmarks and fuzzers have it; connections find its end
/// piece by piece.
///
/// # Errors
///
/// [`BadHead`] says why it is refused.
pub fn request_head(head: &[u8]) -> Result<http::Request<()>, BadHead> {
    head::request(bytes::Bytes::copy_from_slice(head)).map(|read| read.request)
}
