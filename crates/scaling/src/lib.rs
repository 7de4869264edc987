//! Scaling: arithmetic only. Takes figures and `now`, returns numbers of pods and says why.
//!
//! ```text
//! config, annotation ──> spec: the parameters of one revision
//!                         │
//! reports ──> load ──> knative or demand ──> bounds ──> zero ──> pods to ask for, and why
//!          (windows)     (a policy)          └── reconcile ──┘
//! ```
//!
//! Time is a [`Duration`](std::time::Duration) since the unix epoch wherever it is handed in:
//! windows cut it into buckets that begin at whole seconds of the wall clock.

#![forbid(unsafe_code)]

pub mod activity;
pub mod annotation;
pub mod bounds;
pub mod bucket;
pub mod config;
pub mod demand;
pub mod knative;
mod literal;
pub mod load;
pub mod maximum;
pub mod reconcile;
pub mod sample;
pub mod scrape;
pub mod spec;
pub mod window;
pub mod zero;
