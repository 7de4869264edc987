//! Shutdown that loses no request: stop, wait, close, cut.
//!
//! 1. readiness fails, and everything still works: traffic takes seconds to move away
//! 2. no new connection is taken; what is open finishes
//! 3. what has not finished in time is cut, and counted
//!
//! Accept loops end at [`Phases::close`]. A connection selects between itself and `close` (then
//! it shuts down gracefully), all of it inside `cut.run_until_cancelled`. Every task is spawned
//! on [`Phases::tasks`]: a task that nobody joins panics unseen.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The signals of a shutdown, and the tasks that heed them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// No new connection from here on; open requests finish.
    pub close: CancellationToken,
    /// Whatever still runs is dropped.
    pub cut: CancellationToken,
    /// Accept loops and connections.
    pub tasks: TaskTracker,
}

/// How long a shutdown may take. The sum has to stay below the pod's
/// `terminationGracePeriodSeconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Time in which requests are still taken although readiness fails.
    pub lame_duck: Duration,
    /// Time that open requests then get; [`Duration::MAX`] is no limit.
    pub grace: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the exit status depends on it"]
pub enum Drained {
    /// Every task ended by itself.
    Clean,
    /// Some were cut.
    Cut {
        /// How many tasks were left.
        left: usize,
    },
    /// An accept loop ended before anybody asked it to; the process exits non-zero.
    Died,
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the exit status depends on it"]
pub enum Ended {
    /// It was told to stop and drained.
    Drained(Drained),
    /// It was told to stop twice.
    AtOnce,
    /// A listener died.
    Died,
}

/// Serves until `stop`, then drains with [`drain`].
///
/// `loops` completes when a loop that must not end has ended, for whatever reason: a panic, too.
/// Then everything is cut without draining.
pub async fn serve(
    stop: &CancellationToken,
    loops: impl Future,
    phases: &Phases,
    ready: &watch::Sender<bool>,
    times: Times,
) -> Drained {
    tokio::select! {
        // A loop may end because of `stop`, which is no death.
        biased;
        () = stop.cancelled() => drain(phases, ready, times).await,
        _ = loops => {
            ready.send_replace(false);
            phases.close.cancel();
            phases.cut.cancel();
            phases.tasks.close();
            phases.tasks.wait().await;
            Drained::Died
        }
    }
}

/// Drains now: see the module's header for the phases.
pub async fn drain(phases: &Phases, ready: &watch::Sender<bool>, times: Times) -> Drained {
    drain_when(sleep(times.lame_duck), phases, ready, times.grace).await
}

/// As [`drain`], with a lame duck that lasts until `quiet` completes: the queue-proxy waits for
/// traffic to stop instead of for a fixed time (spec/queue-proxy.md §5).
pub async fn drain_when(
    quiet: impl Future<Output = ()>,
    phases: &Phases,
    ready: &watch::Sender<bool>,
    grace: Duration,
) -> Drained {
    ready.send_replace(false);
    quiet.await;
    phases.close.cancel();
    phases.tasks.close();
    if timeout(grace, phases.tasks.wait()).await.is_ok() {
        return Drained::Clean;
    }
    let left = phases.tasks.len();
    phases.cut.cancel();
    phases.tasks.wait().await;
    Drained::Cut { left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const TIMES: Times = Times {
        lame_duck: Duration::from_secs(5),
        grace: Duration::from_secs(20),
    };

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A loop that ends at `close`, as an accept loop does.
    fn accept_loop(phases: &Phases) -> tokio::task::JoinHandle<()> {
        let close = phases.close.clone();
        phases.tasks.spawn(async move { close.cancelled().await })
    }

    /// A connection with `rest` of work left, which ends early only if it is cut.
    fn connection(phases: &Phases, rest: Duration) {
        let cut = phases.cut.clone();
        phases.tasks.spawn(async move {
            cut.run_until_cancelled(sleep(rest)).await;
        });
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_fails_at_once_and_listeners_close_after_the_lame_duck() {
        let phases = Phases::default();
        let (ready, mut seen) = watch::channel(true);
        let _loop = accept_loop(&phases);
        let start = Instant::now();
        let watching = async {
            seen.wait_for(|ready| !ready).await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO);
            assert!(!phases.close.is_cancelled());
            phases.close.cancelled().await;
            assert_eq!(start.elapsed(), TIMES.lame_duck);
        };
        let (drained, ()) = tokio::join!(drain(&phases, &ready, TIMES), watching);
        assert_eq!(drained, Drained::Clean);
        assert_eq!(start.elapsed(), TIMES.lame_duck);
        assert!(!phases.cut.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn open_requests_finish_within_the_grace() {
        let phases = Phases::default();
        let (ready, _seen) = watch::channel(true);
        connection(&phases, second(24));
        let start = Instant::now();
        assert_eq!(drain(&phases, &ready, TIMES).await, Drained::Clean);
        assert_eq!(start.elapsed(), second(24));
    }

    #[tokio::test(start_paused = true)]
    async fn what_outlasts_the_grace_is_cut_and_counted() {
        let phases = Phases::default();
        let (ready, _seen) = watch::channel(true);
        connection(&phases, second(1));
        connection(&phases, second(26));
        connection(&phases, second(3600));
        let start = Instant::now();
        assert_eq!(
            drain(&phases, &ready, TIMES).await,
            Drained::Cut { left: 2 }
        );
        assert_eq!(start.elapsed(), second(25));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_a_day_is_waited_for() {
        let phases = Phases::default();
        let (ready, _seen) = watch::channel(true);
        connection(&phases, second(86_400));
        let times = Times {
            grace: Duration::MAX,
            ..TIMES
        };
        assert_eq!(drain(&phases, &ready, times).await, Drained::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lame_duck_may_wait_for_quiet() {
        let phases = Phases::default();
        let (ready, _seen) = watch::channel(true);
        let _loop = accept_loop(&phases);
        let quiet = CancellationToken::new();
        let start = Instant::now();
        let calm = async {
            sleep(second(70)).await;
            assert!(!phases.close.is_cancelled());
            quiet.cancel();
        };
        let draining = drain_when(quiet.cancelled(), &phases, &ready, TIMES.grace);
        let (drained, ()) = tokio::join!(draining, calm);
        assert_eq!(drained, Drained::Clean);
        assert_eq!(start.elapsed(), second(70));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_a_drain_even_if_the_loop_ends_with_it() {
        let phases = Phases::default();
        let (ready, _seen) = watch::channel(true);
        let stop = CancellationToken::new();
        stop.cancel();
        let drained = serve(&stop, async {}, &phases, &ready, TIMES).await;
        assert_eq!(drained, Drained::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_is_a_death_and_nothing_is_waited_for() {
        let phases = Phases::default();
        let (ready, seen) = watch::channel(true);
        let stop = CancellationToken::new();
        connection(&phases, second(3600));
        let broken = phases
            .tasks
            .spawn(async { panic!("as a broken accept loop would") });
        let start = Instant::now();
        let drained = serve(&stop, broken, &phases, &ready, TIMES).await;
        assert_eq!(drained, Drained::Died);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!*seen.borrow());
    }
}
