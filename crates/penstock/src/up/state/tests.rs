//! The page, whole.

use std::time::Instant;

use penstock_autoscaler::Inputs;
use penstock_cluster::{Pod, Readiness};
use penstock_types::{Protocol, Slots, Timeouts};
use serde_json::json;

use super::*;

#[test]
fn the_page_shows_who_is_where_and_why() {
    let id = RevisionId::new("default", "hello-00001");
    let host = |host: &str, tag: Option<&str>| HostRoute {
        host: host.to_owned(),
        namespace: "default".to_owned(),
        route: "hello".to_owned(),
        tag: tag.map(str::to_owned),
        targets: vec![(id.clone(), 100)],
    };
    let hosts = [
        host("hello.test", None),
        host("next-hello.test", Some("next")),
    ];
    let pod = Pod {
        name: "pod-a".into(),
        addr: ([127, 0, 0, 1], 4000).into(),
        phase: Phase::Ready,
        asked: Instant::now(),
        started: None,
        ready: None,
    };
    let revision = Revision {
        id: id.clone(),
        service: "hello".into(),
        configuration: "hello".into(),
        annotations: Arc::default(),
        slots: Slots::Unlimited,
        timeouts: Timeouts::default(),
        protocol: Protocol::Http1,
        reachability: Reachability::Reachable,
        wanted: 2,
        pods: [pod].into(),
        unplaced: 0,
        position: None,
        readiness: Readiness::Trusted,
        queue_proxy: true,
        standing: None,
        trouble: Some("the program ended".into()),
    };
    let snapshot = Snapshot {
        revisions: [(id.clone(), Arc::new(revision))].into(),
        routes: Arc::default(),
    };
    let load = RevisionLoad {
        revision: id,
        waiting: 3,
        in_flight: 4,
        pods: vec![("pod-a".into(), 4)],
    };
    let scaling = penstock_autoscaler::RevisionState {
        revision: "default/hello-00001".to_owned(),
        wanted: 2,
        policy: "demand",
        mode: "burst",
        stable: 1.5,
        panic: 7.0,
        target: 70.0,
        decisions: vec![Decided {
            unix_seconds: 5,
            from: 0,
            to: 2,
            mode: "burst",
            why: "7 waiting".to_owned(),
            inputs: Inputs::default(),
        }],
        ..penstock_autoscaler::RevisionState::default()
    };
    let state = state(&hosts, &snapshot, &[load], &[scaling]);
    let traffic = json!([{"revision": "hello-00001", "percent": 100}]);
    let want = json!({
        "services": [{
            "namespace": "default",
            "name": "hello",
            "hosts": [
                {"host": "hello.test", "tag": null, "traffic": traffic},
                {"host": "next-hello.test", "tag": "next", "traffic": traffic},
            ],
        }],
        "revisions": [{
            "namespace": "default",
            "name": "hello-00001",
            "service": "hello",
            "configuration": "hello",
            "traffic": "routed",
            "wanted": 2,
            "ready": 1,
            "waiting": 3,
            "in_flight": 4,
            "trouble": "the program ended",
            "pods": [
                {"name": "pod-a", "phase": "ready", "addr": "127.0.0.1:4000", "in_flight": 4},
            ],
            "scaling": {
                "policy": "demand",
                "mode": "burst",
                "stable": 1.5,
                "panic": 7.0,
                "target": 70.0,
                "decisions": [
                    {"unix_seconds": 5, "from": 0, "to": 2, "mode": "burst", "why": "7 waiting",
                     "inputs": {"ready": 0, "figure": 0.0, "target": 0.0, "stable": 0.0,
                                "panic": 0.0, "panicking": false, "needed": 0.0,
                                "held_by": null}},
                ],
            },
        }],
    });
    assert_eq!(serde_json::to_value(state).unwrap(), want);
}
