//! What tests of several crates share. A dev-dependency only; nothing here is in a product.
//!
//! `cluster`: a scripted cluster, builders, and the contract that every cluster keeps.
//! `workload`: a server that does what its paths say, and one that answers with given bytes.
//! `client`: hyper's clients, one connection each, and one that writes and reads raw HTTP/1.1.
//! `frames`: either end of an HTTP/2 connection, frame by frame.
//! `kube`: a Kubernetes API server in memory, with faults by script.
//! `vectors`: the golden vectors, and how tests say which of them passed.
//!
//! All servers listen on port 0 of the loopback and end when they are dropped.
//!
//! Nothing sleeps: what has to be waited for is an event. A helper that cannot do its work
//! panics, which is how a test says so.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a test whose world fails has failed")]

pub mod client;
pub mod cluster;
pub mod frames;
pub mod kube;
pub mod vectors;
pub mod workload;
