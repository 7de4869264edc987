//! Pods that the activator asks itself whether they take requests. What follows from their answers
//! is shown case by case in `src/discovery/tests.rs`.

use std::time::Duration;

use penstock_activator::{Discovery, Mesh, Options};
use penstock_cluster::{Readiness, Revision};
use penstock_testkit::cluster::{pod, starting_pod};
use penstock_testkit::workload::Workload;
use tokio::net::TcpListener;

use crate::asked::AskedPod;
use crate::chain::QueueProxied;
use crate::stage::{Bound, HOST, LIMIT, Stage, closed_port, get, hello, hello_id, within};

/// Nobody is given up for being slow.
const PATIENT: Discovery = Discovery {
    mesh: Mesh::Auto,
    passthrough: false,
    timeout: LIMIT,
    pause: Duration::from_millis(200),
};

/// An activator that asks the pods of this revision.
fn asking(revision: Revision, discovery: Discovery) -> Stage {
    Bound::before([revision]).start(Options {
        discovery,
        ..Options::default()
    })
}

/// The value of a header in this head.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

#[tokio::test]
async fn cases_65_and_90_who_waits_goes_to_a_pod_that_passes_before_it_is_ready() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(true, None).with(starting_pod(only.addr));
    let stage = asking(revision.build(), PATIENT);
    let waiting = stage.getting("/");
    let probe = only.probe().await;
    assert!(probe.head.starts_with("GET /healthz HTTP/1.1\r\n"));
    for (name, want) in [
        ("host", Some(&*only.addr.to_string())),
        ("user-agent", Some("Knative-Activator-Probe")),
        ("k-network-probe", Some("queue")),
        ("k-passthrough-lb", None),
    ] {
        assert_eq!(header(&probe.head, name), want, "{}", probe.head);
    }
    assert!(!only.has_more(), "not before it has passed");
    probe.answer("queue").await;
    only.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn case_67_a_pod_is_asked_again_until_it_passes() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(true, None).with(starting_pod(only.addr));
    let stage = asking(revision.build(), PATIENT);
    let waiting = stage.getting("/");
    let wrong = [
        "",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nqueued",
        "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\nqueue",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 5\r\n\r\nqueue",
        "no HTTP",
    ];
    for answer in wrong {
        drop(only.probe().await.write(answer).await);
        assert!(!only.has_more(), "sent to a pod that says {answer:?}");
    }
    only.probe().await.answer("queue").await;
    only.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn case_68_a_pod_that_never_answers_delays_no_other() {
    let (mut hung, mut well) = (AskedPod::start().await, AskedPod::start().await);
    let revision = hello().concurrency(1).probed(false, None);
    let revision = revision.pod(hung.addr).pod(well.addr);
    let stage = asking(revision.build(), PATIENT);
    let waiting = stage.getting("/");
    let held = hung.probe().await;
    well.probe().await.answer("queue").await;
    well.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    assert!(!hung.has_more());
    // It is still being asked, and is used once it answers.
    held.answer("queue").await;
    stage.until_pods(&[hung.addr, well.addr]).await;
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_is_silent_is_asked_again_for_as_long_as_it_is_of_interest() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(true, None).with(starting_pod(only.addr));
    let impatient = Discovery {
        timeout: Duration::from_millis(20),
        ..PATIENT
    };
    let stage = asking(revision.build(), impatient);
    let waiting = stage.getting("/");
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(only.probe().await);
    }
    drop(silent);
    // Perhaps one that was given up already.
    while stage.load().unwrap().pods.is_empty() {
        if let Ok(probe) = tokio::time::timeout(Duration::from_millis(1), only.probe()).await {
            probe.try_answer("queue").await;
        }
    }
    only.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn case_82_a_pod_that_has_passed_is_not_asked_again() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(true, None).with(starting_pod(only.addr));
    let stage = asking(revision.build(), PATIENT);
    only.probe().await.answer("queue").await;
    stage.until_pods(&[only.addr]).await;
    let id = hello_id();
    for pods in [
        vec![pod(only.addr)],
        vec![pod(only.addr), pod(closed_port())],
    ] {
        let count = pods.len();
        stage.cluster.set_pods(&id, pods);
        stage
            .cluster
            .change_revision(&id, |revision| revision.wanted = 7);
        let asked = stage.getting("/");
        only.request().await.answer("").await;
        assert_eq!(within(asked).await.unwrap().status, 200, "{count}");
    }
    assert!(!only.has_probes());
    stage.end().await;
}

#[tokio::test]
async fn case_79_a_pod_that_is_called_unready_has_to_pass_again() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(true, None).pod(only.addr);
    let stage = asking(revision.build(), PATIENT);
    only.probe().await.answer("queue").await;
    stage.until_pods(&[only.addr]).await;
    stage
        .cluster
        .set_pods(&hello_id(), [starting_pod(only.addr)]);
    let probe = only.probe().await;
    stage.until_pods(&[]).await;
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    probe.answer("queue").await;
    only.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn cases_77_and_84_where_readiness_is_more_a_pod_is_asked_once_it_is_ready() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(false, None).with(starting_pod(only.addr));
    let stage = asking(revision.build(), PATIENT);
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    assert!(!only.has_probes());
    stage.cluster.set_pods(&hello_id(), [pod(only.addr)]);
    only.probe().await.answer("queue").await;
    only.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn cases_63_and_69_unreachable_pods_are_served_by_the_address_of_all_until_one_passes() {
    let mut service = AskedPod::start().await;
    let late = closed_port();
    let revision = hello().concurrency(2).probed(true, Some(service.addr));
    let revision = revision.pod(closed_port()).pod(late);
    let stage = asking(revision.build(), PATIENT);
    let asked: Vec<_> = (0..5).map(|_| stage.getting("/")).collect();
    service.probe().await.answer("queue").await;
    // All slots of both pods.
    stage.until_load(1, 4).await;
    for _ in asked {
        let request = service.request().await;
        let host = service.addr.to_string();
        assert_eq!(header(&request.head, "host"), Some(&*host));
        request.answer("").await;
    }
    stage.until_idle().await;
    // One of them can be reached after all, which is seen when something is new.
    let listener = TcpListener::bind(late).await.unwrap();
    let mut late = AskedPod::on(listener);
    stage.cluster.change_revision(&hello_id(), |revision| {
        revision.pods = [pod(late.addr)].into()
    });
    late.probe().await.answer("queue").await;
    stage.until_pods(&[late.addr]).await;
    let asked = stage.getting("/");
    late.request().await.answer("").await;
    assert_eq!(within(asked).await.unwrap().status, 200);
    assert!(!service.has_more());
    stage.end().await;
}

#[tokio::test]
async fn case_73_in_a_mesh_all_requests_go_to_the_address_of_all() {
    let (mut only, mut service) = (AskedPod::start().await, AskedPod::start().await);
    let revision = hello().probed(true, Some(service.addr)).pod(only.addr);
    let mesh = Discovery {
        mesh: Mesh::Enabled,
        ..PATIENT
    };
    let stage = asking(revision.build(), mesh);
    let waiting = stage.getting("/");
    service.probe().await.answer("queue").await;
    service.request().await.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    assert!(!only.has_probes() && !only.has_more());
    stage.end().await;
}

#[tokio::test]
async fn cases_18_and_72_where_a_mesh_passes_requests_on_they_name_the_service_and_go_to_the_pod() {
    let (mut only, mut service) = (AskedPod::start().await, AskedPod::start().await);
    let revision = hello().probed(true, Some(service.addr)).pod(only.addr);
    let passing = Discovery {
        passthrough: true,
        ..PATIENT
    };
    let stage = asking(revision.build(), passing);
    let waiting = stage.getting("/");
    let named = |head: &str| {
        let host = Some("hello-00001-private.default");
        assert_eq!(header(head, "host"), host, "{head}");
        assert_eq!(header(head, "k-passthrough-lb"), Some("true"), "{head}");
    };
    let probe = only.probe().await;
    named(&probe.head);
    drop(
        probe
            .write("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
            .await,
    );
    let probe = only.probe().await;
    probe.answer("queue").await;
    let request = only.request().await;
    named(&request.head);
    assert_eq!(header(&request.head, "k-original-host"), Some(HOST));
    request.answer("").await;
    assert_eq!(within(waiting).await.unwrap().status, 200);
    assert!(!service.has_probes());
    stage.end().await;
}

#[tokio::test]
async fn a_queue_proxy_passes_once_its_container_listens() {
    let container = closed_port();
    let proxy = QueueProxied::before(container);
    let revision = hello().probed(true, None).with(starting_pod(proxy.addr()));
    let stage = Bound::before([revision.build()]).start(Options::default());
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    let container = Workload::on(TcpListener::bind(container).await.unwrap());
    assert_eq!(within(waiting).await.unwrap().status, 200);
    assert_eq!(container.total(), 1);
    assert_eq!(get(stage.addr, "/").await.status, 200);
    stage.end().await;
    proxy.end().await;
}

#[tokio::test]
async fn case_88_who_is_asked_for_a_revision_that_goes_holds_nothing_up() {
    let mut only = AskedPod::start().await;
    let revision = hello().probed(true, None).with(starting_pod(only.addr));
    let stage = asking(revision.build(), PATIENT);
    let probe = only.probe().await;
    stage.cluster.remove(&hello_id());
    crate::stage::until(|| stage.load().is_none()).await;
    probe.answer("queue").await;
    stage.end().await;
    assert!(!only.has_probes());
}

#[tokio::test]
async fn a_cluster_that_begins_to_have_its_pods_asked_is_obeyed_both_ways() {
    let mut only = AskedPod::start().await;
    let stage = asking(hello().pod(only.addr).build(), PATIENT);
    stage.until_pods(&[only.addr]).await;
    assert!(!only.has_probes());
    let probed = Readiness::Probed {
        early: true,
        service: None,
    };
    for (readiness, is_asked) in [(probed, true), (Readiness::Trusted, false)] {
        stage
            .cluster
            .change_revision(&hello_id(), |revision| revision.readiness = readiness);
        let pods = if is_asked { &[][..] } else { &[only.addr] };
        stage.until_pods(pods).await;
    }
    drop(only.probe().await);
    stage.end().await;
}
