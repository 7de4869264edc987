//! Counting that costs a few nanoseconds: rows of figures by label set, kept once for each
//! worker and added up when somebody asks.
//!
//! A worker's rows are behind a lock that nobody else takes but a scrape, so that it costs two
//! uncontended exchanges; the label sets that were used last are compared before anything is
//! hashed; and nothing is allocated for a set that the worker has seen before.
//!
//! Callers choose hosts and tags, so the number of label sets is limited, over all workers.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Label sets that a worker compares before it hashes.
const RECENT: usize = 4;
/// Most workers that have rows of their own; further ones share them.
const MAX_SHEETS: usize = 64;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Threads are numbered as they come to count something, so that workers get neighbours.
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

/// A label set as it is at hand when something is to be counted: borrowed.
pub trait Labels: Hash {
    /// The same, owned. Equal keys are one row.
    type Key: Clone + Eq + Hash + Send;

    /// Whether `key` is this label set. Cheap: it is asked for every request.
    fn is(&self, key: &Self::Key) -> bool;

    /// This label set, owned; `None` if it is too long to be kept.
    fn key(&self) -> Option<Self::Key>;

    /// What it is counted under when there is no room left.
    fn overflow(&self) -> Self::Key;

    /// What it is counted under when there is no room among those of the overflow either. Of a
    /// set that is limited by itself.
    fn rest(&self) -> Self::Key {
        self.overflow()
    }
}

/// What is counted in one row.
pub trait Figures: Default + Clone + Send {
    /// Adds those of another worker.
    fn add(&mut self, other: &Self);
}

/// Rows of figures `F` by label set `K`.
pub struct Rows<K, F> {
    sheets: Box<[Sheet<K, F>]>,
    /// Label sets that have a row anywhere, but for those of the overflow.
    admitted: Mutex<HashSet<K>>,
    limit: usize,
    hasher: RandomState,
}

/// One worker's rows, on cache lines of their own.
#[repr(align(128))]
struct Sheet<K, F>(Mutex<Own<K, F>>);

struct Own<K, F> {
    rows: Vec<(K, F)>,
    /// Places in `rows`, the one used last first. Those that do not exist match nothing.
    recent: [usize; RECENT],
    /// Places by hash of the label set; more than one where hashes collide.
    by_hash: HashMap<u64, Vec<usize>>,
    /// Places of rows whose hash is not known: those of the overflow, and those filed anew.
    by_key: HashMap<K, usize>,
}

impl<K, F> fmt::Debug for Rows<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash + Send, F: Figures> Rows<K, F> {
    /// No rows yet. `limit` label sets get rows of their own; what is beyond goes to those of
    /// [`Labels::overflow`].
    pub fn new(limit: usize) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let sheets = threads.next_power_of_two().min(MAX_SHEETS);
        Self {
            sheets: (0..sheets).map(|_| Sheet(Mutex::default())).collect(),
            admitted: Mutex::default(),
            limit,
            hasher: RandomState::new(),
        }
    }

    /// Counts something under `labels`.
    #[inline]
    pub fn count(&self, labels: &impl Labels<Key = K>, count: impl FnOnce(&mut F)) {
        let thread = THREAD.with(|number| *number);
        let Some(sheet) = self.sheets.get(thread & (self.sheets.len() - 1)) else {
            return; // a power of two of them: there always is one
        };
        let mut own = lock(&sheet.0);
        let place = match own.recent(labels) {
            Some(place) => place,
            None => self.place(&mut own, labels),
        };
        if let Some((_, figures)) = own.rows.get_mut(place) {
            count(figures);
        }
    }

    /// The rows of all workers, added up, always in the same order: a sum of fractions that is
    /// added up in another order may come out smaller than before, which a counter must not.
    pub fn sum(&self) -> Vec<(K, F)> {
        let mut sum: Vec<(K, F)> = Vec::new();
        let mut places: HashMap<K, usize> = HashMap::new();
        for sheet in &self.sheets {
            // Copied first, so that the worker waits for no hashing.
            let rows = lock(&sheet.0).rows.clone();
            for (key, figures) in rows {
                let place = *places.entry(key.clone()).or_insert(sum.len());
                match sum.get_mut(place) {
                    Some((_, so_far)) => so_far.add(&figures),
                    None => sum.push((key, figures)),
                }
            }
        }
        sum
    }

    /// Gives each row the label set that `file` makes of its own; rows of one set become one. A
    /// row without a set is dropped, and makes room for others: a later request brings it back,
    /// from 0.
    pub fn refile(&self, file: impl Fn(&K) -> Option<K>) {
        for sheet in &self.sheets {
            let mut own = lock(&sheet.0);
            let mut anew: Own<K, F> = Own::default();
            for (key, figures) in own.rows.drain(..) {
                if let Some(key) = file(&key) {
                    let place = anew.by_key(key);
                    if let Some((_, joined)) = anew.rows.get_mut(place) {
                        joined.add(&figures);
                    }
                }
            }
            *own = anew;
        }
        let mut admitted = lock(&self.admitted);
        *admitted = admitted.iter().filter_map(file).collect();
    }

    /// The place of a label set that was not used lately.
    #[cold]
    fn place(&self, own: &mut Own<K, F>, labels: &impl Labels<Key = K>) -> usize {
        let hash = self.hasher.hash_one(labels);
        let place = match own.find(hash, labels) {
            Some(place) => place,
            None => match labels.key().filter(|key| self.admits(key)) {
                Some(key) => {
                    let known = own.by_key.get(&key).copied();
                    let place = known.unwrap_or_else(|| own.begin(key));
                    own.by_hash.entry(hash).or_default().push(place);
                    place
                }
                None => {
                    let overflow = labels.overflow();
                    let known = own.by_key.contains_key(&overflow);
                    own.by_key(if known || own.by_key.len() < self.limit {
                        overflow
                    } else {
                        labels.rest()
                    })
                }
            },
        };
        own.used(place);
        place
    }

    /// Whether a set has a row with another worker, or gets the right to one.
    fn admits(&self, key: &K) -> bool {
        let mut admitted = lock(&self.admitted);
        admitted.contains(key) || (admitted.len() < self.limit && admitted.insert(key.clone()))
    }
}

impl<K, F> Default for Own<K, F> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            recent: [usize::MAX; RECENT],
            by_hash: HashMap::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, F: Default> Own<K, F> {
    #[inline]
    fn recent(&mut self, labels: &impl Labels<Key = K>) -> Option<usize> {
        let is = |place: usize| self.rows.get(place).is_some_and(|(key, _)| labels.is(key));
        let found = self.recent.iter().position(|&place| is(place))?;
        let place = self.recent[found];
        self.recent[..=found].rotate_right(1);
        Some(place)
    }

    fn used(&mut self, place: usize) {
        self.recent.rotate_right(1);
        self.recent[0] = place;
    }

    fn find(&self, hash: u64, labels: &impl Labels<Key = K>) -> Option<usize> {
        let is = |place: &usize| self.rows.get(*place).is_some_and(|(key, _)| labels.is(key));
        self.by_hash.get(&hash)?.iter().copied().find(is)
    }

    fn begin(&mut self, key: K) -> usize {
        self.rows.push((key, F::default()));
        self.rows.len() - 1
    }

    /// The place of a row that is found by its key, and begun if it is not there.
    fn by_key(&mut self, key: K) -> usize {
        if let Some(&place) = self.by_key.get(&key) {
            return place;
        }
        let place = self.begin(key.clone());
        self.by_key.insert(key, place);
        place
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Figures are whole at every step, so a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
