//! Knative's Service, Configuration, Revision and Route as data.
//!
//! ```text
//! text ── yaml ──► tree with lines ── read ──► Manifests ── plan ──► Deployed ──► hosts, candidates, reach
//!         (bounded)               (every mistake at once)     (what is new, what goes)
//! ```
//!
//! [`read()`] turns files into [`Manifests`], or into all their [`Problem`]s together. [`Deployed`]
//! takes manifests over and over, names revisions as Knative does, and says where traffic goes.
//! No I/O, no clock, no runtime: whoever calls reads the files, starts the pods, and reports back
//! which revision became ready.

#![forbid(unsafe_code)]

mod model;
mod name;
mod plan;
mod problem;
mod read;
mod settings;
mod yaml;

pub use model::{
    Configuration, Container, Manifests, Mark, ObjectKey, Place, RevisionTemplate, Route,
    TrafficTarget, Upon,
};
pub use plan::{Changes, Deployed, HostRoute, KEPT_UNROUTED, Reach, Revision};
pub use problem::{Fault, Problem};
pub use read::{AnnotationRules, Refused, Source, read};
pub use settings::settings;
