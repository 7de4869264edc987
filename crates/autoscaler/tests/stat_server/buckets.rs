//! Several autoscalers, each with some of the buckets.

use std::sync::Arc;
use std::time::Duration;

use penstock_autoscaler::Peers;
use penstock_cluster::{Holder, Leases};
use tokio::sync::watch;

use crate::stage::{Stage, hello, one_revision, word};

fn leases(holders: Vec<Holder>) -> Arc<Leases> {
    Arc::new(Leases::elected(holders))
}

/// `default/hello-00001` is in bucket 0 of 3.
fn only_first(holder: Holder) -> Arc<Leases> {
    leases(vec![holder, Holder::Nobody, Holder::Nobody])
}

#[tokio::test]
async fn case_107_a_word_waits_for_the_first_leader_and_is_taken_once() {
    let (elect, elections) = watch::channel(only_first(Holder::Nobody));
    let stage = Stage::bind();
    let revisions = [one_revision("hello-00001")];
    let stage = stage.start(revisions, elections, Peers::default()).await;
    let mut activator = stage.activator(true).await;
    activator.say(&[word("hello-00001", 1.0, 30)]).await;
    // A word about another bucket, to know that the first was routed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(stage.handle.state().is_empty(), "nobody holds it yet");
    elect.send_replace(only_first(Holder::Here));
    assert_eq!(stage.asked().await, (hello(), 3));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(stage.asked_now(), None, "it was taken twice");
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn case_107_a_word_for_another_holder_is_handed_on_with_what_waits() {
    let (mine, theirs) = (Stage::bind(), Stage::bind());
    let (_a, to_them) = watch::channel(only_first(Holder::At(theirs.addr())));
    let (_b, here) = watch::channel(only_first(Holder::Here));
    let revisions = || [one_revision("hello-00001")];
    let mine = mine.start(revisions(), to_them, Peers::default()).await;
    let theirs = theirs.start(revisions(), here, Peers::default()).await;
    let mut activator = mine.activator(true).await;
    activator.say(&[word("hello-00001", 1.0, 40)]).await;
    assert_eq!(theirs.asked().await, (hello(), 4));
    assert_eq!(mine.asked_now(), None);
    assert!(
        mine.handle.state().is_empty(),
        "it looks after none of them"
    );
    drop(activator);
    mine.stop().await;
    theirs.stop().await;
}

#[tokio::test]
async fn where_the_pods_address_fails_the_buckets_service_is_tried() {
    let (mine, theirs) = (Stage::bind(), Stage::bind());
    // A port that nobody listens on any more.
    let gone = Stage::bind().addr();
    // The name of the bucket and what follows make up the host; here what follows is the address.
    let peers = Peers {
        service: Some(format!(".localhost:{}", theirs.addr().port())),
    };
    let (_a, to_them) = watch::channel(only_first(Holder::At(gone)));
    let (_b, here) = watch::channel(only_first(Holder::Here));
    let revisions = || [one_revision("hello-00001")];
    let mine = mine.start(revisions(), to_them, peers).await;
    let theirs = theirs.start(revisions(), here, Peers::default()).await;
    let name = "autoscaler-bucket-00-of-03.localhost:1";
    if tokio::net::lookup_host(name).await.is_err() {
        println!("not run: names below localhost do not resolve here");
    } else {
        let mut activator = mine.activator(true).await;
        activator.say(&[word("hello-00001", 1.0, 40)]).await;
        assert_eq!(theirs.asked().await, (hello(), 4));
    }
    mine.stop().await;
    theirs.stop().await;
}

#[tokio::test]
async fn who_loses_a_lease_looks_after_its_revisions_no_longer() {
    let (elect, elections) = watch::channel(only_first(Holder::Here));
    let stage = Stage::bind();
    let revisions = [one_revision("hello-00001")];
    let stage = stage.start(revisions, elections, Peers::default()).await;
    let mut activator = stage.activator(true).await;
    activator.say(&[word("hello-00001", 1.0, 30)]).await;
    assert_eq!(stage.asked().await, (hello(), 3));
    elect.send_replace(only_first(Holder::Nobody));
    while !stage.handle.state().is_empty() {
        tokio::task::yield_now().await;
    }
    elect.send_replace(only_first(Holder::Here));
    while stage.handle.state().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn pods_of_a_stateful_set_hold_one_bucket_each_and_are_found_by_its_name() {
    let (zero, one) = (Stage::bind(), Stage::bind());
    let names = [zero.addr(), one.addr()].map(|addr| format!("http://{addr}"));
    let here = |ordinal| watch::channel(Arc::new(Leases::named(names.clone(), ordinal)));
    let ((_a, to_zero), (_b, to_one)) = (here(0), here(1));
    // Which of them is whose depends on the names, and so on the ports.
    let services: Vec<String> = (0..20).map(|n| format!("s{n}-00001")).collect();
    let revisions = || services.iter().map(|name| one_revision(name));
    let zero = zero.start(revisions(), to_zero, Peers::default()).await;
    let one = one.start(revisions(), to_one, Peers::default()).await;
    let owner = penstock_scaling::bucket::Buckets::named(names.clone());
    let key = |name: &str| format!("default/{name}");
    let of = |ordinal| {
        let mut all = services.iter();
        all.find(|name| owner.owner(&key(name)) == Some(ordinal))
            .expect("20 names fall into both of 2 buckets")
    };
    let mut activator = zero.activator(true).await;
    activator
        .say(&[word(of(0), 1.0, 20), word(of(1), 1.0, 30)])
        .await;
    let (asked, pods) = zero.asked().await;
    assert_eq!((asked.name(), pods), (&**of(0), 2));
    let (asked, pods) = one.asked().await;
    assert_eq!((asked.name(), pods), (&**of(1), 3));
    drop(activator);
    zero.stop().await;
    one.stop().await;
}
