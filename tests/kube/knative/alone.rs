//! Each of the three programs alone among Knative's own, which the test plays.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use penstock_testkit::client::RawClient;
use penstock_testkit::kube::{Call, NewPod, Running};
use penstock_types::stat::Stat;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::install::{Install, QUICK, Standing};
use super::objects::{Revision, component};
use super::peers::{self, Reports, Rote, Server};
use crate::harness::{Gateway, tests, until};
use crate::kube::program::address;
use crate::kube::service;

tests! {
    our_activator_alone_tells_knatives_autoscaler_and_asks_knatives_queue_proxies_nothing_that_they_do_not_know;
    our_autoscaler_alone_scales_by_what_knatives_activator_and_queue_proxies_tell;
    our_queue_proxy_alone_answers_knatives_activator_autoscaler_and_the_kubelet;
}

/// The SKS as Knative's autoscaler makes it.
pub(super) fn path(revision: &Revision) -> Value {
    let [_, deployment, pa] = revision.objects();
    let mut metadata = pa["metadata"].clone();
    metadata["uid"] = format!("{}-path", revision.name).into();
    metadata["ownerReferences"] = json!([{
        "apiVersion": pa["apiVersion"], "kind": pa["kind"], "name": revision.name,
        "uid": pa["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    json!({
        "apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "ServerlessService",
        "metadata": metadata,
        "spec": {
            "mode": "Proxy", "numActivators": 2, "protocolType": "http1",
            "objectRef": {
                "apiVersion": "apps/v1", "kind": "Deployment",
                "name": deployment["metadata"]["name"],
            },
        },
    })
}

pub(super) fn scale(install: &Install, revision: &Revision, pods: i64) {
    let name = format!("{}-deployment", revision.name);
    install.server.edit("Deployment", "default", &name, |it| {
        it["spec"]["replicas"] = pods.into();
    });
}

async fn our_activator_alone_tells_knatives_autoscaler_and_asks_knatives_queue_proxies_nothing_that_they_do_not_know()
 {
    let (pods, mut started) = mpsc::unbounded_channel();
    let install = Install::with_pods(&QUICK, move |pod: NewPod| {
        let pods = pods.clone();
        async move {
            let server = Server::start(pod.ip.into(), 8012, peers::queue_proxy()).await;
            // The test reads what is asked, for as long as it likes.
            let _ = pods.send((pod.ip, server));
            Box::new(()) as Running
        }
    })
    .await;
    let autoscaler = peers::Autoscaler::at((address(), 8080).into()).await;
    let peer = of_knative("autoscaler", autoscaler.addr().ip());
    install.server.put(peer);
    let (activator, mut told) = tokio::join!(install.activator(), autoscaler.take());
    let hello = Revision::new("hello-00001").with("initial-scale", "0");
    install.deploy(&hello);
    install.server.put(path(&hello));
    let at_activator = |all: &[SocketAddr]| all.iter().all(|it| it.ip() == activator.ip);
    install
        .until_leads_to(&hello, "the activator", at_activator)
        .await;

    let gateway = Gateway((activator.ip, 8012).into());
    let host = hello.host();
    let waits = host.clone();
    let asking = tokio::spawn(async move { service::get(gateway, &waits).await });
    // Cases 91 and 92: the first word is told at once, then what is discounted of it.
    let first = told.next_of("hello-00001").await;
    assert_eq!(first.pod_name, activator.pod);
    assert_eq!(
        (first.average_concurrent_requests, first.request_count),
        (1.0, 1.0)
    );
    let second = told.next_of("hello-00001").await;
    assert!(second.average_concurrent_requests < 0.5 && second.request_count == 0.0);
    // While it waits it counts whole.
    let third = told.next_of("hello-00001").await;
    assert!((0.9..1.1).contains(&third.average_concurrent_requests));
    scale(&install, &hello, 1);
    let (ip, mut pod) = started.recv().await.unwrap();
    assert_eq!(asking.await.unwrap().text(), "hello");
    let probe = pod.until("k-network-probe: queue").await;
    for line in [
        "get /healthz http/1.1",
        "user-agent: knative-activator-probe",
    ] {
        assert!(probe.contains(line), "{line} in {probe}");
    }
    let request = pod.until("k-proxy-request: activator").await;
    for line in [
        format!("host: {ip}:8012"),
        format!("k-original-host: {host}"),
    ] {
        assert!(request.contains(&line), "{line} in {request}");
    }
    for ours in ["penstock", "knative-serving-revision"] {
        assert!(!probe.contains(ours) && !request.contains(ours), "{ours}");
    }
    // Case 94: one report of nothing, and then no more.
    while told.next_of("hello-00001").await.encoded_len()
        > Stat::encoded_len(&named(&activator.pod))
    {}

    // It restarts: the activator is not ready without it, and comes back by itself.
    told.restart().await;
    let mut told = autoscaler.take().await;
    let ready = (activator.ip, 8012).into();
    until("the activator is ready again", async || {
        kubelet(ready, "/")
            .await
            .starts_with("HTTP/1.1 200")
            .then_some(())
    })
    .await;
    let answer = Gateway(ready).get(&host, "/").await;
    assert_eq!(answer.text(), "hello");
    let again = told.next_of("hello-00001").await;
    assert_eq!(again.request_count, 1.0);
    drop((told, autoscaler));
    until("it is not ready", async || {
        kubelet(ready, "/")
            .await
            .starts_with("HTTP/1.1 500")
            .then_some(())
    })
    .await;
    // What has pods is served on.
    assert_eq!(Gateway(ready).get(&host, "/").await.text(), "hello");
    activator.program.stop().await;
    install.expect_allowed();
}

fn named(pod: &str) -> Stat {
    Stat {
        pod_name: pod.to_owned(),
        ..Stat::default()
    }
}

/// A pod of one of Knative's programs that the test plays.
fn of_knative(app: &str, ip: IpAddr) -> Value {
    component(app, &format!("{app}-of-knative"), ip)
}

/// The answer to a probe of the kubelet.
async fn kubelet(addr: SocketAddr, path: &str) -> String {
    ask(
        addr,
        &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: kube-probe/1.34\r\n"),
    )
    .await
}

/// The answer to a request without a body, as text; `head` without its end.
async fn ask(addr: SocketAddr, head: &str) -> String {
    let mut client = RawClient::connect(addr).await;
    client
        .send(format!("{head}Connection: close\r\n\r\n"))
        .await;
    String::from_utf8_lossy(&client.read_to_close().await).into_owned()
}

/// What queue-proxies say of their load: content type and figures.
#[derive(Clone, Debug)]
struct Said {
    content: &'static str,
    figures: Stat,
}

async fn our_autoscaler_alone_scales_by_what_knatives_activator_and_queue_proxies_tell() {
    let (say, said) = watch::channel(Said {
        content: "application/protobuf",
        figures: Stat::default(),
    });
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let install = Install::with_pods(&QUICK, move |pod: NewPod| {
        let (said, counted) = (said.clone(), Arc::clone(&counted));
        async move {
            let name = pod.object["metadata"]["name"].as_str().unwrap().to_owned();
            let figures: Rote = Arc::new(move |head| {
                assert!(head.starts_with("get /metrics "), "{head}");
                assert!(head.contains("accept: application/protobuf"), "{head}");
                counted.fetch_add(1, Ordering::Relaxed);
                let Said { content, figures } = said.borrow().clone();
                let stat = Stat {
                    pod_name: name.clone(),
                    process_uptime: 1.0,
                    ..figures
                };
                ("200 OK", content, stat.encode_to_vec())
            });
            Box::new((
                Server::start(pod.ip.into(), 8012, peers::queue_proxy()).await,
                Server::start(pod.ip.into(), 9090, figures).await,
            )) as Running
        }
    })
    .await;
    let autoscaler = install.autoscaler().await;
    let ip = address();
    let mut activator = Server::start(ip, 8012, peers::activator()).await;
    install.server.put(of_knative("activator", ip));
    let hello = Revision::new("hello-00001").with("max-scale", "5");
    let reports = Reports::to((autoscaler.ip, 8080).into(), "activator-x", hello.name).await;
    install.deploy(&hello);
    install
        .until_stands(&hello, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    // Before the last pod goes, the activator is asked for its word.
    let probe = activator.until("k-network-probe: activator").await;
    for line in ["/healthz http/1.1", "user-agent: knative-autoscaling-probe"] {
        assert!(probe.contains(line), "{line} in {probe}");
    }
    assert!(
        probe.contains(&format!("host: {}", hello.host())),
        "{probe}"
    );
    install.until_pods(&hello, |pods| pods == 0).await;

    // Twelve wait there, and a pod aims at 1.4; five is the most.
    reports.say(Some((12.0, 12.0)));
    install.until_pods(&hello, |pods| pods == 5).await;
    install.server.forget_calls();
    // Now they come past the activator, two to each pod; what comes by it is not counted twice.
    let load = |concurrency, proxied| Said {
        content: "application/protobuf",
        figures: Stat {
            average_concurrent_requests: concurrency,
            average_proxied_concurrent_requests: proxied,
            request_count: 1.0,
            ..Stat::default()
        },
    };
    say.send_replace(load(5.0, 3.0));
    reports.say(None);
    until("ten are counted", async || {
        let stable = gauge(autoscaler.ip, "kn_revision_concurrency_stable").await?;
        (9.9..10.1).contains(&stable).then_some(())
    })
    .await;
    // They speak another language: nothing is known for a while, and nothing changes. Not for a
    // whole window: at its very end Knative's arithmetic has an average of 0 (§4.8).
    say.send_replace(Said {
        content: "text/plain",
        ..load(0.0, 0.0)
    });
    autoscaler
        .program
        .until_line("do not tell their load")
        .await;
    let enough = asked.load(Ordering::Relaxed) + 2 * 5;
    until("they are asked again and again", async || {
        (asked.load(Ordering::Relaxed) >= enough).then_some(())
    })
    .await;
    let fewer = |it: &Call| it.body[0]["value"].as_i64().is_some_and(|pods| pods < 5);
    assert_eq!(install.server.count_calls(fewer), 0);
    // They say that there is nothing: they go.
    say.send_replace(load(0.0, 0.0));
    install.until_pods(&hello, |pods| pods == 0).await;
    let nothing = Standing::new("False:NoTraffic", ["True", "Unknown", "False"], (0, 0));
    install.until_stands(&hello, &nothing).await;
    autoscaler.program.stop().await;
    install.expect_allowed();
}

/// The only value of a series of an autoscaler.
async fn gauge(ip: IpAddr, name: &str) -> Option<f64> {
    let text = Gateway((ip, 9090).into())
        .text("autoscaler", "/metrics")
        .await;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

async fn our_queue_proxy_alone_answers_knatives_activator_autoscaler_and_the_kubelet() {
    // The whole of it runs in a pod as the controller makes it; nobody else of ours is there.
    let install = Install::new(&QUICK).await;
    let hello = Revision::new("hello-00001");
    install.deploy(&hello);
    install.server.put(path(&hello));
    install.until_pods(&hello, |pods| pods == 1).await;
    let pod = install.server.list("Pod", "default").remove(0);
    let ip: IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
    let at = |port: u16| SocketAddr::from((ip, port));

    // The activator's probe, the autoscaler's, and that of the network.
    let healthz = format!("GET /healthz HTTP/1.1\r\nHost: {ip}:8012\r\n");
    let agents = ["Knative-Activator-Probe", "Knative-Autoscaling-Probe"];
    for agent in agents {
        let head = format!("{healthz}User-Agent: {agent}\r\nK-Network-Probe: queue\r\n");
        let answer = ask(at(8012), &head).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nqueue"), "{answer}");
    }
    let other = format!(
        "{healthz}User-Agent: {}\r\nK-Network-Probe: activator\r\n",
        agents[0]
    );
    let answer = ask(at(8012), &other).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let network = format!("{healthz}K-Network-Probe: probe\r\n");
    let answer = ask(at(8012), &network).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let hashed = ask(at(8012), &format!("{network}K-Network-Hash: abc\r\n")).await;
    assert!(hashed.starts_with("HTTP/1.1 200"), "{hashed}");
    assert!(hashed.to_ascii_lowercase().contains("k-network-hash: abc"));

    // What an activator forwards has its host back, and counts as its.
    let forwarded = format!(
        "GET /hold HTTP/1.1\r\nHost: {ip}:8012\r\nK-Original-Host: hello.example.com\r\n\
         K-Proxy-Request: activator\r\n\r\n"
    );
    let mut held = RawClient::connect(at(8012)).await;
    held.send(forwarded).await;
    let stat = until("it is counted", async || {
        let stat = scrape(at(9090)).await;
        (stat.average_concurrent_requests > 0.9).then_some(stat)
    })
    .await;
    assert_eq!(stat.pod_name, pod["metadata"]["name"].as_str().unwrap());
    assert!(stat.average_proxied_concurrent_requests > 0.9, "{stat:?}");
    assert!(stat.process_uptime > 0.0);
    assert_eq!(stat.timestamp, 0);
    let direct = "GET / HTTP/1.1\r\nHost: hello.example.com\r\n";
    let answer = ask(at(8012), direct).await;
    assert!(answer.contains("hello.example.com"), "{answer}");
    // A probe of the kubelet that is forwarded is no request.
    let own = ask(at(8012), &format!("{direct}K-Kubelet-Probe: queue\r\n")).await;
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");

    // Its pod is to end: probes fail, the hook waits, what runs ends well.
    install
        .server
        .delete("Pod", "default", pod["metadata"]["name"].as_str().unwrap());
    until("it drains", async || {
        let head = format!(
            "{healthz}User-Agent: {}\r\nK-Network-Probe: queue\r\n",
            agents[0]
        );
        let answer = ask(at(8012), &head).await;
        (answer.starts_with("HTTP/1.1 503") && answer.ends_with("shutting down\n")).then_some(())
    })
    .await;
    drop(held);
    until("it is gone", async || {
        tokio::net::TcpStream::connect(at(8012))
            .await
            .err()
            .map(drop)
    })
    .await;
}

/// The figures, as an autoscaler asks for them.
pub(super) async fn scrape(addr: SocketAddr) -> Stat {
    let mut client = RawClient::connect(addr).await;
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\nAccept: application/protobuf\r\n\r\n");
    client.send(request).await;
    let answer = client.read_response().await;
    assert_eq!(
        answer.head.header("content-type"),
        Some("application/protobuf")
    );
    assert!(answer.body.len() <= 336);
    Stat::decode(&answer.body[..]).unwrap()
}
