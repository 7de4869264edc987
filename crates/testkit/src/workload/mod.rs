//! Workloads in this process, for what a proxy is put in front of.
//!
//! [`Workload`] speaks HTTP/1.1 and h2c and chooses what to do by path; [`RawWorkload`] writes the
//! bytes that it was given, right or wrong.

mod raw;
mod routes;
mod seen;
mod server;
mod stream;

pub use raw::{EARLY_HINTS_200, EARLY_HINTS_404, RawWorkload, Turn};
pub use seen::Seen;
pub use server::Workload;
pub(crate) use stream::FrameBody;
pub use stream::Streamed;

use std::error::Error;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// The bodies that the workload sends.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

#[cfg(test)]
mod tests;
