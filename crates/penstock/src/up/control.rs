//! The loop that keeps the cluster to what the files ask for.
//!
//! It owns what is deployed. A file that changed makes new revisions; the snapshot says when they
//! are ready, and then their traffic moves to them; the progress deadline says when to stop
//! waiting. Nothing is polled: without events it sleeps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Cluster, Phase, Reachability, Routes, Snapshot};
use penstock_cluster_local::LocalCluster;
use penstock_scaling::config::Config;
use penstock_scaling::spec::Spec;
use penstock_serving::{Changes, Deployed, HostRoute, Problem};
use penstock_types::RevisionId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::desired::{desired, routes};
use super::files::Reloads;
use super::input::{Input, Wanted};
use super::sidecars::Sidecars;

/// All hosts, in the order of their routes.
pub(crate) type Hosts = watch::Receiver<Arc<[HostRoute]>>;

/// What is wanted, and how it is carried out.
pub(crate) struct Control {
    input: Input,
    domain: String,
    deployed: Deployed,
    config: watch::Sender<Arc<Config>>,
    hosts: watch::Sender<Arc<[HostRoute]>>,
    routes: Arc<Routes>,
    /// When to stop waiting for a candidate.
    deadlines: BTreeMap<RevisionId, Instant>,
    /// Told of hosts that a changed file brought.
    announce: Announce,
}

type Announce = Box<dyn Fn(&[HostRoute])>;

impl Control {
    /// Takes what was read first. Nothing runs yet.
    ///
    /// # Errors
    ///
    /// One sentence for each mistake that only shows when everything is put together.
    pub(crate) fn new(input: Input, wanted: &Wanted, domain: String) -> Result<Self, Vec<String>> {
        let mut deployed = Deployed::default();
        deployed.apply(&wanted.manifests).map_err(sentences)?;
        let hosts: Arc<[HostRoute]> = deployed.hosts(&domain).into();
        Ok(Self {
            input,
            domain,
            deployed,
            config: watch::Sender::new(Arc::clone(&wanted.config)),
            hosts: watch::Sender::new(hosts),
            routes: Arc::default(),
            deadlines: BTreeMap::new(),
            announce: Box::new(|_| ()),
        })
    }

    /// Has `announce` called with the hosts that a changed file brings.
    pub(crate) fn announce(&mut self, announce: impl Fn(&[HostRoute]) + 'static) {
        self.announce = Box::new(announce);
    }

    /// The autoscaler's settings, now and after each change.
    pub(crate) fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// The hosts, now and after each change.
    pub(crate) fn hosts(&self) -> Hosts {
        self.hosts.subscribe()
    }

    /// The files to watch.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.input.paths()
    }

    /// The longest that any request may take.
    pub(crate) fn longest_request(&self) -> Duration {
        let each = self.deployed.revisions();
        let each = each.map(|revision| revision.template.timeouts.whole);
        each.max().unwrap_or_default()
    }

    /// Makes the cluster what is deployed now.
    pub(crate) fn publish(&mut self, cluster: &LocalCluster, sidecars: &Sidecars) {
        let hosts: Arc<[HostRoute]> = self.deployed.hosts(&self.domain).into();
        self.routes = Arc::new(routes(&hosts, &self.routes));
        let routes = Arc::clone(&self.routes);
        cluster.apply(desired(&self.deployed, self.input.images(), routes));
        self.hosts.send_replace(hosts);
        sidecars.keep(|revision| self.deployed.revision(revision).is_some());
        self.wait_for_candidates();
    }

    /// Follows files and pods until `stop`.
    pub(crate) async fn run(
        &mut self,
        cluster: &LocalCluster,
        sidecars: &Sidecars,
        mut reloads: Reloads,
        stop: CancellationToken,
    ) {
        let mut snapshots = cluster.snapshot();
        snapshots.mark_changed();
        loop {
            let deadline = self.deadlines.values().min().copied();
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    self.see(&snapshot)
                }
                () = reloads.next() => self.reload(),
                () = until(deadline) => self.give_up(Instant::now()),
            };
            if changed {
                self.publish(cluster, sidecars);
            }
        }
    }

    /// Takes note of who is ready. Returns whether that changed anything.
    fn see(&mut self, snapshot: &Snapshot) -> bool {
        let unproven = self.deployed.revisions().filter(|it| !it.proven);
        let ready: Vec<RevisionId> = unproven
            .filter(|revision| {
                let seen = snapshot.revisions.get(&revision.id);
                seen.is_some_and(|seen| seen.pods.iter().any(|pod| pod.phase == Phase::Ready))
            })
            .map(|revision| revision.id.clone())
            .collect();
        let mut changed = false;
        for id in ready {
            let moved = self.deployed.became_ready(&id);
            let waited = self.deadlines.remove(&id).is_some();
            if moved {
                tracing::info!(revision = %id, "{id} is ready: traffic moves to it");
            } else if waited {
                tracing::info!(revision = %id, "{id} is ready");
            }
            changed |= moved || waited;
        }
        changed
    }

    /// Reads the files again. Returns whether anything is to be carried out.
    fn reload(&mut self) -> bool {
        let read = self.input.read().and_then(|wanted| {
            let changes = self.deployed.apply(&wanted.manifests).map_err(sentences)?;
            Ok((wanted, changes))
        });
        let (wanted, changes) = match read {
            Ok(read) => read,
            Err(mistakes) => {
                for mistake in &mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!("the files were not taken, and everything stays as it was");
                return false;
            }
        };
        warn(&wanted);
        let configured = self.config.send_if_modified(|config| {
            let changed = **config != *wanted.config;
            *config = Arc::clone(&wanted.config);
            changed
        });
        let now = self.deployed.hosts(&self.domain);
        let before = Arc::clone(&self.hosts.borrow());
        let routed = now != *before;
        let awaited: Vec<RevisionId> = self.deployed.candidates().into_iter().collect();
        let said = summary(&changes, configured, routed, &awaited);
        tracing::info!("read again: {said}");
        let is_new = |host: &HostRoute| before.iter().all(|known| known.host != host.host);
        let new: Vec<HostRoute> = now.into_iter().filter(is_new).collect();
        if !new.is_empty() {
            (self.announce)(&new);
        }
        true
    }

    /// Stops waiting for those whose time is over. Returns whether there were any.
    fn give_up(&mut self, now: Instant) -> bool {
        let over: Vec<RevisionId> = self
            .deadlines
            .iter()
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &over {
            self.deadlines.remove(id);
            self.deployed.give_up(id);
            tracing::error!(
                revision = %id,
                "{id} did not become ready in time: traffic stays where it is; \
                 save its file to try again"
            );
        }
        !over.is_empty()
    }

    /// Gives each new candidate its time.
    fn wait_for_candidates(&mut self) {
        let candidates = self.deployed.candidates();
        self.deadlines.retain(|id, _| candidates.contains(id));
        let config = Arc::clone(&self.config.borrow());
        for id in candidates {
            let Some(revision) = self.deployed.revision(&id) else {
                continue;
            };
            let template = &revision.template;
            self.deadlines.entry(id).or_insert_with(|| {
                let unknown = Reachability::Unknown;
                let spec = Spec::derive(&config, &template.annotations, template.slots, unknown);
                Instant::now() + spec.progress_deadline
            });
        }
    }
}

/// Says what the manifests hold that is not honoured.
pub(crate) fn warn(wanted: &Wanted) {
    for warning in &wanted.manifests.warnings {
        tracing::warn!("{warning}");
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn sentences(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// What a changed file made of it, in a phrase.
fn summary(changes: &Changes, configured: bool, routed: bool, awaited: &[RevisionId]) -> String {
    let list = |ids: &[RevisionId]| {
        let names: Vec<String> = ids.iter().map(RevisionId::to_string).collect();
        names.join(", ")
    };
    let mut parts = Vec::new();
    if !changes.created.is_empty() {
        parts.push(format!("new {}", list(&changes.created)));
    }
    if !changes.removed.is_empty() {
        parts.push(format!("gone {}", list(&changes.removed)));
    }
    if routed {
        parts.push("routes changed".to_owned());
    }
    if configured {
        parts.push("the autoscaler has new settings".to_owned());
    }
    if !awaited.is_empty() {
        parts.push(format!("traffic waits for {} to be ready", list(awaited)));
    }
    if parts.is_empty() {
        parts.push("nothing changed".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests;
