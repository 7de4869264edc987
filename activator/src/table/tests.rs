//! Pods and revisions that have left, and how long their series stay.

use http::{Method, StatusCode, Version};
use penstock_runtime::metrics::{Exchange, HttpLabels, Outcome, Peer, Scheme};
use penstock_testkit::cluster::{RevisionBuilder, revision};
use prometheus::{Encoder as _, Registry, TextEncoder};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::discovery::Discovery;

fn snapshot(revisions: impl IntoIterator<Item = RevisionBuilder>) -> Arc<Snapshot> {
    let revisions = revisions.into_iter().map(RevisionBuilder::build);
    Arc::new(Snapshot {
        revisions: revisions
            .map(|one| (one.id.clone(), Arc::new(one)))
            .collect(),
        ..Snapshot::default()
    })
}

fn addr(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

struct World {
    registry: Registry,
    table: Table,
}

impl World {
    fn new() -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
        let scout = Scout::new(Discovery::default(), tasks, cut);
        let table = Table::new(10, None, 1, metrics, scout);
        Self { registry, table }
    }

    /// One request of `revision` at the pod with this port, counted at both ends.
    fn serve(&self, revision: &str, port: u16) {
        let further = [
            ("kn_service_name", "s"),
            ("kn_configuration_name", "c"),
            ("kn_revision_name", revision),
            ("k8s_namespace_name", "default"),
        ];
        let labels = |peer| HttpLabels {
            method: &Method::GET,
            outcome: Outcome::Status(StatusCode::OK),
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            peer,
            further: &further,
        };
        let seen = Exchange {
            duration: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
        };
        let metrics = &self.table.metrics;
        metrics.observe_server(labels(Peer::Host("host")), seen);
        metrics.observe_client(labels(Peer::Addr(addr(port))), seen);
    }

    /// Whether a line of this family has all of `parts`.
    fn has(&self, family: &str, parts: &[&str]) -> bool {
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&self.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.lines().filter(|line| line.starts_with(family));
        lines.any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

const SERVER: &str = "http_server_request_duration_seconds_count";
const CLIENT: &str = "http_client_request_duration_seconds_count";

#[test]
fn series_of_a_pod_and_of_a_revision_outlive_them_for_a_while() {
    let world = World::new();
    let table = &world.table;
    let old = || revision("old-00001").pod(addr(1));
    let new = |port| revision("new-00001").pod(addr(2)).pod(addr(port));
    table.see(snapshot([old(), new(3)]), &[]);
    for (revision, port) in [("old-00001", 1), ("new-00001", 2), ("new-00001", 3)] {
        world.serve(revision, port);
    }
    table.see(snapshot([new(4)]), &[]);
    let now = Instant::now();
    table.forget_left(now + LINGER / 2);
    assert!(world.has(CLIENT, &["server_port=\"3\""]));
    assert!(world.has(SERVER, &["old-00001"]));

    table.forget_left(now + LINGER);
    assert!(!world.has(CLIENT, &["server_port=\"1\""]));
    assert!(
        world.has(CLIENT, &["server_port=\"2\""]),
        "it is still there"
    );
    assert!(!world.has(CLIENT, &["server_port=\"3\""]));
    assert!(!world.has(SERVER, &["old-00001"]));
    assert!(world.has(SERVER, &["new-00001"]));
    assert!(table.left.lock().unwrap().is_empty());
}

#[test]
fn who_came_back_in_time_is_not_forgotten() {
    let world = World::new();
    let table = &world.table;
    let all = || snapshot([revision("old-00001").pod(addr(1))]);
    table.see(all(), &[]);
    world.serve("old-00001", 1);
    table.see(snapshot([]), &[]);
    table.see(all(), &[]);
    table.forget_left(Instant::now() + LINGER);
    assert!(world.has(CLIENT, &["server_port=\"1\""]));
    assert!(world.has(SERVER, &["old-00001"]));
}
