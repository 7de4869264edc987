//! HTTP/1, both sides of it (RFC 9112).

pub(crate) mod encode;
mod framing;
mod head;
mod intake;
mod outbox;
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
