use std::hash::{Hash, Hasher};

use super::*;

/// A name; all of them hash alike if `collide`.
struct Name<'a> {
    name: &'a str,
    collide: bool,
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if !self.collide {
            self.name.hash(state);
        }
    }
}

impl Labels for Name<'_> {
    type Key = Option<String>;

    fn is(&self, key: &Self::Key) -> bool {
        key.as_deref() == Some(self.name)
    }

    fn key(&self) -> Option<Self::Key> {
        (self.name.len() < 10).then(|| Some(self.name.to_owned()))
    }

    fn overflow(&self) -> Self::Key {
        None
    }
}

#[derive(Clone, Default)]
struct Count(u64);

impl Figures for Count {
    fn add(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

fn count(rows: &Rows<Option<String>, Count>, name: &str) {
    let name = Name {
        name,
        collide: false,
    };
    rows.count(&name, |count| count.0 += 1);
}

fn sum(rows: &Rows<Option<String>, Count>) -> Vec<(String, u64)> {
    let mut sum: Vec<_> = rows
        .sum()
        .into_iter()
        .map(|(key, count)| (key.unwrap_or("overflow".to_owned()), count.0))
        .collect();
    sum.sort();
    sum
}

fn want(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = list.iter().map(|&(name, count)| (name.to_owned(), count));
    owned.collect()
}

#[test]
fn each_set_has_one_row_however_many_are_in_use() {
    let rows = Rows::new(100);
    for round in 1..=3 {
        for n in 0..20 {
            count(&rows, &format!("n{n}"));
            count(&rows, "n7");
        }
        let sum = sum(&rows);
        assert_eq!(sum.len(), 20);
        for (name, count) in sum {
            assert_eq!(count, if name == "n7" { 21 * round } else { round });
        }
    }
}

#[test]
fn sets_whose_hashes_collide_stay_apart() {
    let rows = Rows::new(100);
    for _ in 0..2 {
        for n in 0..20 {
            let name = Name {
                name: &format!("n{n}"),
                collide: true,
            };
            rows.count(&name, |count: &mut Count| count.0 += 1);
        }
    }
    let sum = sum(&rows);
    assert_eq!(sum.len(), 20);
    assert!(sum.iter().all(|(_, count)| *count == 2));
}

#[test]
fn the_limit_holds_over_all_workers_and_nothing_is_lost_beyond_it() {
    let rows = Rows::new(5);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..1000 {
                    count(&rows, &format!("n{}", n % 50));
                }
            });
        }
    });
    let sum = sum(&rows);
    assert_eq!(sum.len(), 5 + 1);
    assert_eq!(sum.iter().map(|(_, count)| count).sum::<u64>(), 4000);
    let own = sum.iter().filter(|(name, _)| name != "overflow");
    assert!(own.into_iter().all(|(_, count)| *count == 80));
}

#[test]
fn what_is_too_long_is_overflow_also_where_there_is_room() {
    let rows = Rows::new(5);
    count(&rows, "much longer than ten");
    count(&rows, "short");
    assert_eq!(sum(&rows), want(&[("overflow", 1), ("short", 1)]));
}

#[test]
fn rows_filed_anew_are_joined_dropped_and_found_again() {
    let rows = Rows::new(3);
    for name in ["a", "b", "c", "c", "d"] {
        count(&rows, name);
    }
    assert_eq!(
        sum(&rows),
        want(&[("a", 1), ("b", 1), ("c", 2), ("overflow", 1)])
    );
    rows.refile(|key| match key.as_deref() {
        Some("a") => None,
        Some("b") => Some(Some("c".to_owned())),
        _ => Some(key.clone()),
    });
    assert_eq!(sum(&rows), want(&[("c", 3), ("overflow", 1)]));
    // Two places are free; the row of `c` is found again, and again without its key.
    for name in ["c", "c", "a", "d", "e"] {
        count(&rows, name);
    }
    assert_eq!(
        sum(&rows),
        want(&[("a", 1), ("c", 5), ("d", 1), ("overflow", 2)])
    );
}
