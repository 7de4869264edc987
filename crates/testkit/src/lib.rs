//! What tests of several crates share. A dev-dependency only; nothing here is in a product.
//!
//! `cluster`: a scripted cluster, builders, and the contract that every cluster keeps.
//!
//! Nothing sleeps: what has to be waited for is an event. A helper that cannot do its work
//! panics, which is how a test says so.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a test whose world fails has failed")]

pub mod cluster;
