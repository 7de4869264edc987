//! Worker threads: one single-threaded runtime each, so that a request never changes threads
//! and nothing on its way has to be stolen, woken or locked across processors.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::nearby::Nearby;

/// One worker: its runtime, and how busy it is.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) connections: AtomicUsize,
}

/// A fixed set of workers. They end when the last clone of [`Workers`] is gone.
#[derive(Clone, Debug)]
pub struct Workers {
    all: Arc<[Arc<Worker>]>,
    nearby: Nearby,
    /// Connections that one gets before the next gets any.
    packed: usize,
    _threads: Arc<Threads>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    ///
    /// The system's, if it has no thread or no poll descriptor left.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut all = Vec::new();
        let mut threads = Vec::new();
        for index in 0..count.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            all.push(Arc::new(Worker {
                handle: runtime.handle().clone(),
                connections: AtomicUsize::new(0),
            }));
            let stopped = stop.clone().cancelled_owned();
            let thread = thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || runtime.block_on(until(stopped)))?);
        }
        Ok(Self {
            all: all.into(),
            nearby: Nearby::default(),
            packed: 0,
            _threads: Arc::new(Threads { stop, threads }),
        })
    }

    /// One after the other gets `connections` before they are spread evenly. Without this they
    /// are from the first one on.
    ///
    /// Where little is going on, one thread that is woken for two requests costs less than two.
    #[must_use]
    pub fn packing(self, connections: usize) -> Self {
        Self {
            packed: connections,
            ..self
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn nearby(&self) -> &Nearby {
        &self.nearby
    }

    pub(crate) fn all(&self) -> &[Arc<Worker>] {
        &self.all
    }

    /// The worker that gets the next connection: the first that is to be packed, or the one with
    /// the fewest; `preferred` if it is among them.
    pub(crate) fn next(&self, preferred: usize) -> usize {
        let load = |index: usize| self.all[index].connections.load(Ordering::Relaxed);
        let all = 0..self.all.len();
        let packed = all.clone().find(|index| load(*index) < self.packed);
        packed.unwrap_or_else(|| {
            all.fold(preferred, |best, index| {
                if load(index) < load(best) {
                    index
                } else {
                    best
                }
            })
        })
    }
}

/// How often a worker wakes by itself.
const BEAT: Duration = Duration::from_secs(10);

/// Waits for `stopped`, with a timer that is always due before those of most requests. tokio writes
/// to a descriptor for every timer that becomes the first one, even on the very thread that
/// would wait for it: that was one system call for each request.
async fn until(stopped: impl Future<Output = ()>) {
    let beat = async {
        loop {
            sleep(BEAT).await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = beat => {}
    }
}

#[derive(Debug)]
struct Threads {
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
        let own = thread::current().id();
        for thread in self.threads.drain(..) {
            // A worker that drops the last handle itself cannot wait for itself.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each of `count` connections goes that one of the workers accepts.
    fn placed(workers: &Workers, count: usize, accepting: usize) -> Vec<usize> {
        let place = |_| {
            let next = workers.next(accepting);
            workers.all[next]
                .connections
                .fetch_add(1, Ordering::Relaxed);
            next
        };
        (0..count).map(place).collect()
    }

    #[test]
    fn connections_are_spread_evenly_or_packed_first() {
        let two = || Workers::start(NonZeroUsize::MIN.saturating_add(1)).unwrap();
        assert_eq!(placed(&two(), 4, 1), [1, 0, 1, 0]);
        assert_eq!(placed(&two().packing(2), 7, 1), [0, 0, 1, 1, 1, 0, 1]);
    }
}
