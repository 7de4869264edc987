//! Behaviour across crates: through real sockets and processes, and of the workspace itself.
//!
//! - `architecture`: who may depend on whom, and what stays out of the sidecar

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests, also outside of their functions"
)]

mod architecture;
