//! The consistent choice: some of many names, for a target.
//!
//! It picks the activators of a revision, and the bucket that a revision belongs to. It has to come
//! out alike in every process, and in Knative's: so it is a matter of hashes alone.
//!
//! Source: spec/activator.md §5.5, spec/autoscaler.md §4.5.

use std::collections::BTreeMap;

/// Points of the circle on which the choice is made.
const UNIVERSE: u64 = 2048;

/// `n` of `from` for `target`: the same ones whoever asks, and in the order of `from` sorted. All
/// of them if there are no more.
pub fn subset<'a, S: AsRef<str>>(from: &'a [S], n: usize, target: &str) -> Vec<&'a str> {
    let mut chosen: Vec<&str> = if n >= from.len() {
        from.iter().map(AsRef::as_ref).collect()
    } else {
        let chosen = choose(from, n, target).into_iter();
        chosen.map(|index| from[index].as_ref()).collect()
    };
    chosen.sort_unstable();
    chosen
}

/// Indices of the chosen ones; `n` is less than there are.
pub fn choose<S: AsRef<str>>(from: &[S], n: usize, target: &str) -> Vec<usize> {
    let circle = circle(from, target);
    let places: Vec<u64> = circle.keys().copied().collect();
    let salted = |salt: &str| hash(&[target.as_bytes(), salt.as_bytes()].concat()) % UNIVERSE;
    let (mut angle, step) = (salted("start-angle-salt"), salted("step-angle-salt"));
    let mut taken = vec![false; places.len()];
    (0..n.min(places.len()))
        .map(|_| {
            let mut at = places.partition_point(|place| *place < angle) % places.len();
            while taken[at] {
                at = (at + 1) % places.len();
            }
            taken[at] = true;
            angle = (angle + step) % UNIVERSE;
            circle[&places[at]]
        })
        .collect()
}

/// Where each of `from` has its place: point to index.
fn circle<S: AsRef<str>>(from: &[S], target: &str) -> BTreeMap<u64, usize> {
    // Who comes first keeps the point that two would have: the order decides.
    let mut sorted: Vec<usize> = (0..from.len()).collect();
    sorted.sort_unstable_by_key(|index| from[*index].as_ref());
    let mut circle = BTreeMap::new();
    // More could never find a free point.
    for index in sorted.into_iter().take(UNIVERSE as usize) {
        let mut text = format!("{}{target}", from[index].as_ref());
        let mut hashed = hash(text.as_bytes());
        while circle.contains_key(&(hashed % UNIVERSE)) {
            text.push_str(&format!("{hashed:x}"));
            hashed = hash(text.as_bytes());
        }
        circle.insert(hashed % UNIVERSE, index);
    }
    circle
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
