//! The release of a backlog in windows.

use proptest::prelude::*;

use super::*;

fn paced(window: usize, waiting: usize) -> (Arc<Gate<u8>>, Vec<Request<u8>>) {
    let gate = gate(Slots::Unlimited, ANY, &[]);
    gate.pace(window.try_into().unwrap());
    let line = (0..waiting).map(|_| Request::waiting(&gate)).collect();
    (gate, line)
}

fn admitted(line: &mut Vec<Request<u8>>) -> Vec<Slot<u8>> {
    let mut slots = Vec::new();
    line.retain_mut(|request| match request.poll() {
        Poll::Ready(slot) => {
            slots.push(slot.unwrap());
            false
        }
        Poll::Pending => true,
    });
    slots
}

#[test]
fn good_answers_double_the_window_with_each_round_and_the_end_of_the_line_ends_it() {
    let (gate, mut line) = paced(4, 50);
    gate.set_places(&[1]);
    let mut rounds = Vec::new();
    let mut inside = admitted(&mut line);
    while !inside.is_empty() {
        rounds.push(inside.len());
        for slot in inside {
            slot.answers_well();
        }
        inside = admitted(&mut line);
    }
    assert_eq!(rounds, [4, 8, 16, 22]);
    assert!(!gate.is_paced());
    let all: Vec<_> = (0..100).map(|_| gate.try_admit().unwrap()).collect();
    assert_eq!(all.len(), 100);
}

#[test]
fn answers_that_are_not_good_keep_the_window_and_time_doubles_it() {
    let (gate, mut line) = paced(4, 50);
    gate.set_places(&[1]);
    let mut inside = admitted(&mut line);
    inside.pop();
    inside.extend(admitted(&mut line));
    assert_eq!(inside.len(), 4);
    assert!(gate.double());
    inside.extend(admitted(&mut line));
    assert_eq!(inside.len(), 8);
    // One of the fifty has been answered.
    for round in [16, 32, 49] {
        gate.double();
        inside.extend(admitted(&mut line));
        assert_eq!(inside.len(), round);
    }
    assert!(!gate.double(), "nobody waits any more");
}

#[test]
fn a_window_ends_when_the_last_who_waits_gives_up() {
    let (gate, mut line) = paced(1, 2);
    gate.set_places(&[1]);
    let _inside = admitted(&mut line);
    assert!(gate.is_paced());
    drop(line);
    assert!(!gate.is_paced());
    assert!(gate.try_admit().is_some());
}

#[test]
fn places_that_nobody_has_waited_for_and_places_with_a_limit_have_no_window() {
    let (gate, _) = paced(1, 0);
    gate.set_places(&[1]);
    let _both = [gate.try_admit().unwrap(), gate.try_admit().unwrap()];

    let limited = self::gate(limited(3), ANY, &[]);
    limited.pace(1.try_into().unwrap());
    let mut line: Vec<_> = (0..5).map(|_| Request::waiting(&limited)).collect();
    limited.set_places(&[1]);
    assert_eq!((admitted(&mut line).len(), limited.is_paced()), (3, false));
}

#[derive(Clone, Debug)]
enum Step {
    Arrive,
    Leave,
    Answer(bool),
    Double,
    Places(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let places = proptest::sample::subsequence(vec![1, 2, 3], 0..=3);
    prop_oneof![
        6 => Just(Step::Arrive),
        1 => Just(Step::Leave),
        4 => any::<bool>().prop_map(Step::Answer),
        1 => Just(Step::Double),
        2 => places.prop_map(Step::Places),
    ]
}

proptest! {
    #[test]
    fn whoever_waits_gets_in_in_the_end_and_nothing_leaks(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let (gate, mut line) = paced(2, 0);
        let mut inside: Vec<Slot<u8>> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive => line.push(Request::new(&gate)),
                Step::Leave => drop(line.pop()),
                Step::Answer(well) if !inside.is_empty() => {
                    let slot = inside.remove(0);
                    if well {
                        slot.answers_well();
                    }
                }
                Step::Answer(_) => {}
                Step::Double => drop(gate.double()),
                Step::Places(places) => gate.set_places(&places),
            }
            inside.extend(admitted(&mut line));
            prop_assert_eq!((gate.waiting(), gate.in_flight()), (line.len(), inside.len()));
            prop_assert!(!gate.is_paced() || gate.waiting() > 0);
        }
        gate.set_places(&[1]);
        for _ in 0..10 {
            gate.double();
            inside.extend(admitted(&mut line));
        }
        prop_assert!(line.is_empty());
        drop(inside);
        prop_assert_eq!((gate.waiting(), gate.in_flight(), gate.is_paced()), (0, 0, false));
    }
}
