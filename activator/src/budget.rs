//! The memory that waiting requests may hold in the whole process, shared fairly.
//!
//! A revision may hold at most as much as is still free. So one revision alone gets half of it,
//! two get a third each, and so on: a share is always left for whoever comes next, and no
//! revision has to be told its share, nor has to give any back.
//!
//! Source: issue "The activator", point 3; the rule is that of dynamic queue length thresholds
//! (Choudhury and Hahne, 1998), with a factor of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Version;
use http::request::Parts;
use http_body::Body;

use crate::revision::Entry;

/// What a waiting request takes beside its head: its future and its part of the connection.
const FIXED: u64 = 4 * 1024;
/// What of a body comes in unasked over HTTP/1: the connection's read buffer.
const READ_BUFFER: u64 = 8 * 1024;
/// The same over HTTP/2: the window of a stream.
const WINDOW: u64 = 1 << 20;
/// The same of a body whose length is not known. Callers begin with a window of 64 KiB.
const UNKNOWN: u64 = 64 * 1024;

/// The bytes that a request will hold while it waits. Its body is not read before a pod is
/// chosen; what comes in anyhow is counted.
pub(crate) fn held_by(head: &Parts, body: &impl Body) -> u64 {
    let lines = head.headers.iter();
    let headers: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    let unasked = match head.version {
        Version::HTTP_2 => WINDOW,
        _ => READ_BUFFER,
    };
    let length = match body.is_end_stream() {
        true => 0,
        false => body.size_hint().exact().unwrap_or(UNKNOWN),
    };
    FIXED + (headers + target) as u64 + length.min(unasked)
}

/// What all waiting requests hold.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u64,
    held: AtomicU64,
}

/// What the waiting requests of one revision hold.
#[derive(Debug, Default)]
pub(crate) struct Share(AtomicU64);

/// The bytes of one waiting request, held until this is dropped.
#[derive(Debug)]
#[must_use = "held only while this is"]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    entry: Arc<Entry>,
    bytes: u64,
}

impl Budget {
    /// `most` bytes for the process.
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: AtomicU64::new(0),
        })
    }

    /// Charges `bytes` to a revision; `None` if it holds as much as it may.
    pub(crate) fn charge(self: &Arc<Self>, entry: &Arc<Entry>, bytes: u64) -> Option<Charge> {
        self.take(&entry.held, bytes).then(|| Charge {
            budget: Arc::clone(self),
            entry: Arc::clone(entry),
            bytes,
        })
    }

    fn take(&self, share: &Share, bytes: u64) -> bool {
        let taken = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                let own = share.0.load(Ordering::Relaxed);
                (own + bytes <= self.most.saturating_sub(held)).then_some(held + bytes)
            });
        if taken.is_ok() {
            share.0.fetch_add(bytes, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn give_back(&self, share: &Share, bytes: u64) {
        share.0.fetch_sub(bytes, Ordering::Relaxed);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(&self.entry.held, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::{Empty, Full};
    use proptest::prelude::*;

    const MOST: u64 = 1000;

    proptest! {
        #[test]
        fn the_whole_is_never_exceeded_and_who_holds_nothing_gets_what_is_free(
            steps in proptest::collection::vec((0..5_usize, 1..80_u64, any::<bool>()), 1..300),
        ) {
            let budget = Budget::new(MOST);
            let shares: [Share; 5] = Default::default();
            let mut charges: Vec<(usize, u64)> = Vec::new();
            for (who, bytes, leaves) in steps {
                if leaves && !charges.is_empty() {
                    let (who, bytes) = charges.swap_remove(bytes as usize % charges.len());
                    budget.give_back(&shares[who], bytes);
                    continue;
                }
                let free = MOST - charges.iter().map(|(_, bytes)| bytes).sum::<u64>();
                let own: u64 = charges
                    .iter()
                    .filter(|(other, _)| *other == who)
                    .map(|(_, bytes)| bytes)
                    .sum();
                let taken = budget.take(&shares[who], bytes);
                prop_assert_eq!(taken, own + bytes <= free);
                if taken {
                    charges.push((who, bytes));
                }
            }
            let held: u64 = charges.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(budget.held.load(Ordering::Relaxed), held);
        }
    }

    #[test]
    fn however_many_take_all_they_can_a_share_is_left_for_the_next() {
        for revisions in 1..=9 {
            let budget = Budget::new(MOST);
            let shares: Vec<Share> = (0..=revisions).map(|_| Share::default()).collect();
            // In turns, until nobody gets any more.
            while shares[..revisions]
                .iter()
                .filter(|share| budget.take(share, 1))
                .count()
                > 0
            {}
            let mut last = 0;
            while budget.take(&shares[revisions], 1) {
                last += 1;
            }
            let fair = MOST / (revisions as u64 + 1);
            assert!(last >= fair / 2, "{last} after {revisions}");
        }
    }

    #[test]
    fn what_comes_in_unasked_is_counted() {
        let request = |version| {
            let request = Request::get("/abc")
                .version(version)
                .header("name", "value");
            request.body(()).unwrap().into_parts().0
        };
        let (one, two) = (request(Version::HTTP_11), request(Version::HTTP_2));
        let bare = FIXED + 4 + 9;
        assert_eq!(held_by(&one, &Empty::<&[u8]>::new()), bare);
        let long = Full::new(vec![0; 2 << 20].into_iter().collect::<bytes::Bytes>());
        assert_eq!(held_by(&one, &long), bare + READ_BUFFER);
        assert_eq!(held_by(&two, &long), bare + WINDOW);
        assert_eq!(held_by(&two, &Full::new(&b"12345"[..])), bare + 5);
    }
}
