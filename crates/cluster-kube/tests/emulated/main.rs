//! Both clusters against the emulated API server: over real HTTP, with pods on the loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod bad_input;
mod contract;
mod knative;
mod many;
mod outage;
mod path;
mod scale_in;
mod world;
