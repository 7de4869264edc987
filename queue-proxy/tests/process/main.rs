//! The program as a process: its environment, its listeners, its signals.
//!
//! `case_NN` are the edge cases of spec/queue-proxy.md §11. The thirty seconds of a drain are shown
//! with a paused clock in `src/drain.rs`; here they are a fraction of a second, and only ever too
//! short a time fails a test.

#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod abuse;
#[cfg(feature = "otlp")]
mod collector;
mod drain;
mod environment;
mod idle;
mod listeners;
#[cfg(feature = "otlp")]
mod pushed;
mod request_log;
mod tls;
mod traces;
mod world;
