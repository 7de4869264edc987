//! When is asked again.

use penstock_testkit::cluster::revision;
use prometheus::Registry;
use tokio::time::sleep;

use super::*;
use crate::metrics::Metrics;

/// A revision without pods, and who would ask them.
fn quiet() -> (Arc<Entry>, Scout) {
    quiet_by(Discovery::default())
}

fn quiet_by(how: Discovery) -> (Arc<Entry>, Scout) {
    let revision = revision("hello-00001").build();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let entry = Entry::new(&revision, 10, 0, metrics.of_revision(&revision), &how);
    let scout = Scout::new(how, TaskTracker::new(), CancellationToken::new());
    (entry, scout)
}

async fn rest(scout: &Scout, entry: &Entry, pause: Duration) -> (Duration, Duration) {
    let (start, event) = (Instant::now(), entry.stir.events());
    let next = scout.rest(entry, event, pause).await;
    (start.elapsed(), next)
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_the_limit_which_is_shorter_while_somebody_waits() {
    let (entry, scout) = quiet();
    let mut waiting = entry.gate.admit();
    for (is_waited_for, longest) in [(false, 3200), (true, 200)] {
        if is_waited_for {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(pin!(&mut waiting).poll(&mut cx).is_pending());
        }
        let mut pause = FIRST;
        let mut rests = Vec::new();
        for _ in 0..12 {
            let (rested, next) = rest(&scout, &entry, pause).await;
            rests.push(rested.as_millis());
            pause = next;
        }
        assert_eq!(rests[..3], [5, 10, 20]);
        assert_eq!(*rests.last().unwrap(), longest);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_chosen_shorter_than_the_first_one_holds_from_the_start() {
    let pause = Duration::from_millis(2);
    let (entry, scout) = quiet_by(Discovery {
        pause,
        ..Discovery::default()
    });
    let mut waiting = entry.gate.admit();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(&mut waiting).poll(&mut cx).is_pending());
    for _ in 0..3 {
        assert_eq!(rest(&scout, &entry, FIRST).await.0, pause);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_is_cut_short_by_who_comes_to_wait_and_by_news_of_the_pods() {
    for (is_news, want) in [(false, 200), (true, 105)] {
        let (entry, scout) = quiet();
        let resting = rest(&scout, &entry, Duration::from_secs(3));
        let stirs = async {
            sleep(Duration::from_millis(105)).await;
            if is_news {
                entry.stir.event();
                std::future::pending::<()>().await;
            }
            let waiting = entry.gate.admit();
            waiting.await.unwrap_err();
        };
        let rested = tokio::select! {
            (rested, _) = resting => rested,
            () = stirs => unreachable!("there is no pod"),
        };
        assert_eq!(rested.as_millis(), want, "news: {is_news}");
    }
}
