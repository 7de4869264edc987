//! Both clusters against the emulated API server: over real HTTP, with pods on the loopback.

mod bad_input;
mod contract;
mod knative;
mod outage;
mod path;
mod world;
