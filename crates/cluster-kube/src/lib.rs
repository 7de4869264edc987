//! Kubernetes behind the port [`Cluster`](penstock_cluster::Cluster).
//!
//! ```text
//! API server ── reflect (list, watch, trim) ── changes ── picture ── Snapshot
//!      ▲
//!      └────── scale (one PATCH) · settle (Service, EndpointSlices, statuses) · Events
//! ```
//!
//! There are two such clusters. [`Deployments`] are ordinary Deployments and StatefulSets with a
//! label; nothing else has to be installed. [`Knative`] is what the controller of a Knative
//! install keeps. Each is seen as an activator needs it, which only reads, or as an autoscaler
//! does, which writes too: see [`deployments::Role`] and [`knative::scaling`].
//!
//! - [`client`]: the way to the API server
//! - [`reflect`]: copies of objects, kept up to date
//! - [`config_map`]: ConfigMaps as live values
//! - [`lease`]: which of several autoscalers holds which bucket
//! - [`deployments`], [`knative`]: the two clusters

#![forbid(unsafe_code)]

pub mod client;
pub mod config_map;
pub mod deployments;
mod event;
mod key;
pub mod knative;
pub mod lease;
mod object;
mod picture;
mod position;
pub mod reflect;
mod review;
mod scale;
mod write;

pub use client::{Access, connect};
pub use deployments::Deployments;
pub use knative::Knative;
pub use reflect::{Reach, Rhythm};

pub(crate) use key::Key;
