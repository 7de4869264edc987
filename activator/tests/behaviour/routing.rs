//! Who a request is for.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_activator::Options;
use penstock_cluster::{Route, Routes, Split, Target};
use penstock_testkit::cluster::revision;
use penstock_testkit::workload::{Seen, Workload};
use penstock_types::RevisionId;

use crate::stage::{Bound, HOST, Stage, hello, hello_id, request};

#[tokio::test]
async fn cases_1_to_3_headers_and_service_hosts_find_the_revision() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().pod(pod.addr()).build()]);
    let mut client = stage.client().await;
    let with_port = format!("{HOST}:80");
    for host in [HOST, &with_port] {
        let answer = client.get(host, "/").await.unwrap();
        assert_eq!(answer.status, 200, "{host}");
    }
    let named = [
        ("knative-serving-revision", "hello-00001"),
        ("knative-serving-namespace", "default"),
        ("host", "nobody.example.com"),
    ];
    let mut by_headers = request(&named);
    let host = by_headers.headers_mut();
    host.insert("host", "nobody.example.com".parse().unwrap());
    let answer = client.ask(by_headers).await.unwrap();
    let seen = Seen::parse(&answer.body);
    assert_eq!(seen.header("k-original-host"), Some("nobody.example.com"));
    stage.end().await;
}

#[tokio::test]
async fn cases_4_and_64_an_unknown_revision_is_404_in_the_words_of_the_contract() {
    let stage = Stage::new([hello().build()]);
    let mut client = stage.client().await;
    let answer = client
        .ask(request(&[
            ("knative-serving-revision", "fooname"),
            ("knative-serving-namespace", "default"),
        ]))
        .await
        .unwrap();
    let text =
        "Error getting active endpoint: revision.serving.knative.dev \"fooname\" not found\n";
    assert_eq!(answer.brief(), (404, text.to_owned()));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");

    stage.cluster.remove(&hello_id());
    crate::stage::until(|| stage.load().is_none()).await;
    let answer = client.get(HOST, "/").await.unwrap();
    let text =
        "Error getting active endpoint: revision.serving.knative.dev \"hello-00001\" not found\n";
    assert_eq!(answer.brief(), (404, text.to_owned()));

    let nobody = client.get("short", "/").await.unwrap();
    let text = "Error getting active endpoint: revision.serving.knative.dev \"\" not found\n";
    assert_eq!(nobody.brief(), (404, text.to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn an_unknown_host_is_told_and_a_gateway_for_itself_lists_the_known_ones() {
    for list_hosts in [false, true] {
        let bound = Bound::before([hello().build()]);
        let stage = bound.start(Options {
            list_hosts,
            ..Options::default()
        });
        stage
            .cluster
            .route("hello.default.example.com", &hello_id());
        stage.cluster.route("bye.default.example.com", &hello_id());
        let mut client = stage.client().await;
        let expected = if list_hosts {
            "no service has the host \"x.example.com\"; there are: bye.default.example.com, \
             hello.default.example.com\n"
        } else {
            "no service has the host \"x.example.com\"\n"
        };
        // The routes arrive on their own time.
        loop {
            let answer = client.get("x.example.com", "/").await.unwrap();
            assert_eq!(answer.status, 404);
            if answer.text() == expected {
                break;
            }
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn a_host_without_a_revision_to_go_to_is_404_and_says_so() {
    let stage = Stage::new([hello().build()]);
    let route = Route {
        tag: String::new(),
        split: None,
    };
    stage.cluster.change(|snapshot| {
        let hosts = [("hello.default.example.com".to_owned(), Arc::new(route))];
        snapshot.routes = Arc::new(Routes {
            hosts: hosts.into(),
        });
    });
    let mut client = stage.client().await;
    let expected = "the service of host \"hello.default.example.com\" has no revision that takes \
                    traffic\n";
    loop {
        let answer = client.get("hello.default.example.com", "/").await.unwrap();
        assert_eq!(answer.status, 404);
        if answer.text() == expected {
            break;
        }
    }
    stage.end().await;
}

#[tokio::test]
async fn ten_thousand_requests_are_split_exactly_as_the_route_says() {
    let (old, new) = (Workload::start().await, Workload::start().await);
    let revisions = [
        hello().pod(old.addr()).build(),
        revision("hello-00002").pod(new.addr()).build(),
    ];
    let bound = Bound::before(revisions);
    let addr = bound.addr();
    let target = |name: &str, percent| Target {
        revision: RevisionId::new("default", name),
        percent,
    };
    let split = Split::new(vec![target("hello-00001", 90), target("hello-00002", 10)]);
    let route = Route {
        tag: String::new(),
        split,
    };
    let hosts = HashMap::from([("hello.example.com".to_owned(), Arc::new(route))]);
    let stage = bound.start_with_routes(Routes { hosts });
    let ask = async || {
        let mut client = penstock_testkit::client::Client::http1(addr).await;
        for _ in 0..2500 {
            let answer = client.get("hello.example.com", "/status/204").await;
            assert_eq!(answer.unwrap().status, 204);
        }
    };
    tokio::join!(ask(), ask(), ask(), ask());
    assert_eq!((old.total(), new.total()), (9000, 1000));
    stage.end().await;
}
