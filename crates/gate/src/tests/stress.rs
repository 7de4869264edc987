//! Many threads at one gate: limits hold, everyone finishes, nothing is left.

use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::thread::{self, Thread};

use super::*;

const THREADS: usize = 4;
const ROUNDS: usize = 2_000;

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Runs `ROUNDS` requests on each thread, of which every fifth gives up after its first poll,
/// while the main thread changes the places by `disturb` until all are done.
fn run(
    gate: &Arc<Gate<usize>>,
    inside: &[AtomicUsize],
    limit: usize,
    disturb: impl Fn(usize) + Send,
) {
    let served = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        if round % 5 == 0 {
                            drop(Request::new(gate).poll());
                        }
                        let slot = block_on(gate.admit()).unwrap();
                        let here = &inside[*slot.place()];
                        assert!(here.fetch_add(1, Ordering::SeqCst) < limit);
                        if round % 3 == 0 {
                            thread::yield_now();
                        }
                        here.fetch_sub(1, Ordering::SeqCst);
                        served.fetch_add(1, Ordering::SeqCst);
                        drop(slot);
                    }
                })
            })
            .collect();
        let done = &done;
        let disturbing = scope.spawn(move || {
            for turn in 0.. {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                disturb(turn);
                thread::yield_now();
            }
        });
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::SeqCst);
        disturbing.join().unwrap();
        assert!(ended.iter().all(Result::is_ok), "a thread has failed");
    });
    assert_eq!(served.into_inner(), THREADS * ROUNDS);
    assert_eq!((gate.waiting(), gate.in_flight()), (0, 0));
    assert!(gate.places().iter().all(|(_, inside)| *inside == 0));
}

fn counters(len: usize) -> Vec<AtomicUsize> {
    (0..len).map(|_| AtomicUsize::new(0)).collect()
}

#[test]
fn one_slot_is_never_held_twice() {
    let gate = gate(limited(1), ANY, &[0]);
    run(&gate, &counters(1), 1, |_| {});
}

#[test]
fn limits_hold_while_places_are_set_aside_and_brought_back() {
    let gate = gate(limited(1), ANY, &[0, 1, 2]);
    run(&gate, &counters(3), 1, |turn| {
        gate.set_aside(&(turn % 3));
        gate.bring_back(&(turn % 3));
    });
}

#[test]
fn everyone_is_served_while_places_come_and_go() {
    // A place that returns starts empty while its old life still runs, so here every place is
    // a new one.
    let names = 8;
    for slots in [limited(2), limited(4), Slots::Unlimited] {
        let gate = gate(slots, ANY, &[0]);
        run(&gate, &counters(names), THREADS * 2, |turn| {
            let first = turn % names;
            match turn % 4 {
                0 => gate.set_places(&[]),
                1 => gate.set_places(&[first]),
                _ => gate.set_places(&[first, (first + 1) % names, (first + 3) % names]),
            }
        });
    }
}
