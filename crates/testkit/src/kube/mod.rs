//! A Kubernetes API server for tests: over real HTTP, in memory, with faults by script.
//!
//! ```text
//! request ── call ── faults ── rules ──┬─ discovery, reviews
//!   (serve tells it in order)          ├─ lists ─┬─► store: objects and changes, one counter
//!                                      ├─ write ─┤     ├─ checks, defaults, fields, apply, patch
//!                                      ├─ deletes┤     │
//!                                      └─ watches ◄────┘
//! ```
//!
//! It behaves as the real one does where a client can tell; what is approximated is told in
//! the header of the module that does it: `fields` and `apply` (server-side apply), `patch`
//! (strategic merge), `deletes` (garbage collection), `rules` (authorisation), `checks`,
//! `controllers`.
//! Its objects can be those of a real cluster instead: `real`.
//! Besides: one version is served of each group; Events of the two groups are two resources;
//! tables have two columns; watches are told as fast as they are read.

mod answer;
mod apply;
mod call;
mod checks;
mod controllers;
mod crds;
mod defaults;
mod deletes;
mod discovery;
mod faults;
mod fields;
mod kinds;
mod lists;
mod object;
mod patch;
mod real;
mod refusal;
mod rules;
mod scale;
mod select;
mod serve;
mod server;
mod shared;
mod store;
mod view;
mod watches;
mod write;

#[cfg(test)]
mod tests;

pub use call::Call;
pub use controllers::{Controllers, NewPod, Running, Setup};
pub use faults::{Fault, Matcher};
pub use kinds::{Generation, Kind};
pub use real::{address as address_in_a_real_cluster, is_asked_for as on_a_real_cluster};
pub use rules::{Grant, Rules};
pub use server::ApiServer;
