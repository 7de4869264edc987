//! HTTP in and out: what the activator and the queue-proxy have in common.
//!
//! ```text
//! listener ── workers ── serve (h1 or h2c, one connection) ── the owner's answer() ─┐
//!                                                                                   ▼
//! container or queue-proxy ◄── pool (per worker) ◄── forward (headers, upgrade, 1xx, body)
//! ```
//!
//! - [`listen`]: sockets to accept from, with errors that name the address
//! - `nearby.rs`: connections within one process, where both ends are in it
//! - `h1/`: HTTP/1, both sides of it; `dial.rs`, `pool.rs`, `link.rs`: connections to upstreams
//! - [`workers`]: one thread and one single-threaded runtime each; a request never leaves its own
//! - [`serve`]: accepts and spreads connections; `connection.rs` tells HTTP/1.1 from HTTP/2 and
//!   serves one until closed or cut; `patience.rs` is the one timer of a connection
//! - `h2/`: HTTP/2, callers' connections and those to upstreams
//! - [`headers`]: what a proxy removes, adds and keeps
//! - [`forward`]: one exchange with an upstream, over the pool of the worker
//! - [`incoming`]: bodies as they come in, of callers and of upstreams
//! - [`body`]: answers that hold a guard to their last byte, and end at a deadline
//! - [`request_body`]: request bodies that wait for `100 Continue` and can be sent twice
//! - [`deadline`]: the time limits of one request
//! - [`refusal`]: plain answers of the proxy itself
//! - [`probe`]: one attempt of a workload's probe
//! - [`tls`]: certificates that are read anew when they change, and what is spoken with them
//!
//! A connection to an HTTP/1 upstream has no task of its own: whoever uses it drives it
//! (`link.rs`). That saves two task switches for each read of a response. One to an HTTP/2 upstream
//! is shared, and has one.

#![forbid(unsafe_code)]

pub mod body;
mod caller;
mod connection;
mod crowd;
mod date;
pub mod deadline;
mod dial;
pub mod forward;
mod h1;
mod h2;
pub mod headers;
pub mod incoming;
mod interim;
mod link;
pub mod listen;
mod nearby;
mod outgoing;
mod patience;
mod pool;
pub mod probe;
pub mod refusal;
pub mod request_body;
pub mod serve;
pub mod tls;
mod tunnel;
mod websocket;
pub mod workers;

pub use h1::request_head;
