//! A queue-proxy over real sockets, in front of workloads in this process.
//!
//! `case_NN` are the edge cases of spec/queue-proxy.md §11. Nothing waits for a time but where
//! the contract is a time limit; then it is short where it has to pass and an hour where not.

#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod admission;
mod drain;
mod failures;
mod faults;
mod floods;
mod forwarding;
mod frames;
mod framing;
mod http2;
mod http2_abuse;
mod interim;
mod leaving;
mod metrics;
mod probes;
mod request_log;
mod smuggling;
mod statistics;
mod streaming;
mod timeouts;
mod traces;
mod upgrades;
mod world;
