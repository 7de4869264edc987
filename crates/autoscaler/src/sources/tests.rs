use penstock_types::RevisionId;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1_000_000);

fn word(pod: &str, average: f64, waiting: u32) -> Word {
    Word {
        demand: Demand {
            revision: RevisionId::new("default", "hello-00001"),
            average_concurrency: average,
            average_proxied_concurrency: 0.0,
            request_count: average,
            proxied_request_count: 0.0,
            waiting,
            in_flight: 1,
            first: false,
        },
        pod: pod.into(),
        at: None,
        present: true,
    }
}

fn never(_: Connection) -> Option<Duration> {
    None
}

#[test]
fn the_last_words_of_all_count_together_and_a_new_word_replaces_the_old_one() {
    let mut sources = Sources::default();
    sources.take(2, &word("a", 10.0, 5), NOW);
    sources.take(3, &word("b", 20.0, 7), NOW);
    let sum = sources.take(2, &word("a", 1.0, 2), NOW + SECOND);
    assert_eq!(sum.average_concurrency, 21.0);
    assert_eq!((sum.waiting, sum.in_flight), (9, 2));
}

#[test]
fn the_same_pod_over_a_new_connection_is_not_counted_twice() {
    let mut sources = Sources::default();
    sources.take(2, &word("a", 10.0, 5), NOW);
    sources.take(3, &word("b", 1.0, 0), NOW);
    sources.orphan(2);
    let sum = sources.take(4, &word("a", 10.0, 5), NOW);
    assert_eq!(sum.average_concurrency, 11.0);
}

#[test]
fn a_name_that_two_senders_use_counts_for_both() {
    let mut sources = Sources::default();
    sources.take(2, &word("a", 10.0, 5), NOW);
    let sum = sources.take(3, &word("a", 10.0, 5), NOW);
    assert_eq!(sum.average_concurrency, 20.0);
}

#[test]
fn a_lost_source_counts_until_it_could_have_come_back() {
    let mut sources = Sources::default();
    sources.take(2, &word("a", 10.0, 5), NOW);
    sources.orphan(2);
    assert!(sources.forget(NOW + LOST - SECOND, never));
    assert!(!sources.forget(NOW + LOST, never));
}

#[test]
fn a_table_without_the_revision_ends_a_word_but_another_sources_table_does_not() {
    let mut sources = Sources::default();
    sources.take(2, &word("a", 10.0, 5), NOW);
    let later = NOW + SECOND * 4;
    assert!(sources.forget(later, |from| (from == 3).then_some(later)));
    assert!(!sources.forget(later, |from| (from == 2).then_some(later)));
}

#[test]
fn a_sender_with_a_thousand_names_displaces_only_the_oldest() {
    let mut sources = Sources::default();
    for n in 0..1000_u32 {
        sources.take(2, &word(&format!("p{n}"), 1.0, 0), NOW + SECOND * n / 1000);
    }
    assert_eq!(sources.said.len(), MOST);
}

#[test]
fn a_first_word_adds_what_waits_and_leaves_the_seconds_of_the_others() {
    let mut sources = Sources::default();
    sources.take(2, &word("a", 10.0, 5), NOW);
    let mut first = word("b", 1.0, 3);
    first.demand.first = true;
    let sum = sources.take(3, &first, NOW);
    assert_eq!((sum.average_concurrency, sum.waiting), (10.0, 8));
    assert!(!sum.first);
}
