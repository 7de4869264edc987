//! `GET /state`: services, revisions, pods, lines and decisions, as JSON. `GET
//! /explain/NAMESPACE/NAME`: why a revision, or each one of a service, has so many pods, in words.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;
use penstock_activator::RevisionLoad;
use penstock_autoscaler::Decided;
use penstock_cluster::{Phase, Reachability, Revision, Snapshot};
use penstock_runtime::admin::{JSON, Page};
use penstock_serving::HostRoute;
use penstock_types::RevisionId;
use serde::Serialize;
use tokio::sync::watch;

use super::control::Hosts;

/// Where the page gets its parts from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) hosts: Hosts,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) activator: penstock_activator::Handle,
    pub(crate) autoscaler: penstock_autoscaler::Handle,
}

impl Sources {
    /// The page, as of now.
    pub(crate) fn page(&self) -> Page {
        let hosts = Arc::clone(&self.hosts.borrow());
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let loads = self.activator.revisions();
        let scaling = self.autoscaler.state();
        let state = state(&hosts, &snapshot, &loads, &scaling);
        let mut body = serde_json::to_vec_pretty(&state).unwrap_or_default();
        body.push(b'\n');
        Page::new(JSON, body)
    }

    /// Why the revision or the service `rest` (`NAMESPACE/NAME`) has as many pods as it has.
    pub(crate) fn explain(&self, rest: &str) -> Page {
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let asked = rest.split_once('/').unwrap_or(("default", rest));
        let mut found: Vec<&RevisionId> = snapshot
            .revisions
            .values()
            .filter(|revision| {
                let name = revision.id.name() == asked.1 || *revision.service == *asked.1;
                revision.id.namespace() == asked.0 && name
            })
            .map(|revision| &revision.id)
            .collect();
        found.sort_unstable();
        if found.is_empty() {
            let mut names: Vec<String> =
                snapshot.revisions.keys().map(ToString::to_string).collect();
            names.sort_unstable();
            let text = format!(
                "no revision or service {rest}; there is {}\n",
                names.join(", ")
            );
            return Page::text(StatusCode::NOT_FOUND, text);
        }
        let each = found
            .into_iter()
            .map(|id| match self.autoscaler.revision(id) {
                Some(state) => state.explain(),
                None => format!("{id}: the autoscaler has not seen it yet\n"),
            });
        Page::text(StatusCode::OK, each.collect::<String>())
    }
}

#[derive(Debug, Serialize)]
struct State {
    services: Vec<Service>,
    revisions: Vec<RevisionState>,
}

#[derive(Debug, Serialize)]
struct Service {
    namespace: String,
    name: String,
    hosts: Vec<Host>,
}

#[derive(Debug, Serialize)]
struct Host {
    host: String,
    tag: Option<String>,
    traffic: Vec<Share>,
}

#[derive(Debug, Serialize)]
struct Share {
    revision: String,
    percent: u8,
}

/// One revision. Loads are in units of its metric: requests in flight, or requests per second.
#[derive(Debug, Serialize)]
struct RevisionState {
    namespace: String,
    name: String,
    service: String,
    configuration: String,
    /// `routed`, `candidate` (started to show that it becomes ready) or `unrouted`.
    traffic: &'static str,
    wanted: u32,
    ready: usize,
    /// Requests that wait for a slot.
    waiting: usize,
    /// Requests inside pods.
    in_flight: usize,
    trouble: Option<String>,
    pods: Vec<PodState>,
    scaling: Option<Scaling>,
}

#[derive(Debug, Serialize)]
struct PodState {
    name: String,
    phase: &'static str,
    addr: String,
    in_flight: usize,
}

#[derive(Debug, Serialize)]
struct Scaling {
    policy: &'static str,
    mode: &'static str,
    stable: f64,
    panic: f64,
    target: f64,
    decisions: Vec<Decided>,
}

fn state(
    hosts: &[HostRoute],
    snapshot: &Snapshot,
    loads: &[RevisionLoad],
    scaling: &[penstock_autoscaler::RevisionState],
) -> State {
    let loads: HashMap<&RevisionId, &RevisionLoad> =
        loads.iter().map(|load| (&load.revision, load)).collect();
    let scaling: HashMap<&str, &penstock_autoscaler::RevisionState> = scaling
        .iter()
        .map(|it| (it.revision.as_str(), it))
        .collect();
    let revisions: BTreeMap<&RevisionId, &Arc<Revision>> = snapshot.revisions.iter().collect();
    State {
        services: services(hosts),
        revisions: revisions
            .into_values()
            .map(|revision| {
                let scaling = scaling.get(revision.id.to_string().as_str()).copied();
                of_revision(revision, loads.get(&revision.id).copied(), scaling)
            })
            .collect(),
    }
}

fn services(hosts: &[HostRoute]) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for host in hosts {
        let shown = Host {
            host: host.host.clone(),
            tag: host.tag.clone(),
            traffic: host
                .targets
                .iter()
                .map(|(revision, percent)| Share {
                    revision: revision.name().to_owned(),
                    percent: *percent,
                })
                .collect(),
        };
        // The hosts of one service come one after the other.
        match services.last_mut() {
            Some(last) if last.namespace == host.namespace && last.name == host.route => {
                last.hosts.push(shown);
            }
            _ => services.push(Service {
                namespace: host.namespace.clone(),
                name: host.route.clone(),
                hosts: vec![shown],
            }),
        }
    }
    services
}

fn of_revision(
    revision: &Revision,
    load: Option<&RevisionLoad>,
    scaling: Option<&penstock_autoscaler::RevisionState>,
) -> RevisionState {
    let in_pod = |name: &str| {
        let mut pods = load.iter().flat_map(|load| &load.pods);
        let found = pods.find(|(known, _)| **known == *name);
        found.map_or(0, |(_, in_flight)| *in_flight)
    };
    let pods = revision.pods.iter().map(|pod| PodState {
        name: pod.name.to_string(),
        phase: match pod.phase {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
        },
        addr: pod.addr.to_string(),
        in_flight: in_pod(&pod.name),
    });
    RevisionState {
        namespace: revision.id.namespace().to_owned(),
        name: revision.id.name().to_owned(),
        service: revision.service.to_string(),
        configuration: revision.configuration.to_string(),
        traffic: match revision.reachability {
            Reachability::Unknown => "candidate",
            Reachability::Reachable => "routed",
            Reachability::Unreachable => "unrouted",
        },
        wanted: revision.wanted,
        ready: revision.ready().count(),
        waiting: load.map_or(0, |load| load.waiting),
        in_flight: load.map_or(0, |load| load.in_flight),
        trouble: revision.trouble.as_deref().map(str::to_owned),
        pods: pods.collect(),
        scaling: scaling.map(|scaling| Scaling {
            policy: scaling.policy,
            mode: scaling.mode,
            stable: scaling.stable,
            panic: scaling.panic,
            target: scaling.target,
            decisions: scaling.decisions.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
