//! Which pods of a revision an activator serves if there are several activators.
//!
//! Each counts the slots of its pods for itself, so two that serve the same pod may together send
//! it more than it takes; the pod's queue-proxy then holds the rest back. Hence the pods are
//! divided, without a word between the activators: each knows its own number and how many they are.
//! Whoever comes, leaves or dies changes that for all the others, and nothing has to be given back.
//! For *n* pods of *c* slots and *a* activators:
//!
//! | | pods ≥ activators | more activators than pods |
//! |---|---|---|
//! | activators that serve a pod | 1 | *k* = ⌊*a*/*n*⌋ or ⌈*a*/*n*⌉ |
//! | slots that an activator has | *c* · ⌊*n*/*a*⌋ or *c* · ⌈*n*/*a*⌉ | *c* |
//! | requests that wait in a pod, at most | none | *c* · (*k* − 1) |
//!
//! **What bounds the line in a pod.** An activator has at most *c* requests in a pod that it serves,
//! because its gate does (`penstock-gate`); so *k* of them have at most *c* · *k*, of which *c* are
//! inside. With three activators before one pod of one slot that is two: one for each activator that
//! would otherwise stand without. Fewer would need to know of each other's requests, and each
//! hand-over of the slot would cost a message.
//!
//! **Why nobody starves.** Each activator serves a pod if there is any, and as many as any other
//! but for one. Nobody waits at a gate beside a free slot, so who has a line has all its slots in
//! use; and the pod lets in who came first, so that before a request in a pod there are never more
//! than *c* of each other activator that serves it: they take turns. How many wait at one of them
//! takes nothing from the others. What an activator does not use of its share stays free for who
//! comes to it next; that all of them get alike is for the one who spreads the connections.
//!
//! **While they do not agree**, since one has heard of a change before another, each is within its
//! own bounds all the same: *c* at each pod that it serves by its own knowledge, and what it had sent
//! to pods that it gives up, which finishes there. A pod's line is then as long as the number of those
//! who believe to serve it allows, and short again once they have heard. What an activator had in
//! pods when it dies ends with its connections.
//!
//! Source: spec/activator.md §3.7; issue "The activator", point 7.

use std::num::NonZeroU32;

pub use penstock_cluster::Position;
use penstock_types::Slots;

/// Of `pods`, ordered by address as text, the ones that are served from `position`; all of them
/// if that is not known, or wrong.
///
/// With more activators than pods, several share one at its full concurrency.
pub(crate) fn subset<T: Clone>(pods: &[T], position: Option<Position>) -> Vec<T> {
    let Some(Position { index, activators }) = position.filter(|at| at.index < at.activators)
    else {
        return pods.to_vec();
    };
    let count = pods.len();
    if count <= 1 || activators == 1 {
        return pods.to_vec();
    }
    if activators > count {
        return vec![pods[index % count].clone()];
    }
    let (share, left) = (count / activators, count % activators);
    let mut own = pods[index * share..(index + 1) * share].to_vec();
    if index < left {
        own.push(pods[count - left + index].clone());
    }
    own
}

/// Requests that may go from `position` to the address that stands for `ready` pods with `slots`
/// each, since nobody knows which of them gets a request: this activator's share of all their
/// slots, and at least one. `None` while no pod is ready.
///
/// Source: spec/activator.md §3.5.
pub(crate) fn share(slots: Slots, ready: usize, position: Option<Position>) -> Option<Slots> {
    if ready == 0 {
        return None;
    }
    let Slots::Limited(each) = slots else {
        return Some(Slots::Unlimited);
    };
    let all = (each.get() as usize).saturating_mul(ready);
    let share = all / position.map_or(1, |at| at.activators.max(1));
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    Some(Slots::Limited(
        NonZeroU32::new(share).unwrap_or(NonZeroU32::MIN),
    ))
}

#[cfg(test)]
mod together;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cases_49_to_51_the_share_of_all_slots() {
        let ten = Slots::from_concurrency(10);
        let among = |activators| {
            Some(Position {
                index: 0,
                activators,
            })
        };
        let limit = |count| Some(Slots::from_concurrency(count));
        let table = [
            // pods, slots each, activators, their share
            (1, ten, None, limit(10)),
            (10, ten, None, limit(100)),
            (100, ten, None, limit(1000)),
            (10, ten, among(1), limit(100)),
            (10, ten, among(5), limit(20)),
            (10, ten, among(200), limit(1)),
            (0, ten, among(200), None),
            (0, Slots::Unlimited, None, None),
            (1, Slots::Unlimited, None, Some(Slots::Unlimited)),
            (10, Slots::Unlimited, None, Some(Slots::Unlimited)),
            (1, Slots::Unlimited, among(200), Some(Slots::Unlimited)),
            (usize::MAX, ten, None, limit(u32::MAX)),
            (10, ten, among(0), limit(100)),
        ];
        for (ready, slots, position, want) in table {
            assert_eq!(
                share(slots, ready, position),
                want,
                "{ready} pods, {slots:?}, {position:?}"
            );
        }
    }

    fn of(pods: usize, activators: usize, index: usize) -> Vec<usize> {
        let pods: Vec<usize> = (0..pods).collect();
        subset(&pods, Some(Position { index, activators }))
    }

    #[test]
    fn cases_53_55_56_and_57_who_gets_which() {
        let table: [(usize, usize, usize, Vec<usize>); 15] = [
            (1, 2, 1, vec![0]),
            (2, 3, 1, vec![1]),
            (2, 3, 2, vec![0]),
            (3, 3, 2, vec![2]),
            (3, 3, 1, vec![1]),
            (10, 3, 0, vec![0, 1, 2, 9]),
            (10, 3, 2, vec![6, 7, 8]),
            (150, 5, 4, (120..150).collect()),
            (3, 2, 0, vec![0, 2]),
            (3, 2, 1, vec![1]),
            (5, 2, 0, vec![0, 1, 4]),
            (5, 2, 1, vec![2, 3]),
            (6, 4, 0, vec![0, 4]),
            (0, 4, 0, vec![]),
            (3, 1, 0, vec![0, 1, 2]),
        ];
        for (pods, activators, index, want) in table {
            assert_eq!(
                of(pods, activators, index),
                want,
                "({pods}, {activators}, {index})"
            );
        }
        assert_eq!(subset(&[1, 2, 3], None), [1, 2, 3]);
        assert_eq!(of(3, 2, 2), [0, 1, 2], "a number that cannot be");
    }

    proptest! {
        #[test]
        fn every_pod_has_one_activator_and_every_activator_a_pod(
            pods in 1..200_usize,
            activators in 1..50_usize,
        ) {
            let mut served = vec![0; pods];
            for index in 0..activators {
                let own = of(pods, activators, index);
                prop_assert!(!own.is_empty());
                prop_assert!(own.len() <= pods.div_ceil(activators));
                own.iter().for_each(|pod| served[*pod] += 1);
            }
            let most = activators.div_ceil(pods);
            prop_assert!(served.iter().all(|times| (1..=most).contains(times)));
        }
    }
}
