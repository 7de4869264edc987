//! Elections against an API server that is emulated over HTTP.

use penstock_testkit::kube::{ApiServer, Fault, Matcher};
use serde_json::{Value, json};

use super::*;
use crate::{Access, connect};

const NAMESPACE: &str = "knative-serving";
const BUCKET: &str = "autoscaler-bucket-00-of-01";

/// Terms that nothing in a test outlasts by chance.
const LONG: Terms = Terms {
    lease: Duration::from_secs(3600),
    renew: Duration::from_secs(3000),
    retry: Duration::from_millis(100),
};

fn candidate(name: &str, ip: &str, terms: Terms) -> Candidate {
    Candidate {
        namespace: NAMESPACE.to_owned(),
        buckets: vec![BUCKET.to_owned()],
        identity: format!("{name}_{ip}"),
        ip: ip.parse().unwrap(),
        port: 8080,
        terms,
    }
}

async fn start(server: &ApiServer, candidate: Candidate) -> Elections {
    let access = Access::Url(server.url().parse().unwrap());
    let client = connect("autoscaler", &access).await.unwrap();
    Elections::start(&client, Rhythm::default(), candidate)
}

async fn until(elections: &Elections, holder: Holder) {
    let mut leases = elections.leases();
    leases
        .wait_for(|leases| leases.holders == [holder])
        .await
        .unwrap();
}

fn held_by(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn who_takes_a_lease_is_written_there_and_behind_the_buckets_service() {
    let server = ApiServer::start().await;
    let elections = start(&server, candidate("as", "10.0.0.1", LONG)).await;
    until(&elections, Holder::Here).await;
    let lease = server.get("Lease", NAMESPACE, BUCKET).unwrap();
    assert_eq!(held_by(&lease), "as_10.0.0.1");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3600);
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
    let slice = server
        .wait_until("EndpointSlice", NAMESPACE, BUCKET, |_| true)
        .await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.0.0.1"]));
    assert_eq!(slice["ports"][0]["port"], 8080);
    assert_eq!(
        slice["metadata"]["labels"]["kubernetes.io/service-name"],
        BUCKET
    );
    let service = server.get("Service", NAMESPACE, BUCKET).unwrap();
    assert_eq!(service["spec"]["ports"][0]["name"], "http");
    assert!(service["spec"]["selector"].is_null());
    // It is renewed, and stays the same term.
    let renewed = server
        .wait_until("Lease", NAMESPACE, BUCKET, |it| {
            it["spec"]["renewTime"] != lease["spec"]["renewTime"]
        })
        .await;
    assert_eq!(renewed["spec"]["acquireTime"], lease["spec"]["acquireTime"]);
    assert_eq!(renewed["spec"]["leaseTransitions"], 0);
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let server = ApiServer::start().await;
    let first = start(&server, candidate("one", "10.0.0.1", LONG)).await;
    until(&first, Holder::Here).await;
    let second = start(&server, candidate("two", "10.0.0.2", LONG)).await;
    until(&second, Holder::At(([10, 0, 0, 1], 8080).into())).await;
    first.release().await;
    assert_eq!(first.leases().borrow().holders, [Holder::Nobody]);
    // The term has an hour to go: only the release can have brought this.
    until(&second, Holder::Here).await;
    let lease = server.get("Lease", NAMESPACE, BUCKET).unwrap();
    assert_eq!(held_by(&lease), "two_10.0.0.2");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    let slice = |it: &Value| it["endpoints"][0]["addresses"] == json!(["10.0.0.2"]);
    server
        .wait_until("EndpointSlice", NAMESPACE, BUCKET, slice)
        .await;
}

#[tokio::test]
async fn a_holder_that_is_gone_is_followed_when_its_term_is_over() {
    let server = ApiServer::start().await;
    let terms = Terms {
        lease: Duration::from_secs(1),
        renew: Duration::from_millis(900),
        ..LONG
    };
    let first = start(&server, candidate("one", "10.0.0.1", terms)).await;
    until(&first, Holder::Here).await;
    drop(first);
    let second = start(&server, candidate("two", "10.0.0.2", LONG)).await;
    until(&second, Holder::Here).await;
    let lease = server.get("Lease", NAMESPACE, BUCKET).unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

#[tokio::test]
async fn of_several_that_want_a_lease_one_has_it() {
    let server = ApiServer::start().await;
    let mut all = Vec::new();
    for number in 1..=4 {
        let ip = format!("10.0.0.{number}");
        all.push(start(&server, candidate("as", &ip, LONG)).await);
    }
    let mut here = 0;
    for elections in &all {
        let mut leases = elections.leases();
        let known = |leases: &Arc<Leases>| leases.holders != [Holder::Nobody];
        let leases = leases.wait_for(known).await.unwrap();
        here += usize::from(leases.holders == [Holder::Here]);
    }
    assert_eq!(here, 1);
}

#[tokio::test]
async fn who_cannot_renew_gives_up_and_takes_it_again_when_the_server_is_back() {
    let server = ApiServer::start().await;
    let terms = Terms {
        lease: Duration::from_secs(3600),
        renew: Duration::from_millis(500),
        retry: Duration::from_millis(50),
    };
    let elections = start(&server, candidate("as", "10.0.0.1", terms)).await;
    until(&elections, Holder::Here).await;
    server.stop_listening().await;
    until(&elections, Holder::Nobody).await;
    server.listen_again().await;
    // It is still its own, by the name that is written there.
    until(&elections, Holder::Here).await;
}

#[tokio::test]
async fn a_lease_of_somebody_without_an_address_is_nobodys_and_not_taken() {
    let server = ApiServer::start().await;
    let foreign = |name: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 3600 },
        })
    };
    server.put(foreign(BUCKET));
    server.put(foreign("controller.knative.dev"));
    let elections = start(&server, candidate("as", "10.0.0.1", LONG)).await;
    server.until_called(|call| call.verb == "watch").await;
    assert_eq!(elections.leases().borrow().holders, [Holder::Nobody]);
    let lease = server.get("Lease", NAMESPACE, BUCKET).unwrap();
    assert_eq!(held_by(&lease), "somebody");
    server.edit("Lease", NAMESPACE, BUCKET, |lease| {
        lease["spec"]["holderIdentity"] = "peer_10.0.0.9".into();
    });
    until(&elections, Holder::At(([10, 0, 0, 9], 8080).into())).await;
    server.delete("Lease", NAMESPACE, BUCKET);
    until(&elections, Holder::Here).await;
}

#[tokio::test]
async fn the_buckets_service_is_tried_again_and_gets_the_family_of_the_holder() {
    let server = ApiServer::start().await;
    server.put(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": BUCKET, "namespace": NAMESPACE },
        "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"] }], "ports": [],
    }));
    let refused = Matcher::any().resource("services").verb("patch");
    server.fault(refused, Fault::Status(500), 2);
    let elections = start(&server, candidate("as", "fd00::7", LONG)).await;
    until(&elections, Holder::Here).await;
    let slice = server
        .wait_until("EndpointSlice", NAMESPACE, BUCKET, |it| {
            it["addressType"] == "IPv6"
        })
        .await;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["fd00::7"]));
    assert_eq!(server.faults_left(), 0);
}

#[test]
fn the_address_is_behind_the_first_underscore() {
    let v4 = ([1, 2, 3, 4], 8080).into();
    assert_eq!(address("as_1.2.3.4", 8080), Some(v4));
    assert!(address("as_fd00::1", 8080).is_some());
    for wrong in ["1.2.3.4", "_1.2.3.4", "as_", "as_b_1.2.3.4", ""] {
        assert_eq!(address(wrong, 8080), None, "{wrong:?}");
    }
}
