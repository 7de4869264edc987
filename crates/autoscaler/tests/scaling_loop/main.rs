//! The loop against a scripted cluster, with the clock paused: what it asks for, and when.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod bench;
mod path;
mod series;
mod slow;
mod telling;

use std::time::Duration;

use bench::{Bench, addrs, first, nothing, report};
use penstock_autoscaler::PolicyKind;
use penstock_scaling::config::Config;
use penstock_testkit::cluster::{ScriptedCluster, revision};
use penstock_types::{Reachability, RevisionId};

/// A service that may begin without a pod, as `penstock up` has them.
fn from_zero() -> Config {
    Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    }
}

fn hello() -> RevisionId {
    RevisionId::new("default", "hello-00001")
}

#[tokio::test(start_paused = true)]
async fn two_hundred_waiting_at_ten_slots_are_twenty_pods_in_the_first_decision() {
    let cluster = ScriptedCluster::new([revision("hello-00001").concurrency(10).build()]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    let before = bench.now();
    bench.send(vec![first(&hello(), 200)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 20));
    assert_eq!(bench.now(), before, "a timer stood in between");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_grows_is_followed_at_once_and_one_that_emptied_is_not() {
    let cluster = ScriptedCluster::new([revision("hello-00001").concurrency(10).build()]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 0)]).await;
    bench.settle().await;
    assert_eq!(cluster.scaled(), None, "the caller had left");
    bench.send(vec![first(&hello(), 1)]).await;
    bench.send(vec![report(&hello(), 50.0, 120, 0)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    assert_eq!(cluster.next_scale().await, (hello(), 12));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn fifty_revisions_woken_in_one_batch_are_all_asked_for_without_a_timer() {
    let names: Vec<String> = (0..50).map(|n| format!("s{n:02}-00001")).collect();
    let cluster = ScriptedCluster::new(names.iter().map(|name| revision(name).build()));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    let before = bench.now();
    let words = names
        .iter()
        .map(|name| first(&RevisionId::new("default", name.as_str()), 1));
    bench.send(words.collect()).await;
    for name in &names {
        let asked = cluster.next_scale().await;
        assert_eq!(asked, (RevisionId::new("default", name.as_str()), 1));
    }
    assert_eq!(bench.now(), before);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_word_about_a_revision_that_just_appeared_is_not_lost() {
    let cluster = ScriptedCluster::new([]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    // Both are there before the loop gets to run.
    cluster.put(revision("hello-00001").build());
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_revision_goes_to_zero_a_stable_window_after_its_last_load() {
    let cluster = ScriptedCluster::obedient([revision("hello-00001").build()], addrs(1));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    bench.send(vec![nothing(&hello())]).await;
    bench.empty_tables(59).await;
    assert_eq!(cluster.scaled(), None, "before the stable window is over");
    bench.empty_tables(4).await;
    assert_eq!(cluster.scaled(), Some((hello(), 0)));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_takes_no_pod_away_but_one_that_speaks_of_others_does() {
    let cluster = ScriptedCluster::obedient([revision("hello-00001").build()], addrs(5));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![report(&hello(), 300.0, 300, 0)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 5));
    bench.wait(600).await;
    assert_eq!(cluster.scaled(), None, "silence is not zero");
    bench.empty_tables(70).await;
    let mut asked = 5;
    while let Some((_, pods)) = cluster.scaled() {
        assert!(pods < asked);
        asked = pods;
    }
    assert_eq!(asked, 0);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_begins_with_the_current_scale() {
    for policy in [PolicyKind::Demand, PolicyKind::Knative] {
        let busy = revision("hello-00001").concurrency(10);
        let busy = addrs(5).into_iter().fold(busy, |busy, addr| busy.pod(addr));
        let cluster = ScriptedCluster::new([busy.build()]);
        let bench = Bench::start(&cluster, Config::default(), policy).await;
        bench.wait(30).await;
        assert_eq!(cluster.scaled(), None, "{policy:?}");
        assert_eq!(bench.state("default/hello-00001").wanted, 5, "{policy:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_revision_begins_with_its_initial_scale_and_loses_it_without_load() {
    for policy in [PolicyKind::Demand, PolicyKind::Knative] {
        let cluster = ScriptedCluster::obedient(
            [revision("hello-00001")
                .autoscaling("initial-scale", "3")
                .build()],
            addrs(3),
        );
        let bench = Bench::start(&cluster, Config::default(), policy).await;
        assert_eq!(cluster.next_scale().await, (hello(), 3), "{policy:?}");
        bench.empty_tables(200).await;
        let mut last = 3;
        while let Some((_, pods)) = cluster.scaled() {
            last = pods;
        }
        assert_eq!(last, 0, "{policy:?}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn policy_knative_wakes_on_the_first_word_and_sizes_by_its_average() {
    let cluster =
        ScriptedCluster::obedient([revision("hello-00001").concurrency(10).build()], addrs(40));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Knative).await;
    bench.wait(3).await;
    let before = bench.now();
    bench.send(vec![first(&hello(), 200)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    assert_eq!(bench.now(), before, "a timer stood in between");
    bench.wait(1).await;
    bench.send(vec![report(&hello(), 200.0, 0, 200)]).await;
    bench.wait(2).await;
    let (_, pods) = cluster.next_scale().await;
    assert!(pods > 10, "{pods}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn policy_knative_goes_to_zero_after_window_and_retention() {
    let cluster = ScriptedCluster::obedient(
        [revision("hello-00001")
            .autoscaling("scale-to-zero-pod-retention-period", "40s")
            .build()],
        addrs(1),
    );
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Knative).await;
    bench.wait(3).await;
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    bench.wait(98).await;
    assert_eq!(cluster.scaled(), None);
    bench.wait(10).await;
    assert_eq!(cluster.scaled(), Some((hello(), 0)));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn annotations_configuration_and_reachability_take_effect_while_running() {
    let cluster =
        ScriptedCluster::obedient([revision("hello-00001").concurrency(10).build()], addrs(20));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.configure(Config {
        max_scale: Some(4),
        ..from_zero()
    });
    bench.settle().await;
    bench.send(vec![first(&hello(), 200)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 4));
    // An annotation wins over the configuration.
    cluster.put({
        let old = cluster.revision(&hello());
        let mut new = revision("hello-00001")
            .concurrency(10)
            .autoscaling("max-scale", "6")
            .autoscaling("min-scale", "2")
            .build();
        (new.wanted, new.pods) = (old.wanted, old.pods.clone());
        new
    });
    assert_eq!(cluster.next_scale().await, (hello(), 6));
    bench.send(vec![nothing(&hello())]).await;
    bench.empty_tables(120).await;
    let mut last = 6;
    while let Some((_, pods)) = cluster.scaled() {
        last = pods;
    }
    assert_eq!(last, 2, "min-scale");
    cluster.change_revision(&hello(), |revision| {
        revision.reachability = Reachability::Unreachable;
    });
    bench.empty_tables(2).await;
    assert_eq!(cluster.scaled(), Some((hello(), 0)), "min-scale is off");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_tried_again_with_a_growing_wait() {
    let cluster = ScriptedCluster::new([revision("hello-00001").build()]);
    for _ in 0..4 {
        cluster.refuse_next("no room");
    }
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 1)]).await;
    let mut at = Vec::new();
    for _ in 0..5 {
        assert_eq!(cluster.next_scale().await, (hello(), 1));
        at.push(bench.now());
    }
    let waits: Vec<u128> = at
        .windows(2)
        .map(|two| (two[1] - two[0]).as_millis())
        .collect();
    // The timer is exact to a millisecond.
    for (wait, want) in waits.iter().zip([100, 200, 400, 800]) {
        assert!((want..want + 3).contains(wait), "{waits:?}");
    }
    bench.wait(10).await;
    assert_eq!(cluster.scaled(), None, "taken is taken");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_number_is_asked_for_when_a_failing_call_is_tried_again() {
    let cluster = ScriptedCluster::new([revision("hello-00001").concurrency(1).build()]);
    cluster.refuse_next("no room");
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    bench.send(vec![report(&hello(), 3.0, 7, 0)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 7));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_number_that_somebody_else_changed_is_asked_for_again() {
    let cluster = ScriptedCluster::new([revision("hello-00001").build()]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    cluster.change_revision(&hello(), |revision| revision.wanted = 0);
    bench.wait(5).await;
    assert_eq!(cluster.scaled(), Some((hello(), 1)));
    assert_eq!(cluster.scaled(), None);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_decider_goes_with_its_revision_and_a_new_one_starts_afresh() {
    let cluster = ScriptedCluster::new([revision("hello-00001").build()]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    cluster.remove(&hello());
    bench.settle().await;
    assert!(bench.states().is_empty());
    bench.send(vec![first(&hello(), 1)]).await;
    bench.settle().await;
    assert_eq!(cluster.scaled(), None);
    cluster.put(revision("hello-00001").build());
    bench.settle().await;
    assert_eq!(bench.state("default/hello-00001").wanted, 0);
    bench.send(vec![first(&hello(), 1)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_of_half_as_much_again_is_followed_within_two_seconds() {
    let cluster =
        ScriptedCluster::obedient([revision("hello-00001").concurrency(10).build()], addrs(30));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![report(&hello(), 70.0, 70, 0)]).await;
    for _ in 0..90 {
        bench.wait(1).await;
        bench.send(vec![report(&hello(), 70.0, 0, 70)]).await;
    }
    bench.settle().await;
    while cluster.scaled().is_some() {}
    assert_eq!(bench.state("default/hello-00001").wanted, 10);
    // The step falls into the middle of a second.
    for average in [87.5, 105.0] {
        bench.wait(1).await;
        bench.send(vec![report(&hello(), average, 5, 100)]).await;
    }
    bench.settle().await;
    let mut last = 0;
    while let Some((_, pods)) = cluster.scaled() {
        last = pods;
    }
    assert!(last >= 15, "{last}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_is_decided_on_also_right_behind_a_tick() {
    // The tick comes every two seconds, the report in step with it: on every other one.
    for seconds in [90, 91] {
        let cluster =
            ScriptedCluster::obedient([revision("hello-00001").concurrency(10).build()], addrs(9));
        let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
        bench.send(vec![report(&hello(), 20.0, 20, 0)]).await;
        for _ in 0..seconds {
            bench.wait(1).await;
            bench.send(vec![report(&hello(), 20.0, 0, 20)]).await;
        }
        bench.settle().await;
        assert_eq!(bench.state("default/hello-00001").wanted, 3);
        bench.wait(1).await;
        bench.send(vec![report(&hello(), 30.0, 0, 30)]).await;
        bench.settle().await;
        assert_eq!(bench.state("default/hello-00001").wanted, 5, "{seconds}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_the_stop_signal_and_lives_on_without_a_source() {
    let cluster = ScriptedCluster::new([revision("hello-00001").build()]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    let bench = bench.without_source();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(cluster.scaled(), None);
    cluster.put(
        revision("other-00001")
            .autoscaling("min-scale", "2")
            .build(),
    );
    let other = RevisionId::new("default", "other-00001");
    assert_eq!(cluster.next_scale().await, (other, 2));
    bench.stop().await;
}
