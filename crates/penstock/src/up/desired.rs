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
    let proves_itself = reach == Reach::Candidate && candidates.contains(&revision.id);
    let annotations = if proves_itself {
        at_least_once(&template.annotations)
    } else {
        template.annotations.clone()
    };
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

/// The annotations of a revision that has to show a ready pod before it gets traffic: with its
/// initial scale, or one pod, as its lower bound until then. Not as its initial scale, which an
/// autoscaler gives up for good after the progress deadline: a saved file asks to try again.
fn at_least_once(annotations: &Annotations) -> Annotations {
    let key = |name: &str| format!("{AUTOSCALING}{name}");
    let count = |names: [&str; 2]| -> Option<u32> {
        let written = names
            .into_iter()
            .find_map(|name| annotations.get(&key(name)));
        written?.trim().parse().ok()
    };
    let least = count(["min-scale", "minScale"]).unwrap_or(0);
    let initial = count(["initial-scale", "initialScale"]).unwrap_or(0);
    let most = count(["max-scale", "maxScale"]).filter(|most| *most > 0);
    let pods = least.max(initial).max(1).min(most.unwrap_or(u32::MAX));
    let mut annotations = annotations.clone();
    annotations.insert(key("min-scale"), pods.to_string());
    annotations
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
