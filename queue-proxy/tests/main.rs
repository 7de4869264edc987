//! A queue-proxy over real sockets, in front of workloads in this process.
//!
//! `case_NN` are the edge cases of spec/queue-proxy.md §11. Nothing waits for a time but where
//! the contract is a time limit; then it is short where it has to pass and an hour where not.

mod admission;
mod failures;
mod forwarding;
mod interim;
mod probes;
mod streaming;
mod upgrades;
mod world;
