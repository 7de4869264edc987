//! Slots: which pod gets a request, and that no pod gets more than it takes.

use penstock_activator::{Options, Position};
use penstock_testkit::client::Client;
use penstock_testkit::cluster::{draining_pod, pod, starting_pod};
use penstock_testkit::workload::Workload;

use crate::stage::{Bound, HOST, Stage, get, hello, hello_id, within};

#[tokio::test]
async fn case_119_a_hundred_requests_at_ten_pods_of_one_slot_all_succeed_one_at_a_time() {
    let mut pods = Vec::new();
    for _ in 0..10 {
        pods.push(Workload::start().await);
    }
    let stage = Stage::new([hello().concurrency(1).build()]);
    let asked: Vec<_> = (0..100).map(|_| stage.getting("/hold")).collect();
    stage.until_load(100, 0).await;
    for pod in &pods {
        stage.cluster.start_pod(&hello_id(), pod.addr());
    }
    stage.until_load(90, 10).await;
    for pod in &pods {
        within(pod.until_inside(1)).await;
        pod.release(100);
    }
    for answer in asked {
        assert_eq!(within(answer).await.unwrap().brief(), (200, "held".into()));
    }
    let total: usize = pods.iter().map(Workload::total).sum();
    assert_eq!(total, 100);
    assert!(pods.iter().all(|pod| pod.most_inside() == 1));
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn each_pod_that_starts_gets_as_many_as_it_takes_of_those_who_have_waited_longest() {
    let pods = [Workload::start().await, Workload::start().await];
    let stage = Stage::new([hello().concurrency(2).build()]);
    let mut asked = Vec::new();
    for waiting in 1..=8 {
        asked.push(stage.getting("/hold"));
        stage.until_load(waiting, 0).await;
    }
    for (pod, waiting) in pods.iter().zip([6, 4]) {
        stage.cluster.start_pod(&hello_id(), pod.addr());
        stage.until_load(waiting, 8 - waiting).await;
        within(pod.until_inside(2)).await;
    }
    // Two leave a pod, and two come: were it others, these would never be answered.
    let mut asked = asked.into_iter();
    for pod in [&pods[0], &pods[1], &pods[0], &pods[1]] {
        pod.release(2);
        for answer in asked.by_ref().take(2) {
            assert_eq!(within(answer).await.unwrap().brief(), (200, "held".into()));
        }
    }
    assert!(pods.iter().all(|pod| pod.most_inside() == 2));
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn case_62_up_to_three_slots_are_packed_from_four_on_pods_take_turns() {
    for (concurrency, pods, want) in [(3, 5, vec![3, 0, 0, 0, 0]), (5, 3, vec![1, 1, 1])] {
        let mut all = Vec::new();
        for _ in 0..pods {
            all.push(Workload::start().await);
        }
        all.sort_by_key(Workload::addr);
        let revision = all
            .iter()
            .fold(hello().concurrency(concurrency), |revision, pod| {
                revision.pod(pod.addr())
            });
        let stage = Stage::new([revision.build()]);
        let asked: Vec<_> = (0..3).map(|_| stage.getting("/hold")).collect();
        stage.until_load(0, 3).await;
        for (pod, want) in all.iter().zip(&want) {
            within(pod.until_inside(*want)).await;
            pod.release(10);
        }
        for answer in asked {
            assert_eq!(within(answer).await.unwrap().status, 200);
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn case_79_a_pod_that_is_not_ready_any_more_gets_nothing_and_again_when_it_is() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    assert_eq!(stage.get("/").await.status, 200);
    let id = hello_id();
    stage.cluster.set_pods(&id, [starting_pod(one.addr())]);
    stage.until_pods(&[]).await;
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    assert_eq!(one.total(), 1);
    stage.cluster.set_pods(&id, [pod(one.addr())]);
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn a_removed_pod_gets_nothing_new_and_finishes_what_it_has() {
    let (one, two) = (Workload::start().await, Workload::start().await);
    let stage = Stage::new([hello().concurrency(1).pod(one.addr()).build()]);
    let running = stage.getting("/hold");
    within(one.until_inside(1)).await;
    let waiting = stage.getting("/hold");
    stage.until_load(1, 1).await;
    stage.cluster.set_pods(&hello_id(), [pod(two.addr())]);
    within(two.until_inside(1)).await;
    one.release(2);
    assert_eq!(within(running).await.unwrap().status, 200);
    two.release(1);
    assert_eq!(within(waiting).await.unwrap().status, 200);
    assert_eq!((one.total(), two.total()), (1, 1));
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_leaves_keeps_no_idle_connection_of_ours() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(one.connections(), 1);
    let id = hello_id();
    stage.cluster.set_pods(&id, []);
    stage.until_pods(&[]).await;
    stage.cluster.set_pods(&id, [pod(one.addr())]);
    stage.until_pods(&[one.addr()]).await;
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(one.connections(), 2);
    stage.end().await;
}

#[tokio::test]
async fn a_connection_that_is_in_use_when_its_pod_leaves_is_not_kept() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    let id = hello_id();
    for leaves in [false, true] {
        let running = stage.getting("/hold");
        within(one.until_inside(1)).await;
        if leaves {
            stage.cluster.set_pods(&id, [draining_pod(one.addr())]);
            stage.until_pods(&[]).await;
        }
        one.release(1);
        assert_eq!(within(running).await.unwrap().status, 200);
        stage.until_idle().await;
    }
    assert_eq!(one.connections(), 1);
    stage.cluster.set_pods(&id, [pod(one.addr())]);
    stage.until_pods(&[one.addr()]).await;
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(one.connections(), 2);
    stage.end().await;
}

#[tokio::test]
async fn case_64_a_removed_revision_is_404_for_newcomers_lets_waiting_ones_go_and_ends_well() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().concurrency(1).pod(one.addr()).build()]);
    let running = stage.getting("/hold");
    within(one.until_inside(1)).await;
    let waiting = [stage.getting("/"), stage.getting("/")];
    stage.until_load(2, 1).await;
    stage.cluster.remove(&hello_id());
    for answer in waiting {
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.brief(), (500, String::new()));
        assert_eq!(
            answer.headers["proxy-status"],
            "penstock-activator; error=destination_unavailable"
        );
    }
    assert_eq!(stage.get("/").await.status, 404);
    one.release(1);
    assert_eq!(within(running).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn without_a_contract_those_who_wait_for_what_is_removed_hear_what_it_was() {
    let stage = Bound::before([hello().build()]).start(Options {
        explains_removal: true,
        ..Options::default()
    });
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    stage.cluster.remove(&hello_id());
    let answer = within(waiting).await.unwrap();
    let text = "the workload default/hello-00001 was deleted, or is not scaled from zero any more";
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text().trim_end(), text);
    assert_eq!(
        answer.headers["proxy-status"],
        "penstock-activator; error=destination_unavailable"
    );
    stage.end().await;
}

#[tokio::test]
async fn case_120_pods_come_and_go_under_load_and_no_request_fails() {
    let mut pods = Vec::new();
    for _ in 0..4 {
        pods.push(Workload::start().await);
    }
    let stage = Stage::new([hello().concurrency(2).pod(pods[0].addr()).build()]);
    let addr = stage.addr;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::http1(addr).await;
                for _ in 0..100 {
                    let answer = client.get(HOST, "/status/200").await.unwrap();
                    assert_eq!(answer.status, 200);
                }
            })
        })
        .collect();
    // Every change is made when some more requests have come through.
    let served = || pods.iter().map(Workload::total).sum::<usize>();
    for round in 0..20 {
        let seen = served();
        crate::stage::until(|| served() > seen || seen >= 800).await;
        let now = [round % 4, (round + 1 + round / 4) % 4];
        let mut now: Vec<_> = now.iter().map(|at| pods[*at].addr()).collect();
        now.dedup();
        stage
            .cluster
            .set_pods(&hello_id(), now.into_iter().map(pod));
    }
    for caller in callers {
        within(caller).await.unwrap();
    }
    assert_eq!(served(), 800);
    assert_eq!(get(addr, "/").await.status, 200);
    assert!(pods.iter().all(|pod| pod.most_inside() <= 2));
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_backlog_without_a_limit_is_released_as_its_pod_answers_and_with_time() {
    let only = Workload::start().await;
    let bound = crate::stage::Bound::before([hello().build()]);
    let stage = bound.start(penstock_activator::Options {
        first_window: std::num::NonZeroUsize::new(2),
        ..penstock_activator::Options::default()
    });
    let asked: Vec<_> = (0..60).map(|_| stage.getting("/hold")).collect();
    stage.until_load(60, 0).await;
    stage.cluster.start_pod(&hello_id(), only.addr());
    // Nobody is answered: two, then twice as many each time.
    within(only.until_inside(60)).await;
    only.release(60);
    for answer in asked {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_backlog_is_thrown_at_its_first_pod_neither_at_once_nor_without_end() {
    let only = Workload::start().await;
    let stage = Stage::new([hello().build()]);
    let asked: Vec<_> = (0..300).map(|_| stage.getting("/")).collect();
    stage.until_load(300, 0).await;
    stage.cluster.start_pod(&hello_id(), only.addr());
    for answer in asked {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    assert_eq!(only.total(), 300);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn cases_54_56_59_and_60_activators_divide_the_pods_of_a_revision_with_a_limit() {
    let mut pods = Vec::new();
    for _ in 0..3 {
        pods.push(Workload::start().await);
    }
    pods.sort_by_key(|pod| pod.addr().to_string());
    let addrs: Vec<_> = pods.iter().map(Workload::addr).collect();
    let revision = |concurrency| {
        let all = addrs.iter().fold(hello(), |all, addr| all.pod(*addr));
        all.concurrency(concurrency).build()
    };
    let at = |index, activators| Some(Position { index, activators });
    let stage = Stage::new([revision(1)]);
    let handle = stage.running.handle();
    // The last of three over goes to the first of two; the second has the one in the middle.
    handle.stand_at(&hello_id(), at(0, 2));
    stage.until_pods(&[addrs[0], addrs[2]]).await;
    handle.stand_at(&hello_id(), at(1, 2));
    stage.until_pods(&[addrs[1]]).await;
    let asked = [stage.getting("/hold"), stage.getting("/hold")];
    stage.until_load(1, 1).await;
    within(pods[1].until_inside(1)).await;
    // Alone again: who waits gets another pod. A pod that stays keeps what is inside it.
    handle.stand_at(&hello_id(), at(0, 1));
    stage.until_load(0, 2).await;
    handle.stand_at(&hello_id(), at(1, 2));
    // What comes later is divided as well.
    stage
        .cluster
        .set_pods(&hello_id(), addrs[1..].iter().map(|addr| pod(*addr)));
    stage.until_pods(&[addrs[2]]).await;
    handle.stand_at(&hello_id(), None);
    stage.until_pods(&addrs[1..]).await;
    pods.iter().for_each(|pod| pod.release(2));
    for answer in asked {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    stage.end().await;

    let unlimited = Stage::new([revision(0)]);
    unlimited.running.handle().stand_at(&hello_id(), at(1, 2));
    unlimited.until_pods(&addrs).await;
    unlimited.end().await;
}
