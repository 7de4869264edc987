//! How many threads serve requests: as many as the container may use processors, so that none of
//! them is made to wait by the system while it holds a request.

use std::num::NonZeroUsize;

use penstock_runtime::cgroup;

/// Threads where nothing limits them. A queue-proxy is small beside its container, and each
/// thread has its own connections to that.
const UNLIMITED: usize = 4;

/// Connections that one thread serves before the next serves any. A single thread has some 50,000
/// requests a second in it, and few callers that are not so many share it to their advantage: at
/// 2,000 a second over 16 connections a request costs a tenth less than with two threads.
pub const PACKED: usize = 32;

/// Threads for this process: its CPU limit rounded up, at most the processors that it may run on.
pub fn workers() -> NonZeroUsize {
    let allowed = rustix::thread::sched_getaffinity(None).map(|cpus| cpus.count());
    let allowed = usize::try_from(allowed.unwrap_or(1)).unwrap_or(1);
    count(cgroup::cpus(), allowed)
}

fn count(limit: Option<f64>, allowed: usize) -> NonZeroUsize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and is cut to the processors anyway"
    )]
    let wanted = limit.map_or(UNLIMITED, |limit| limit.ceil() as usize);
    NonZeroUsize::new(wanted.min(allowed)).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_rounded_up_and_no_more_than_there_are() {
        let table = [
            (None, 64, 4),
            (None, 2, 2),
            (Some(0.025), 8, 1),
            (Some(1.0), 8, 1),
            (Some(1.5), 8, 2),
            (Some(16.0), 8, 8),
            (Some(6.0), 8, 6),
            (Some(f64::INFINITY), 8, 8),
            (None, 0, 1),
        ];
        for (limit, allowed, want) in table {
            let count = count(limit, allowed).get();
            assert_eq!(count, want, "{limit:?} of {allowed}");
        }
    }

    #[test]
    fn this_machine_has_at_least_one() {
        assert!(workers().get() >= 1);
    }
}
