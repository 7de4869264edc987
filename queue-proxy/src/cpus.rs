//! How many threads serve requests: as many as the container may use processors, so that none of
//! them is made to wait by the system while it holds a request.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

/// Threads where nothing limits them. A queue-proxy is small beside its container, and each
/// thread has its own connections to that.
const UNLIMITED: usize = 4;

/// Threads for this process: its CPU limit rounded up, at most the processors that it may run on.
pub fn workers() -> NonZeroUsize {
    let allowed = rustix::thread::sched_getaffinity(None).map(|cpus| cpus.count());
    let allowed = usize::try_from(allowed.unwrap_or(1)).unwrap_or(1);
    count(limit(Path::new("/")), allowed)
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

/// The least limit of this process's control group and of those around it, in processors. Within
/// a container its own group mostly looks like the root.
fn limit(root: &Path) -> Option<f64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounted = root.join("sys/fs/cgroup");
    let of_line = |line: &str| {
        // hierarchy:controllers:path; version 2 has neither number nor controllers.
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (mounted, quota): (_, fn(&Path) -> Option<f64>) = if controllers.is_empty() {
            (mounted.clone(), quota_v2)
        } else if controllers.split(',').any(|one| one == "cpu") {
            (mounted.join("cpu"), quota_v1)
        } else {
            return None;
        };
        // From the group outwards to the root, which is the empty path.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups
            .filter_map(|group| quota(&mounted.join(group)))
            .reduce(f64::min)
    };
    groups.lines().filter_map(of_line).reduce(f64::min)
}

/// `max 100000` or `50000 100000`.
fn quota_v2(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.split_once(' ')?;
    share(quota, period)
}

fn quota_v1(group: &Path) -> Option<f64> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    share(&quota, &period)
}

/// Microseconds of processor time in each period; below zero is no limit.
fn share(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then_some(quota / period)
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

    /// Paths and what they hold.
    type Files<'a> = &'a [(&'a str, &'a str)];

    fn limit_in(files: Files<'_>) -> Option<f64> {
        let name = format!("penstock-cpus-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = limit(&root);
        fs::remove_dir_all(&root).unwrap();
        found
    }

    #[test]
    fn the_least_limit_of_the_groups_around_counts() {
        const V2: &str = "0::/pods/one\n";
        const V1: &str = "12:memory:/a\n4:cpu,cpuacct:/pods/one\n";
        let group = "proc/self/cgroup";
        let table: [(Files, Option<f64>); 6] = [
            (&[(group, V2)], None),
            (
                &[
                    (group, V2),
                    ("sys/fs/cgroup/pods/one/cpu.max", "max 100000\n"),
                ],
                None,
            ),
            (
                &[
                    (group, V2),
                    ("sys/fs/cgroup/pods/one/cpu.max", "250000 100000\n"),
                    ("sys/fs/cgroup/pods/cpu.max", "150000 100000\n"),
                ],
                Some(1.5),
            ),
            // Within a container only its own group can be seen, as the root.
            (
                &[
                    (group, "0::/\n"),
                    ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
                ],
                Some(0.5),
            ),
            (
                &[
                    (group, V1),
                    ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"),
                    ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                    ("sys/fs/cgroup/cpu/pods/one/cpu.cfs_quota_us", "-1\n"),
                    ("sys/fs/cgroup/cpu/pods/one/cpu.cfs_period_us", "100000\n"),
                ],
                Some(2.0),
            ),
            (
                &[
                    (group, "nonsense\n::\n0::/\n"),
                    ("sys/fs/cgroup/cpu.max", "x\n"),
                ],
                None,
            ),
        ];
        for (files, want) in table {
            assert_eq!(limit_in(files), want, "{files:?}");
        }
    }

    #[test]
    fn this_machine_has_at_least_one() {
        assert!(workers().get() >= 1);
    }
}
