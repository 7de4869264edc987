//! What the autoscaler is told, and whose probes it is not told of. The arithmetic over time is shown
//! in `src/stats.rs`.

use std::net::SocketAddr;

use penstock_queue_proxy::{Choices, Kubelet};
use penstock_testkit::client::{Answer, Client, RawClient, empty};
use penstock_testkit::workload::{Seen, Workload};
use penstock_types::stat::Stat;
use prost::Message;
use tokio::task::JoinSet;

use crate::world::{LATER, Proxy, SOON, before};

/// The first report, which covers all that came before.
async fn first_report(proxy: &Proxy) -> Stat {
    let first = async {
        loop {
            let stat = Stat::decode(proxy.running.stat()).unwrap();
            if stat.process_uptime > 0.0 {
                return stat;
            }
            tokio::time::sleep(SOON).await;
        }
    };
    tokio::select! {
        () = proxy.running.report_each_second() => unreachable!("it reports for ever"),
        stat = first => stat,
    }
}

async fn ask(proxy: &Proxy, path: &str, headers: &[(&str, &str)]) -> u16 {
    send(proxy.addr(), path, headers).await.status.as_u16()
}

async fn send(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::get(path).header("host", "a");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = Client::http1(addr).await;
    client.ask(request.body(empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn case_20_what_an_activator_forwarded_counts_as_proxied_with_a_limit_and_without() {
    let workload = Workload::start().await;
    for slots in [0, 1] {
        let proxy = before(workload.addr()).slots(slots).start();
        let activator = [("k-proxy-request", "activator")];
        assert_eq!(ask(&proxy, "/status/200", &activator).await, 200);
        let somebody = [("k-proxy-request", "somebody")];
        assert_eq!(ask(&proxy, "/status/200", &somebody).await, 200);
        let stat = first_report(&proxy).await;
        assert_eq!((stat.request_count, stat.proxied_request_count), (2.0, 1.0));
        proxy.end().await;
    }
}

#[tokio::test]
async fn whatever_comes_of_a_request_it_counts_and_probes_do_not() {
    let workload = Workload::start().await;
    let make = before(workload.addr()).slots(1).whole(LATER);
    let proxy = make.start();
    // Inside or in line until their limit passes.
    let addr = proxy.addr();
    let waiting: JoinSet<_> = (0..11).map(|_| send(addr, "/hold", &[])).collect();
    proxy.until_value("kn_serving_queue_depth", &[], 11.0).await;
    assert_eq!(ask(&proxy, "/hold", &[]).await, 503);
    for waited in waiting.join_all().await {
        assert_eq!(waited.status, 504);
    }
    let probes = [
        [
            ("user-agent", "kube-probe/1.29"),
            ("k-network-probe", "queue"),
        ],
        [("k-network-probe", "probe"), ("k-network-hash", "h")],
        [("k-kubelet-probe", "x"), ("user-agent", "istio")],
    ];
    for probe in probes {
        assert_eq!(ask(&proxy, "/status/200", &probe).await, 200);
    }
    let mut nobody = RawClient::connect(proxy.addr()).await;
    nobody.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(nobody.read_response().await.head.status, 400);
    let stat = first_report(&proxy).await;
    assert_eq!(stat.request_count, 12.0);
    proxy.end().await;
}

/// A `K-Kubelet-Probe` that went through a proxy is that of any caller.
#[tokio::test]
async fn a_caller_that_says_it_is_the_kubelet_waits_and_counts_as_others_do() {
    let workload = Workload::start().await;
    let pretending = [("k-kubelet-probe", "x"), ("x-forwarded-for", "203.0.113.9")];
    for (kubelet, waits) in [(Kubelet::default(), true), (Kubelet::Anyone, false)] {
        let choices = Choices {
            kubelet,
            ..Choices::default()
        };
        let proxy = before(workload.addr()).slots(1).choices(choices).start();
        let ends = async {
            workload.until_inside(1).await;
            let pretends = ask(&proxy, "/status/200", &pretending);
            if waits {
                let in_line = async {
                    proxy.until_value("kn_serving_queue_depth", &[], 2.0).await;
                    workload.release(1);
                };
                tokio::join!(pretends, in_line).0
            } else {
                let status = pretends.await;
                workload.release(1);
                status
            }
        };
        assert_eq!(tokio::join!(ask(&proxy, "/hold", &[]), ends), (200, 200));
        let count = if waits { 2.0 } else { 1.0 };
        assert_eq!(first_report(&proxy).await.request_count, count);
        proxy.end().await;
    }
}

#[tokio::test]
async fn case_24_a_kubelets_probe_keeps_the_host_that_it_asks_for() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let table = [("k-kubelet-probe", "a"), ("x-other", "b")];
    for ((name, value), want) in table.into_iter().zip(["a", "original"]) {
        let headers = [(name, value), ("k-original-host", "original")];
        let seen = Seen::parse(&send(proxy.addr(), "/seen", &headers).await.body);
        assert_eq!(seen.header("host"), Some(want));
    }
    proxy.end().await;
}

#[tokio::test]
async fn details_go_to_callers_only_if_that_was_chosen() {
    let nobody = crate::world::nobody().await;
    for detail in [false, true] {
        let choices = Choices {
            detail,
            ..Choices::default()
        };
        let proxy = before(nobody).choices(choices).start();
        let mut client = Client::http1(proxy.addr()).await;
        let answer = client.get("a", "/").await.unwrap();
        assert_eq!(answer.status, 502);
        let said = answer.headers["proxy-status"].to_str().unwrap();
        let address = nobody.to_string();
        assert!(said.starts_with("penstock-queue-proxy; error=connection_refused"));
        assert_eq!(said.contains(&address), detail, "{said}");
        assert!(!answer.text().contains(&address), "{}", answer.text());
        proxy.end().await;
    }
}

#[tokio::test]
async fn refused_probes_say_whose_word_it_is() {
    let proxy = before(crate::world::nobody().await).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    let probe = "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1\r\n\r\n";
    client.send(probe).await;
    let answer = client.read_response().await;
    let want = Some("penstock-queue-proxy; error=http_request_error");
    assert_eq!(
        (answer.head.status, answer.head.header("proxy-status")),
        (400, want)
    );
    drop(client);
    proxy.end().await;
}
