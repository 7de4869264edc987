//! Kubernetes end to end: the real programs, against an API server in this process that behaves
//! as one does, with pods at addresses of their own.
//!
//! - `knative`: a Knative install
//! - `plain`: ordinary Deployments, from zero and back, with the rights that the manifests give
//! - `steady`: what a steady load loses: nothing
//! - `trouble`: what else happens to workloads and to the API server
//! - `world`: the cluster and what runs in it
//! - `program`: the programs as processes
//! - `service`: Services as their clients see them

mod knative;
mod plain;
mod program;
mod service;
mod steady;
mod trouble;
mod world;

pub(crate) fn tests() -> Vec<libtest_mimic::Trial> {
    let all = [
        knative::tests(),
        plain::tests(),
        steady::tests(),
        trouble::tests(),
    ];
    all.into_iter().flatten().collect()
}
