//! Several activators before one pod: what waits in it, and whose turn it is. The rule, and what
//! follows from it for any number of both, is in `src/subset.rs`.

use std::time::Duration;

use penstock_activator::Position;
use penstock_runtime::drain::Drained;
use penstock_testkit::client::Answer;
use penstock_testkit::workload::Workload;
use tokio::task::JoinHandle;

use crate::chain::QueueProxied;
use crate::stage::{LIMIT, Stage, hello, hello_id, within};

fn before(proxy: &QueueProxied) -> Stage {
    Stage::new([hello().concurrency(1).pod(proxy.addr()).build()])
}

/// Has each of `stages` know where it stands among them.
fn stand(stages: &[&Stage]) {
    for (index, stage) in stages.iter().enumerate() {
        let activators = stages.len();
        let position = Position { index, activators };
        stage.running.handle().stand_at(&hello_id(), Some(position));
    }
}

fn asks(stage: &Stage, count: usize) -> Vec<JoinHandle<Answer>> {
    (0..count).map(|_| stage.getting("/hold")).collect()
}

async fn all_held(asked: impl IntoIterator<Item = JoinHandle<Answer>>) {
    for answer in asked {
        assert_eq!(within(answer).await.unwrap().brief(), (200, "held".into()));
    }
}

#[tokio::test]
async fn three_activators_before_one_slot_send_one_request_each_and_take_turns() {
    let container = Workload::start().await;
    let proxy = QueueProxied::with_slots(container.addr(), 1);
    let stages = [(); 3].map(|()| before(&proxy));
    stand(&[&stages[0], &stages[1], &stages[2]]);
    let asked: Vec<_> = stages.iter().flat_map(|stage| asks(stage, 4)).collect();
    // One of each is at the pod, which holds two back: no more than there are other activators.
    for left in (0..4).rev() {
        for stage in &stages {
            stage.until_load(left, 1).await;
        }
        // The pod serves first in, first out, so that in each round each activator is served.
        container.release(3);
        within(container.until_total(3 * (4 - left))).await;
    }
    all_held(asked).await;
    assert_eq!((container.most_inside(), container.total()), (1, 12));
    for stage in stages {
        stage.until_idle().await;
        stage.end().await;
    }
    proxy.end().await;
}

#[tokio::test]
async fn activators_come_die_and_leave_before_one_slot_and_the_others_go_on() {
    let container = Workload::start().await;
    let proxy = QueueProxied::with_slots(container.addr(), 1);
    let (dies, leaves) = (before(&proxy), before(&proxy));
    stand(&[&dies, &leaves]);
    let lost = asks(&dies, 3);
    within(container.until_total(1)).await;
    let of_leaving = asks(&leaves, 3);
    // It comes while the slot is taken and the pod has a line.
    let comes = before(&proxy);
    stand(&[&dies, &leaves, &comes]);
    let of_coming = asks(&comes, 3);
    for stage in [&dies, &leaves, &comes] {
        stage.until_load(2, 1).await;
    }
    assert_eq!((container.most_inside(), container.total()), (1, 1));

    // What it had inside and in the pod's line ends with it: the next one is served.
    let drained = dies.running.drain(Duration::ZERO, Duration::ZERO).await;
    assert!(matches!(drained, Drained::Cut { .. }), "{drained:?}");
    for answer in lost {
        assert!(within(answer).await.is_err(), "its caller is cut off");
    }
    within(container.until_total(2)).await;
    stand(&[&leaves, &comes]);
    for stage in [&leaves, &comes] {
        stage.until_load(2, 1).await;
    }

    // One that leaves serves those who wait in it, in turns with the one that stays.
    let handle = leaves.running.handle();
    let leaving = tokio::spawn(leaves.running.drain(Duration::ZERO, LIMIT));
    stand(&[&comes]);
    for turn in 1..=3 {
        container.release(2);
        within(container.until_total((2 + 2 * turn).min(7))).await;
        let of_coming = [(1, 1), (0, 1), (0, 0)][turn - 1];
        comes.until_load(of_coming.0, of_coming.1).await;
    }
    all_held(of_leaving.into_iter().chain(of_coming)).await;
    assert_eq!(within(leaving).await.unwrap(), Drained::Clean);
    let load = handle.revisions();
    assert!(
        load.iter()
            .all(|one| (one.waiting, one.in_flight) == (0, 0))
    );
    comes.until_idle().await;
    comes.end().await;
    proxy.end().await;
}
