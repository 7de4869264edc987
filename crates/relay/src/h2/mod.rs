//! HTTP/2 by prior knowledge, both ways. The `h2` crate has the frames, the compression of heads
//! and the flow control; what a request goes through is ours, so that interim answers pass, that a
//! request nobody processed is told apart from one that failed, and that neither a stream
//! nor its body costs a task and a channel.
//!
//! - `server.rs`: a caller's connection, one task with all its streams
//! - `reply.rs`: the way back to the caller of one stream: interim answers, answer, reset
//! - `client.rs`: connections to upstreams, shared by many requests
//! - `exchange.rs`: one request on such a connection
//! - `inflow.rs`, `outflow.rs`: a body that comes, and one that goes, as fast as it is taken
//! - `watch.rs`: the bytes of a caller's connection, watched for heads that do not end and for
//!   frames that only cost
//!
//! What guards a caller's connection against abuse:
//!
//! | What a caller may do | What holds |
//! |---|---|
//! | open streams | 250 at once; more are refused (REFUSED_STREAM) |
//! | open and reset them | 20 that wait to be served (h2), 1024 for errors of its own (h2), then GOAWAY |
//! | send heads that do not end | 1 MiB + 320 bytes and as many CONTINUATIONs as that needs (h2), 60 s |
//! | send many names | 16,384 in one head, then 431 |
//! | PING, SETTINGS | answered one by one (h2), 1000 at once and 10 a second, then GOAWAY |
//! | DATA that is empty or tiny | 100 empty ones, a budget of small ones (h2), then GOAWAY |
//! | send bodies | 1 MiB for each stream until it is read, 64 MiB for all |
//! | give an answer no window | what is at hand waits, until the request's deadline; 60 s for an answer made here |
//! | not read from the socket | 128 KiB for each stream; 60 s once no request is open |

pub(crate) mod client;
mod exchange;
pub(crate) mod inflow;
mod outflow;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod watch;

/// Window of one stream: what its sender may send before it is read (spec/queue-proxy.md §2).
const STREAM_WINDOW: u32 = 1 << 20;
/// Longest list of headers, as SETTINGS count it (spec/queue-proxy.md §2).
const HEADER_LIST: u32 = (1 << 20) + 320;
/// Bytes of one stream that were taken on and not yet given to the socket.
const SEND_BUFFER: usize = 128 * 1024;
