//! A cluster that arranges the path and remembers: what it is told, when the last pod goes, and how
//! a new loop goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use penstock_autoscaler::{Confirm, PolicyKind};
use penstock_cluster::{BoxFuture, Standing, Way, Wish};
use penstock_scaling::config::{BurstCapacity, Config};
use penstock_testkit::cluster::{RevisionBuilder, ScriptedCluster, revision};
use penstock_types::{Activity, Inactive};

use crate::bench::{Bench, addrs, first, nothing, report};
use crate::hello;

/// The activator's word, and how often it was asked for.
#[derive(Default)]
struct Word {
    is_yes: AtomicBool,
    asked: AtomicU32,
}

impl Word {
    fn yes() -> Arc<Self> {
        let word = Arc::new(Self::default());
        word.say(true);
        word
    }

    fn say(&self, yes: bool) {
        self.is_yes.store(yes, Ordering::Relaxed);
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Confirm for Word {
    fn ask<'a>(&'a self, public: &'a str) -> BoxFuture<'a, bool> {
        assert_eq!(public, "hello-00001.default.svc.cluster.local:80");
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(self.is_yes.load(Ordering::Relaxed)))
    }
}

fn way(proxied: bool) -> Way {
    Way {
        proxied,
        proxied_since: None,
        public: Some("hello-00001.default.svc.cluster.local:80".into()),
    }
}

/// Began long ago, so that no window is in the way.
fn standing(activity: Activity, way: Option<Way>) -> Standing {
    Standing {
        activity,
        since: SystemTime::now() - Duration::from_secs(3600),
        initialized: activity != Activity::New,
        way,
        stale: false,
    }
}

fn one(activity: Activity, way: Option<Way>) -> RevisionBuilder {
    revision("hello-00001")
        .concurrency(10)
        .standing(standing(activity, way))
}

async fn start(
    cluster: &Arc<ScriptedCluster>,
    policy: PolicyKind,
    config: Config,
    word: &Arc<Word>,
) -> Bench {
    let word = Arc::clone(word);
    Bench::start_with(cluster, config, policy, |autoscaler| {
        autoscaler.with_confirm(word)
    })
    .await
}

/// The last of the wishes made so far.
fn last_wish(cluster: &ScriptedCluster) -> Option<Wish> {
    let wishes = std::iter::from_fn(|| cluster.wished());
    wishes.last().map(|(_, wish)| wish)
}

const POLICIES: [PolicyKind; 2] = [PolicyKind::Knative, PolicyKind::Demand];

#[tokio::test(start_paused = true)]
async fn a_new_revision_gets_its_path_before_anything_is_decided() {
    for policy in POLICIES {
        let cluster = ScriptedCluster::new([one(Activity::New, None).wanted(1).build()]);
        let bench = start(&cluster, policy, Config::default(), &Word::yes()).await;
        let (_, wish) = cluster.next_wish().await;
        assert_eq!(wish.wanted, None, "{policy:?}");
        assert_eq!((wish.proxied, wish.activators, wish.ready), (true, 2, 0));
        assert_eq!(wish.activity, Activity::Activating);
        assert!(!wish.initialized);
        assert_eq!(cluster.scaled(), None, "{policy:?}: it has its first pod");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_active_and_initialized_as_soon_as_its_pods_are_ready() {
    for policy in POLICIES {
        let cluster =
            ScriptedCluster::new([one(Activity::Activating, Some(way(true))).wanted(1).build()]);
        cluster.change_revision(&hello(), |revision| {
            let standing = revision.standing.as_mut().unwrap();
            Arc::make_mut(standing).initialized = false;
            Arc::make_mut(standing).since = SystemTime::now();
        });
        let bench = start(&cluster, policy, Config::default(), &Word::yes()).await;
        bench.send(vec![first(&hello(), 1)]).await;
        bench.settle().await;
        let before = bench.now();
        cluster.start_pod(&hello(), addrs(1)[0]);
        bench.settle().await;
        let wish = last_wish(&cluster).expect("something to remember");
        assert_eq!(
            (wish.activity, wish.initialized, wish.ready),
            (Activity::Active, true, 1),
            "{policy:?}"
        );
        assert!(bench.now() - before < Duration::from_millis(5), "no tick");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_pod_goes_in_two_moves_and_not_before_the_activator_says_so() {
    for policy in POLICIES {
        let cluster = ScriptedCluster::obedient(
            [one(Activity::Active, Some(way(true)))
                .pod(addrs(1)[0])
                .build()],
            addrs(1),
        );
        let word = Arc::new(Word::default());
        let bench = start(&cluster, policy, Config::default(), &word).await;
        bench.send(vec![report(&hello(), 1.0, 0, 1)]).await;
        bench.send(vec![nothing(&hello())]).await;
        bench.empty_tables(130).await;
        let wish = last_wish(&cluster).unwrap();
        let inactive = Activity::Inactive(Inactive::NoTraffic);
        assert_eq!(wish.activity, inactive, "{policy:?}");
        assert_eq!((wish.wanted, wish.proxied), (Some(0), true));
        assert_eq!(cluster.scaled(), None, "{policy:?}: no word, no zero");
        assert!(word.asked() > 10, "asked each second: {}", word.asked());
        word.say(true);
        bench.empty_tables(3).await;
        assert_eq!(cluster.scaled(), Some((hello(), 0)), "{policy:?}");
        let asked = word.asked();
        bench.empty_tables(60).await;
        assert_eq!(cluster.scaled(), None, "{policy:?}");
        assert_eq!(
            word.asked(),
            asked,
            "nobody asks for a revision without pods"
        );
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_in_the_grace_period_keeps_the_last_pod() {
    for policy in POLICIES {
        let cluster = ScriptedCluster::obedient(
            [one(Activity::Active, Some(way(true)))
                .pod(addrs(1)[0])
                .build()],
            addrs(1),
        );
        let config = Config {
            grace: Duration::from_secs(30),
            ..Config::default()
        };
        let bench = start(&cluster, policy, config, &Word::yes()).await;
        bench.send(vec![report(&hello(), 1.0, 0, 1)]).await;
        bench.send(vec![nothing(&hello())]).await;
        let inactive = Activity::Inactive(Inactive::NoTraffic);
        loop {
            bench.empty_tables(1).await;
            if last_wish(&cluster).is_some_and(|wish| wish.activity == inactive) {
                break;
            }
        }
        bench.send(vec![report(&hello(), 1.0, 0, 1)]).await;
        for _ in 0..50 {
            bench.wait(1).await;
            bench.send(vec![report(&hello(), 1.0, 0, 1)]).await;
        }
        assert_eq!(cluster.scaled(), None, "{policy:?}");
        assert_eq!(last_wish(&cluster).unwrap().activity, Activity::Active);
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_from_what_the_cluster_remembers() {
    for policy in POLICIES {
        // Nobody calls, and the grace period began before the restart.
        let inactive = Activity::Inactive(Inactive::NoTraffic);
        let cluster = ScriptedCluster::new([one(inactive, Some(way(true))).build()]);
        let bench = start(&cluster, policy, Config::default(), &Word::yes()).await;
        bench.empty_tables(30).await;
        assert_eq!(cluster.scaled(), None, "{policy:?}: no initial scale again");
        let before = bench.now();
        bench.send(vec![first(&hello(), 1)]).await;
        assert_eq!(cluster.next_scale().await, (hello(), 1), "{policy:?}");
        assert_eq!(bench.now(), before, "{policy:?}: nobody waits for a tick");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_request_after_a_restart_is_decided_on_at_once() {
    for policy in POLICIES {
        let inactive = Activity::Inactive(Inactive::NoTraffic);
        let cluster = ScriptedCluster::new([one(inactive, Some(way(true))).build()]);
        let bench = start(&cluster, policy, Config::default(), &Word::yes()).await;
        let before = bench.now();
        bench.send(vec![first(&hello(), 1)]).await;
        assert_eq!(cluster.next_scale().await, (hello(), 1), "{policy:?}");
        assert_eq!(bench.now(), before, "{policy:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn silence_takes_no_pod_away_where_pods_are_scraped() {
    for policy in POLICIES {
        let busy = one(Activity::Active, Some(way(false)));
        let busy = addrs(4).into_iter().fold(busy, |busy, addr| busy.pod(addr));
        let cluster = ScriptedCluster::new([busy.build()]);
        let word = Word::yes();
        let for_loop = Arc::clone(&word);
        let bench = Bench::start_with(&cluster, Config::default(), policy, |autoscaler| {
            autoscaler.with_scraping().with_confirm(for_loop)
        })
        .await;
        bench.wait(600).await;
        // The activators have nothing to say of a revision that they are not in the path of.
        bench.empty_tables(120).await;
        assert_eq!(cluster.scaled(), None, "{policy:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_activator_leaves_when_there_is_room_and_comes_back_when_it_is_short() {
    let config = Config {
        burst_capacity: BurstCapacity::Of(10.0),
        ..Config::default()
    };
    for policy in POLICIES {
        let roomy = one(Activity::Active, Some(way(true))).autoscaling("min-scale", "4");
        let roomy = addrs(4).into_iter().fold(roomy, |it, addr| it.pod(addr));
        let cluster = ScriptedCluster::new([roomy.build()]);
        let bench = start(&cluster, policy, config.clone(), &Word::yes()).await;
        for _ in 0..30 {
            bench.send(vec![report(&hello(), 5.0, 0, 5)]).await;
            bench.wait(1).await;
        }
        let wish = last_wish(&cluster).unwrap();
        assert!(!wish.proxied, "{policy:?}: 40 - 10 - 5 is room enough");
        for _ in 0..10 {
            bench.send(vec![report(&hello(), 38.0, 0, 38)]).await;
            bench.wait(1).await;
        }
        assert!(last_wish(&cluster).unwrap().proxied, "{policy:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_proxy_the_activator_stays_in_the_path() {
    for policy in POLICIES {
        let mut bare = one(Activity::Active, Some(way(true)));
        bare = addrs(9).into_iter().fold(bare, |it, addr| it.pod(addr));
        let mut bare = bare.autoscaling("target-burst-capacity", "0").build();
        bare.queue_proxy = false;
        let cluster = ScriptedCluster::new([bare]);
        let bench = start(&cluster, policy, Config::default(), &Word::yes()).await;
        for _ in 0..30 {
            bench.send(vec![report(&hello(), 50.0, 0, 50)]).await;
            bench.wait(1).await;
        }
        let wish = last_wish(&cluster).unwrap();
        assert!(wish.proxied && !wish.scraped, "{policy:?}: {wish:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wiped_from_the_clusters_memory_is_told_again() {
    let cluster = ScriptedCluster::new([one(Activity::Active, Some(way(true)))
        .pod(addrs(1)[0])
        .build()]);
    let bench = start(
        &cluster,
        PolicyKind::Demand,
        Config::default(),
        &Word::yes(),
    )
    .await;
    bench.send(vec![report(&hello(), 5.0, 0, 5)]).await;
    bench.wait(6).await;
    assert!(last_wish(&cluster).is_some());
    cluster.change_revision(&hello(), |revision| {
        let standing = revision.standing.as_mut().unwrap();
        Arc::make_mut(standing).activity = Activity::Inactive(Inactive::TimedOut);
    });
    bench.wait(5).await;
    let wish = last_wish(&cluster).expect("told again");
    assert_eq!(wish.activity, Activity::Active);
    bench.stop().await;
}
