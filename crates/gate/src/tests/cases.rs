//! The numbered cases of the contract.

use super::*;

#[test]
fn a36_q6_with_one_slot_and_one_waiting_the_third_is_full_and_two_succeed() {
    let gate = gate(limited(1), ONE, &[()]);
    let first = Request::new(&gate).slot();
    let mut second = Request::waiting(&gate);
    assert!(matches!(
        Request::new(&gate).poll(),
        Poll::Ready(Err(Refused::Full))
    ));
    drop(first);
    drop(second.slot());
    assert_eq!((gate.waiting(), gate.in_flight()), (0, 0));
}

#[test]
fn a37_q7_two_wait_before_a_closed_gate_and_run_in_turn_once_there_is_a_place() {
    let gate = gate(limited(1), ANY, &[]);
    let mut first = Request::waiting(&gate);
    let mut second = Request::waiting(&gate);
    gate.set_places(&[()]);
    let running = first.slot();
    assert!(second.poll().is_pending());
    drop(running);
    drop(second.slot());
}

#[test]
fn a38_q9_the_place_of_one_that_gave_up_in_the_line_is_free_at_once() {
    let gate = gate(limited(1), Limits { waiting: 2 }, &[]);
    for _ in 0..2 {
        drop(Request::waiting(&gate));
        assert_eq!(gate.waiting(), 0);
    }
    let mut waiting = [Request::waiting(&gate), Request::waiting(&gate)];
    assert!(matches!(
        Request::new(&gate).poll(),
        Poll::Ready(Err(Refused::Full))
    ));
    gate.set_places(&[()]);
    for request in &mut waiting {
        drop(request.slot());
    }
}

#[test]
fn a39_q4_q5_a_slot_is_taken_at_once_or_not_at_all() {
    let gate = gate(limited(1), ONE, &[()]);
    let slot = gate.try_admit().unwrap();
    assert!(gate.try_admit().is_none());
    drop(slot);
    let slot = Request::new(&gate).slot();
    assert!(gate.try_admit().is_none());
    drop(slot);
    assert!(gate.try_admit().is_some());
}

#[test]
fn q8_at_capacity_finish_one_add_one_never_fails() {
    let gate = gate(limited(1), ONE, &[()]);
    let mut running = Request::new(&gate).slot();
    let mut waiting = Request::waiting(&gate);
    for _ in 0..100 {
        drop(running);
        running = waiting.slot();
        waiting = Request::waiting(&gate);
    }
}

#[test]
fn a41_q10_q14_capacity_follows_the_places_and_holders_are_unaffected() {
    let gate = gate(limited(1), ANY, &[1]);
    let holder = gate.try_admit().unwrap();
    gate.set_places(&[1, 2, 3]);
    assert_eq!(gate.places(), [(1, 1), (2, 0), (3, 0)]);
    let others = [gate.try_admit().unwrap(), gate.try_admit().unwrap()];
    assert!(gate.try_admit().is_none());
    gate.set_places(&[]);
    assert_eq!((gate.places(), gate.in_flight()), (Vec::new(), 3));
    assert_eq!(*holder.place(), 1);
    drop((holder, others));
    assert_eq!(gate.in_flight(), 0);
    assert!(gate.try_admit().is_none());
}

#[test]
fn q11_without_capacity_waiting_lasts_and_not_waiting_fails_at_once() {
    let gate = gate::<()>(limited(1), ANY, &[]);
    let mut request = Request::waiting(&gate);
    assert!(gate.try_admit().is_none());
    assert!(request.poll().is_pending());
    assert_eq!(request.woken(), 0);
}

#[test]
fn q12_one_waiter_and_one_new_slot_make_exactly_one_admission() {
    let gate = gate(limited(1), ANY, &[]);
    let mut request = Request::waiting(&gate);
    gate.set_places(&[()]);
    assert_eq!((request.woken(), gate.in_flight()), (1, 1));
    assert!(gate.try_admit().is_none());
    let _slot = request.slot();
    assert_eq!((request.woken(), gate.in_flight()), (1, 1));
}

#[test]
fn q15_of_14_at_once_before_one_slot_and_a_line_of_10_three_are_full() {
    let gate = gate(limited(1), Limits { waiting: 10 }, &[()]);
    let mut requests: Vec<_> = (0..14).map(|_| Request::new(&gate)).collect();
    let answers: Vec<_> = requests.iter_mut().map(Request::poll).collect();
    let full = |answer: &&Poll<_>| matches!(answer, Poll::Ready(Err(Refused::Full)));
    assert_eq!(answers.iter().filter(full).count(), 3);
    assert_eq!((gate.waiting(), gate.in_flight()), (10, 1));
    assert_eq!(Refused::Full.to_string(), "pending request queue full");
}

#[test]
fn a42_without_a_limit_the_gate_is_open_while_there_is_a_place_and_opening_releases_all() {
    let gate = gate(Slots::Unlimited, ANY, &[]);
    let gone = Request::waiting(&gate);
    let mut waiting: Vec<_> = (0..100).map(|_| Request::waiting(&gate)).collect();
    drop(gone);
    gate.set_places(&["a"]);
    assert!(waiting.iter().all(|request| request.woken() == 1));
    let slots: Vec<_> = waiting.iter_mut().map(Request::slot).collect();
    assert_eq!((gate.waiting(), gate.in_flight()), (0, 100));
    gate.set_places(&[]);
    assert!(gate.try_admit().is_none());
    drop(slots);
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn a43_choice_of_two_with_one_place_counts_it_up_and_down() {
    let gate = gate(Slots::Unlimited, ANY, &["a"]);
    let _first = gate.try_admit().unwrap();
    let second = gate.try_admit().unwrap();
    assert_eq!(gate.places(), [("a", 2)]);
    drop(second);
    assert_eq!(gate.places(), [("a", 1)]);
}

#[test]
fn a44_choice_of_two_with_two_takes_the_other_and_after_a_release_the_same() {
    let gate = gate(Slots::Unlimited, ANY, &["a", "b"]);
    let first = gate.try_admit().unwrap();
    let second = gate.try_admit().unwrap();
    assert_ne!(first.place(), second.place());
    let freed = *second.place();
    drop(second);
    assert_eq!(*gate.try_admit().unwrap().place(), freed);
}

#[test]
fn a45_choice_of_two_uses_both_of_two_idle_places() {
    let gate = gate(Slots::Unlimited, ANY, &["a", "b"]);
    let picks = |name| {
        (0..100)
            .filter(|_| *gate.try_admit().unwrap().place() == name)
            .count()
    };
    assert!((1..100).contains(&picks("a")));
}

#[test]
fn a46_a_small_limit_takes_the_first_place_with_room() {
    let one = gate(limited(1), ANY, &["a"]);
    let _slot = one.try_admit().unwrap();
    assert!(one.try_admit().is_none());

    let two = gate(limited(1), ANY, &["a", "b"]);
    let slots = [two.try_admit().unwrap(), two.try_admit().unwrap()];
    assert_eq!(slots.each_ref().map(|slot| *slot.place()), ["a", "b"]);
}

/// Fills all but `left` slots at each of three places with a limit of 4, in turns.
fn three_places_with(left: usize) -> (Arc<Gate<usize>>, Vec<Slot<usize>>) {
    let gate = gate(limited(4), ANY, &[0, 1, 2]);
    let inside = (0..3 * (4 - left))
        .map(|_| gate.try_admit().unwrap())
        .collect();
    (gate, inside)
}

/// The original shortens the list of places; here the others are set aside, as a place that
/// leaves would come back empty. Its limits of 1 and 2 are what is left of a limit of 4.
#[test]
fn a47_round_robin_with_one_slot_left_each() {
    let (gate, _inside) = three_places_with(1);
    let pick = || gate.try_admit().map(|slot| (*slot.place(), slot));
    let (zero, one) = (pick().unwrap(), pick().unwrap());
    assert_eq!((zero.0, one.0), (0, 1));
    gate.set_aside(&1);
    gate.set_aside(&2);
    assert!(pick().is_none());
    gate.bring_back(&1);
    gate.bring_back(&2);
    let two = pick().unwrap();
    assert_eq!(two.0, 2);
    assert!(pick().is_none());
    drop(two);
    assert_eq!(pick().unwrap().0, 2);
}

#[test]
fn a48_round_robin_with_two_slots_left_each() {
    let (gate, mut inside) = three_places_with(2);
    let mut pick = || {
        inside.push(gate.try_admit().unwrap());
        *inside.last().unwrap().place()
    };
    assert_eq!([pick(), pick()], [0, 1]);
    gate.set_aside(&2);
    assert_eq!([pick(), pick()], [0, 1]);
    gate.bring_back(&2);
    assert_eq!([pick(), pick()], [2, 2]);
}

#[test]
fn a62_packing_and_taking_turns_by_limit() {
    let table: [(&str, u32, u32, usize, &[u32]); 3] = [
        (
            "limit 3, five places: all to the first",
            3,
            5,
            3,
            &[0, 0, 0],
        ),
        ("limit 5, three places: one each", 5, 3, 3, &[0, 1, 2]),
        ("limit 1, two places: both", 1, 2, 2, &[0, 1]),
    ];
    for (case, limit, places, requests, want) in table {
        let gate = gate(limited(limit), ANY, &(0..places).collect::<Vec<_>>());
        let slots: Vec<_> = (0..requests).map(|_| gate.try_admit().unwrap()).collect();
        let got: Vec<u32> = slots.iter().map(|slot| *slot.place()).collect();
        assert_eq!(got, want, "{case}");
    }
}
