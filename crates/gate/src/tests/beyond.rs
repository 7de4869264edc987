//! What we promise beyond the contract: order, late binding, nothing lost, nothing leaked.

use std::pin::pin;

use super::*;

#[test]
fn the_line_is_joined_at_the_first_poll_and_not_before() {
    let gate = gate(limited(1), ANY, &[]);
    let mut late = Request::new(&gate);
    let mut early = Request::waiting(&gate);
    assert!(late.poll().is_pending());
    gate.set_places(&["a"]);
    assert!(late.poll().is_pending());
    drop(early.slot());
    drop(late.slot());
}

#[test]
fn a_newcomer_does_not_overtake_one_that_was_given_a_slot_and_has_not_run_yet() {
    let gate = gate(limited(1), ANY, &["a"]);
    let running = gate.try_admit().unwrap();
    let mut first = Request::waiting(&gate);
    drop(running);
    assert!(gate.try_admit().is_none());
    let mut newcomer = Request::waiting(&gate);
    drop(first.slot());
    drop(newcomer.slot());
}

#[test]
fn a_slot_that_was_given_to_one_who_gave_up_goes_to_the_next() {
    let gate = gate(limited(1), ANY, &["a"]);
    let running = gate.try_admit().unwrap();
    let first = Request::waiting(&gate);
    let mut second = Request::waiting(&gate);
    drop(running);
    assert_eq!((first.woken(), second.woken()), (1, 0));
    drop(first);
    assert_eq!(second.woken(), 1);
    drop(second.slot());
    assert_eq!((gate.waiting(), gate.in_flight()), (0, 0));
}

#[test]
fn one_who_leaves_from_the_middle_changes_nothing_for_the_others() {
    let gate = gate(limited(1), ANY, &["a"]);
    let running = gate.try_admit().unwrap();
    let mut first = Request::waiting(&gate);
    let middle = Request::waiting(&gate);
    let mut last = Request::waiting(&gate);
    drop(middle);
    assert_eq!(gate.waiting(), 2);
    drop(running);
    drop(first.slot());
    drop(last.slot());
}

#[test]
fn a_place_that_leaves_and_returns_starts_empty_and_old_slots_count_nothing_down() {
    let gate = gate(limited(2), ANY, &["a", "b"]);
    let old = gate.try_admit().unwrap();
    gate.set_places(&["b"]);
    gate.set_places(&["a", "b"]);
    assert_eq!(gate.places(), [("a", 0), ("b", 0)]);
    let new = gate.try_admit().unwrap();
    assert_eq!((*new.place(), gate.in_flight()), ("a", 2));
    drop(old);
    assert_eq!(gate.places(), [("a", 1), ("b", 0)]);
    assert_eq!(gate.in_flight(), 1);
}

#[test]
fn places_that_stay_keep_what_is_inside_them_in_whatever_order() {
    let gate = gate(limited(1), ANY, &["a", "b", "c"]);
    let [a, b] = [gate.try_admit().unwrap(), gate.try_admit().unwrap()];
    gate.set_places(&["d", "b", "a"]);
    assert_eq!(gate.places(), [("d", 0), ("b", 1), ("a", 1)]);
    drop(b);
    assert_eq!(gate.places(), [("d", 0), ("b", 0), ("a", 1)]);
    drop(a);
    assert_eq!(gate.places(), [("d", 0), ("b", 0), ("a", 0)]);
}

#[test]
fn a_slot_not_fetched_yet_at_a_place_that_left_is_exchanged_for_one_elsewhere() {
    let gate = gate(limited(1), ANY, &[]);
    let mut first = Request::waiting(&gate);
    let mut second = Request::waiting(&gate);
    gate.set_places(&["a"]);
    gate.set_places(&["b"]);
    assert!(second.poll().is_pending());
    assert_eq!(*first.slot().place(), "b");
    assert_eq!(*second.slot().place(), "b");
}

#[test]
fn slots_not_fetched_yet_are_taken_back_in_the_order_of_arrival() {
    let gate = gate(limited(3), ANY, &[]);
    let mut requests: Vec<_> = (0..5).map(|_| Request::waiting(&gate)).collect();
    gate.set_places(&["a"]);
    let fetched = requests.remove(1).slot();
    gate.set_aside(&"a");
    assert_eq!((gate.waiting(), gate.in_flight()), (4, 1));
    gate.set_places(&["a", "b"]);
    let answers: Vec<_> = requests.iter_mut().map(Request::poll).collect();
    let admitted: Vec<_> = answers.iter().map(Poll::is_ready).collect();
    assert_eq!(admitted, [true, true, true, false]);
    drop(fetched);
}

#[test]
fn a_place_set_aside_gets_nothing_until_it_is_brought_back() {
    for slots in [Slots::Unlimited, limited(1), limited(100)] {
        let gate = gate(slots, ANY, &["a"]);
        gate.set_aside(&"a");
        let mut request = Request::waiting(&gate);
        gate.set_places(&["a", "b"]);
        assert_eq!(*request.slot().place(), "b", "{slots:?}");
        gate.set_places(&["a"]);
        let mut request = Request::waiting(&gate);
        gate.bring_back(&"a");
        assert_eq!(*request.slot().place(), "a", "{slots:?}");
    }
}

#[test]
fn a_place_set_aside_stays_so_when_a_request_leaves_it() {
    let gate = gate(limited(1), ANY, &["a"]);
    let slot = gate.try_admit().unwrap();
    gate.set_aside(&"a");
    drop(slot);
    assert!(gate.try_admit().is_none());
    gate.bring_back(&"a");
    assert!(gate.try_admit().is_some());
}

#[test]
fn a_place_is_aside_only_while_it_is_there_and_another_counts_unless_it_is_aside() {
    let gate = gate(limited(1), ANY, &["a", "b"]);
    let _inside = [gate.try_admit().unwrap(), gate.try_admit().unwrap()];
    assert!(gate.has_another(&"a") && !gate.is_aside(&"b"));
    gate.set_aside(&"b");
    assert!(gate.is_aside(&"b") && !gate.has_another(&"a") && gate.has_another(&"b"));
    gate.set_places(&["a"]);
    assert!(!gate.is_aside(&"b") && !gate.has_another(&"a"));
}

#[test]
fn choice_of_two_never_falls_on_one_set_aside_and_uses_all_others() {
    let gate = gate(Slots::Unlimited, ANY, &[0, 1, 2, 3]);
    gate.set_aside(&1);
    let slots: Vec<_> = (0..300).map(|_| gate.try_admit().unwrap()).collect();
    let inside: Vec<usize> = gate.places().iter().map(|(_, inside)| *inside).collect();
    assert_eq!(inside[1], 0);
    // Less busy of two: the three that are left stay close together.
    assert!(
        [0, 2, 3].iter().all(|&at| inside[at].abs_diff(100) < 10),
        "{inside:?}"
    );
    drop(slots);
}

#[test]
fn a_request_that_its_place_refused_waits_again_where_it_stood() {
    let gate = gate(limited(1), ONE, &["a"]);
    let refused = gate.try_admit().unwrap();
    let mut later = Request::waiting(&gate);
    gate.set_aside(&"a");
    let mut again = Request::from(refused.elsewhere());
    assert!(
        again.poll().is_pending(),
        "the line is full, but it was accepted before"
    );
    gate.set_places(&["a", "b"]);
    assert!(later.poll().is_pending());
    assert_eq!(*again.slot().place(), "b");
    assert_eq!(*later.slot().place(), "b");
}

#[test]
fn a_watcher_is_told_when_the_line_changes_and_not_otherwise() {
    let gate = gate(limited(1), ANY, &["a"]);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut changed = pin!(gate.waiting_other_than(0));
    assert!(changed.as_mut().poll(&mut cx).is_pending());

    let running = gate.try_admit().unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    let _waiting = [Request::waiting(&gate), Request::waiting(&gate)];
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(changed.as_mut().poll(&mut cx), Poll::Ready(2));

    let mut changed = pin!(gate.waiting_other_than(2));
    assert!(changed.as_mut().poll(&mut cx).is_pending());
    drop(running);
    assert_eq!(changed.as_mut().poll(&mut cx), Poll::Ready(1));
}

#[test]
fn a_waker_that_comes_back_to_the_gate_finds_it_unlocked() {
    /// A task that holds a slot, and lets go of it when it is forgotten or woken.
    struct Holds(#[expect(dead_code, reason = "held for its drop")] Slot<&'static str>);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {}
    }
    let gate = gate(limited(1), ANY, &["a", "b", "c"]);
    let waker = || Waker::from(Arc::new(Holds(gate.try_admit().unwrap())));
    let [first, second, third] = [waker(), waker(), waker()];
    let mut admit = Box::pin(gate.admit());
    assert!(
        admit
            .as_mut()
            .poll(&mut Context::from_waker(&first))
            .is_pending()
    );
    drop(first);
    // Replaces the first waker, the last to hold its slot; which then is the request's own.
    assert!(
        admit
            .as_mut()
            .poll(&mut Context::from_waker(&second))
            .is_pending()
    );
    drop(admit);
    let mut admit = Box::pin(gate.admit());
    let slot = admit.as_mut().poll(&mut Context::from_waker(&third));
    assert!(slot.is_ready());
    let mut left = Box::pin(gate.admit());
    assert!(
        left.as_mut()
            .poll(&mut Context::from_waker(&third))
            .is_pending()
    );
    drop(third);
    drop(left);
    drop((slot, second));
    assert_eq!((gate.waiting(), gate.in_flight()), (0, 0));
}

#[test]
fn closing_wakes_each_who_waits_once_and_tells_who_watches_the_line() {
    let gate = gate(limited(1), ANY, &["a"]);
    let running = gate.try_admit().unwrap();
    let mut waiting = [Request::waiting(&gate), Request::waiting(&gate)];
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut changed = pin!(gate.waiting_other_than(2));
    let mut cx = Context::from_waker(&waker);
    assert!(changed.as_mut().poll(&mut cx).is_pending());
    gate.close();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    for request in &mut waiting {
        assert_eq!(request.woken(), 1);
        assert!(matches!(request.poll(), Poll::Ready(Err(Refused::Closed))));
    }
    drop(running);
    assert_eq!(gate.in_flight(), 0);
}
