//! How many requests are inside, and how many ever were at once.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the requests of one workload.
#[derive(Debug, Default)]
pub(super) struct Inside {
    now: AtomicU32,
    most: AtomicU32,
}

impl Inside {
    /// Counts one until the answer is dropped.
    pub(super) fn enter(&self) -> Entered<'_> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Entered(self)
    }

    /// Most that were inside at once.
    pub(super) fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }
}

/// One request inside.
#[derive(Debug)]
#[must_use = "counted only while held"]
pub(super) struct Entered<'a>(&'a Inside);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
