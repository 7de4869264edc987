//! What a pod gets of a request, and the caller of its answer.

use penstock_activator::Options;
use penstock_cluster::Routes;
use penstock_testkit::client::{Client, body};
use penstock_testkit::cluster::route_to;
use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, kind};
use penstock_testkit::workload::{EARLY_HINTS_200, RawWorkload, Seen, Turn, Workload};

use crate::stage::{Bound, HOST, STATUS_200, Stage, get_by_http2, hello, hello_id, post, request};

#[tokio::test]
async fn cases_12_and_16_to_20_the_request_as_the_pod_gets_it() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().pod(pod.addr()).build()]);
    for mut client in [stage.client().await, Client::h2c(stage.addr).await] {
        let headers = [
            ("knative-serving-revision", "hello-00001"),
            ("knative-serving-namespace", "default"),
            ("knative-serving-tag", "blue"),
            ("x-mine", "kept"),
            ("x-forwarded-for", "1.2.3.4"),
        ];
        let answer = client.ask(request(&headers)).await.unwrap();
        assert_eq!(answer.status, 200);
        let seen = Seen::parse(&answer.body);
        let table = [
            ("k-proxy-request", Some("activator")),
            ("k-original-host", Some(HOST)),
            ("knative-serving-revision", None),
            ("knative-serving-namespace", None),
            ("knative-serving-tag", Some("blue")),
            ("x-mine", Some("kept")),
            ("x-forwarded-for", Some("1.2.3.4, 127.0.0.1")),
            ("user-agent", None),
            ("accept-encoding", None),
        ];
        for (name, want) in table {
            assert_eq!(seen.header(name), want, "{name} in {}", seen.version);
        }
        let dest = pod.addr().to_string();
        let host = seen.header("host").unwrap_or(&seen.target);
        assert!(host.contains(&dest), "{host} is not {dest}");

        let headers = [("user-agent", "gold"), ("k-original-host", "before")];
        let answer = client.ask(request(&headers)).await.unwrap();
        let seen = Seen::parse(&answer.body);
        assert_eq!(seen.header("user-agent"), Some("gold"));
        assert_eq!(seen.header("k-original-host"), Some("before"));
    }
    stage.end().await;
}

#[tokio::test]
async fn a_caller_cannot_have_taken_out_what_the_activator_says() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().pod(pod.addr()).build()]);
    let headers = [
        ("connection", "K-Original-Host, K-Proxy-Request, X-Mine"),
        ("x-mine", "1"),
    ];
    let answer = stage.client().await.ask(request(&headers)).await.unwrap();
    let seen = Seen::parse(&answer.body);
    assert_eq!(seen.header("k-original-host"), Some(HOST));
    assert_eq!(seen.header("k-proxy-request"), Some("activator"));
    assert_eq!(seen.header("x-mine"), None);
    stage.end().await;
}

#[tokio::test]
async fn the_gateway_speaks_http2_to_a_port_named_h2c_and_http1_to_others() {
    let pod = Workload::start().await;
    for (revision, want) in [(hello().h2c(), "HTTP/2.0"), (hello(), "HTTP/1.1")] {
        let routes = Routes {
            hosts: [(HOST.to_owned(), route_to(&hello_id()))].into(),
        };
        let revision = revision.pod(pod.addr()).build();
        let stage = Bound::before([revision]).start_with_routes(routes);
        for mut client in [stage.client().await, Client::h2c(stage.addr).await] {
            for sent in ["", "a body"] {
                let answer = client.ask(post("/", body(sent))).await.unwrap();
                let seen = Seen::parse(&answer.body);
                assert_eq!((&*seen.version, &seen.body[..]), (want, sent.as_bytes()));
            }
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn early_hints_of_http1_reach_a_caller_of_http2_at_the_gateway() {
    let pod = RawWorkload::start([Turn::write(EARLY_HINTS_200)]).await;
    let routes = Routes {
        hosts: [(HOST.to_owned(), route_to(&hello_id()))].into(),
    };
    let revision = hello().pod(pod.addr()).build();
    let stage = Bound::before([revision]).start_with_routes(routes);
    let mut caller = Frames::connect(stage.addr, &[]).await;
    let flags = END_HEADERS | END_STREAM;
    caller.send(kind::HEADERS, flags, 1, &get_by_http2()).await;
    let hints = caller.of(1).await;
    assert_eq!((hints.kind, hints.flags), (kind::HEADERS, END_HEADERS));
    assert_ne!(hints.payload[0], STATUS_200);
    let head = caller.of(1).await;
    assert_eq!((head.kind, head.payload[0]), (kind::HEADERS, STATUS_200));
    assert_eq!(caller.of(1).await.payload, &b"ok"[..]);
    drop(caller);
    stage.end().await;
}

#[tokio::test]
async fn path_query_method_body_and_status_pass_unchanged() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().pod(pod.addr()).build()]);
    let mut client = stage.client().await;
    let path = "/a%2Fb//c?x=1&y=%20&&";
    let answer = client.ask(post(path, body("0123456789"))).await.unwrap();
    let seen = Seen::parse(&answer.body);
    assert_eq!((&*seen.method, &*seen.target), ("POST", path));
    assert_eq!(&seen.body[..], b"0123456789");
    for status in [201, 304, 418, 500, 503] {
        let path = format!("/status/{status}");
        assert_eq!(client.get(HOST, &path).await.unwrap().status, status);
    }
    stage.end().await;
}

#[tokio::test]
async fn case_13_a_pod_without_an_answer_is_502_once_and_its_address_stays_secret() {
    let closing = RawWorkload::start([Turn::close("")]).await;
    let garbage = RawWorkload::garbage().await;
    for pod in [&closing, &garbage] {
        let stage = Stage::new([hello().pod(pod.addr()).build()]);
        let answer = stage.get("/").await;
        let text = "the workload did not answer\n".to_owned();
        assert_eq!(answer.brief(), (502, text));
        let reason = answer.headers["proxy-status"].to_str().unwrap();
        assert!(reason.starts_with("penstock-activator; error="), "{reason}");
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn case_15_one_more_than_may_wait_is_refused_and_the_others_are_served() {
    let stage = Bound::before([hello().build()]).start(Options {
        waiting: 2,
        ..Options::default()
    });
    let waiting = [stage.getting("/"), stage.getting("/")];
    stage.until_load(2, 0).await;
    let refused = stage.get("/").await;
    let text = "pending request queue full\n".to_owned();
    assert_eq!(refused.brief(), (503, text));
    let pod = Workload::start().await;
    stage
        .cluster
        .start_pod(&crate::stage::hello_id(), pod.addr());
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_that_is_still_sending_its_body() {
    let stage = Bound::before([hello().build()]).start(Options {
        waiting: 0,
        ..Options::default()
    });
    for _ in 0..20 {
        let mut client = stage.client().await;
        let refused = client.ask(post("/", body(vec![b'x'; 1_000_000]))).await;
        assert_eq!(refused.unwrap().status, 503);
    }
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn requests_without_one_host_are_400() {
    let stage = Stage::new([hello().build()]);
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    ] {
        let mut client = penstock_testkit::client::RawClient::connect(stage.addr).await;
        client.send(head).await;
        assert_eq!(client.read_response().await.head.status, 400);
    }
    stage.end().await;
}

#[tokio::test]
async fn without_a_queue_proxy_the_pod_gets_the_callers_own_host() {
    let pod = Workload::start().await;
    let mut revision = hello().pod(pod.addr()).build();
    revision.queue_proxy = false;
    let stage = Stage::new([revision]);
    for mut client in [stage.client().await, Client::h2c(stage.addr).await] {
        let answer = client.ask(request(&[])).await.unwrap();
        let seen = Seen::parse(&answer.body);
        let host = seen.header("host").unwrap_or(&seen.target);
        assert!(host.contains(HOST), "{host}");
        assert_eq!(seen.header("k-original-host"), None);
        assert_eq!(seen.header("k-proxy-request"), Some("activator"));
    }
    stage.end().await;
}

#[tokio::test]
async fn a_deployment_that_changes_its_limits_is_obeyed_at_once() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().concurrency(1).pod(pod.addr()).build()]);
    let asked = [(); 3].map(|()| stage.getting("/hold"));
    stage.until_load(2, 1).await;
    stage.cluster.change_revision(&hello_id(), |revision| {
        revision.slots = penstock_types::Slots::from_concurrency(2);
        revision.timeouts.whole = std::time::Duration::from_millis(50);
    });
    stage.until_load(1, 2).await;
    // Those who came before keep their time.
    assert_eq!(stage.get("/").await.status, 504);
    pod.release(3);
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    stage.until_idle().await;
    stage.end().await;
}
