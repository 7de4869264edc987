//! From what is deployed to what the local cluster is to run.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use penstock_cluster::{Reachability, Route, Routes, Split, Target};
use penstock_cluster_local::{Desired, Workload};
use penstock_serving::{Deployed, HostRoute, Reach, Revision};
use penstock_types::RevisionId;
use penstock_types::annotation::{AUTOSCALING, Annotations};

use super::images::Images;

/// Every revision as a workload. `routes` is handed on as it is.
pub(crate) fn desired(deployed: &Deployed, images: &Images, routes: Arc<Routes>) -> Desired {
    let reach = deployed.reach();
    let candidates = deployed.candidates();
    let workloads = deployed.revisions().map(|revision| {
        let reach = reach.get(&revision.id).copied().unwrap_or(Reach::Unrouted);
        workload(revision, reach, &candidates, images)
    });
    Desired {
        workloads: workloads.collect(),
        routes,
    }
}

fn workload(
    revision: &Revision,
    reach: Reach,
    candidates: &BTreeSet<RevisionId>,
    images: &Images,
) -> Workload {
    let template = &revision.template;
    let container = &template.container;
    let command = match &container.image {
        // An image without a command was refused when it was read.
        Some(image) if container.command.is_empty() => images.command(image).unwrap_or_default(),
        _ => container.command.clone(),
    };
    let mut annotations = template.annotations.clone();
    let proves_itself = reach == Reach::Candidate && candidates.contains(&revision.id);
    if proves_itself || revision.proven {
        begin_with_a_pod(&mut annotations);
    }
    if proves_itself {
        hold_a_pod(&mut annotations);
    }
    Workload {
        revision: revision.id.clone(),
        service: revision.service.as_deref().unwrap_or_default().into(),
        configuration: revision.configuration.as_str().into(),
        annotations: Arc::new(annotations),
        command,
        args: container.args.clone(),
        env: container.env.clone(),
        working_dir: container.working_dir.as_ref().map(PathBuf::from),
        readiness: Some(template.readiness.clone()),
        startup: template.startup.clone(),
        liveness: template.liveness.clone(),
        slots: template.slots,
        timeouts: template.timeouts,
        protocol: container.protocol,
        reachability: match reach {
            Reach::Candidate => Reachability::Unknown,
            Reach::Routed => Reachability::Reachable,
            Reach::Unrouted => Reachability::Unreachable,
        },
        // Knative's: no request is cut by the end of its pod.
        grace: template.timeouts.whole,
    }
}

/// Gives a revision that is started before it gets traffic its initial scale, as in Knative: this
/// command's default of 0 is for those that start with their first request. It says so for good,
/// because whoever began with a pod keeps that for a stable window after its traffic has come.
fn begin_with_a_pod(annotations: &mut Annotations) {
    if count(annotations, INITIAL_SCALE).is_none() {
        annotations.insert(key(INITIAL_SCALE[0]), "1".to_owned());
    }
}

/// Gives a revision that has to show a ready pod its initial scale as its lower bound until then:
/// by itself an initial scale is given up for good at the progress deadline, but saving a file
/// asks to try again.
fn hold_a_pod(annotations: &mut Annotations) {
    let least = count(annotations, MIN_SCALE).unwrap_or(0);
    let initial = count(annotations, INITIAL_SCALE).unwrap_or(0);
    let most = count(annotations, MAX_SCALE).filter(|most| *most > 0);
    let pods = least.max(initial).max(1).min(most.unwrap_or(u32::MAX));
    annotations.insert(key(MIN_SCALE[0]), pods.to_string());
}

/// Names of annotations, each with its older spelling. The first wins if both are there.
const INITIAL_SCALE: [&str; 2] = ["initial-scale", "initialScale"];
const MIN_SCALE: [&str; 2] = ["min-scale", "minScale"];
const MAX_SCALE: [&str; 2] = ["max-scale", "maxScale"];

fn key(name: &str) -> String {
    format!("{AUTOSCALING}{name}")
}

fn count(annotations: &Annotations, names: [&str; 2]) -> Option<u32> {
    let written = names
        .into_iter()
        .find_map(|name| annotations.get(&key(name)));
    written?.trim().parse().ok()
}

/// The routes for `hosts`. One that stays as it was keeps its place in its rotation.
pub(crate) fn routes(hosts: &[HostRoute], before: &Routes) -> Routes {
    let route = |host: &HostRoute| {
        let targets: Vec<Target> = host
            .targets
            .iter()
            .map(|(revision, percent)| Target {
                revision: revision.clone(),
                percent: *percent,
            })
            .collect();
        let tag = host.tag.clone().unwrap_or_default();
        let same = before.hosts.get(&host.host).filter(|route| {
            let shares = route.split.as_ref().map_or(&[][..], Split::targets);
            route.tag == tag && shares == targets
        });
        let route = same.map(Arc::clone).unwrap_or_else(|| {
            let split = Split::new(targets);
            Arc::new(Route { tag, split })
        });
        (host.host.clone(), route)
    };
    Routes {
        hosts: hosts.iter().map(route).collect::<HashMap<_, _>>(),
    }
}

#[cfg(test)]
mod tests;
