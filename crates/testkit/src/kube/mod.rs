//! A Kubernetes API server for tests: over real HTTP, in memory, with faults by script.
//!
//! ```text
//! request ── call ── faults ── rules ──┬─ discovery, reviews
//!   (serve tells it in order)          ├─ lists ─┬─► store: objects and changes, one counter
//!                                      ├─ write ─┤     ├─ checks, defaults, fields, apply, patch
//!                                      └─ watches ◄────┘
//! ```
//!
//! It behaves as the real one does where a client can tell; what is approximated is told in
//! the header of the module that does it: `fields` and `apply` (server-side apply), `patch`
//! (strategic merge), `write` (garbage collection), `rules` (authorisation), `checks`.
//! Besides: one version is served of each group; Events of the two groups are two resources;
//! tables have two columns; watches are told as fast as they are read.

mod answer;
mod apply;
mod call;
mod checks;
mod controllers;
mod crds;
mod defaults;
mod discovery;
mod faults;
mod fields;
mod kinds;
mod lists;
mod object;
mod patch;
mod refusal;
mod rules;
mod scale;
mod select;
mod serve;
mod server;
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
pub use rules::{Grant, Rules};
pub use server::ApiServer;
