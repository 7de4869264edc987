//! What the control groups of the process leave it: processors and memory.

use std::fs;
use std::path::Path;

/// Processors, in the least limit of this process's control group and of those around it. Within a
/// container its own group mostly looks like the root.
pub fn cpus() -> Option<f64> {
    cpus_below(Path::new("/"))
}

/// Bytes of memory, in the least limit of the same groups.
pub fn memory() -> Option<u64> {
    memory_below(Path::new("/"))
}

fn cpus_below(root: &Path) -> Option<f64> {
    let limits = limits(root, "cpu", quota_v2, quota_v1);
    limits.into_iter().reduce(f64::min)
}

fn memory_below(root: &Path) -> Option<u64> {
    let of_file = |group: &Path, file| {
        let text = fs::read_to_string(group.join(file)).ok()?;
        text.trim().parse().ok()
    };
    let limits = limits(
        root,
        "memory",
        |group| of_file(group, "memory.max"),
        // No limit is a number there, too: about the largest that is.
        |group| of_file(group, "memory.limit_in_bytes").filter(|limit: &u64| *limit < 1 << 60),
    );
    limits.into_iter().min()
}

/// The limits of all groups that this process is in, by the rules of either version.
fn limits<T>(
    root: &Path,
    controller: &str,
    v2: impl Fn(&Path) -> Option<T>,
    v1: impl Fn(&Path) -> Option<T>,
) -> Vec<T> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let mut found = Vec::new();
    for line in groups.lines() {
        // hierarchy:controllers:path; version 2 has neither number nor controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        // From the group outwards to the root, which is the empty path.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        if controllers.is_empty() {
            found.extend(groups.filter_map(|group| v2(&mounted.join(group))));
        } else if controllers.split(',').any(|one| one == controller) {
            let mounted = mounted.join(controller);
            found.extend(groups.filter_map(|group| v1(&mounted.join(group))));
        }
    }
    found
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

    type Files<'a> = &'a [(&'a str, &'a str)];

    /// What `read` finds where these paths hold this.
    fn found<T>(name: &str, files: Files<'_>, read: fn(&Path) -> Option<T>) -> Option<T> {
        let name = format!("penstock-cgroup-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = read(&root);
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
            assert_eq!(found("cpus", files, cpus_below), want, "{files:?}");
        }
    }

    #[test]
    fn the_least_memory_of_the_groups_around_counts() {
        let group = "proc/self/cgroup";
        let table: [(Files, Option<u64>); 4] = [
            (
                &[(group, "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")],
                None,
            ),
            (
                &[
                    (group, "0::/pods/one\n"),
                    ("sys/fs/cgroup/pods/one/memory.max", "629145600\n"),
                    ("sys/fs/cgroup/pods/memory.max", "1048576\n"),
                ],
                Some(1 << 20),
            ),
            (
                &[
                    (group, "3:memory:/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n"),
                ],
                Some(1 << 20),
            ),
            (
                &[
                    (group, "3:memory:/\n"),
                    (
                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                None,
            ),
        ];
        for (files, want) in table {
            assert_eq!(found("memory", files, memory_below), want, "{files:?}");
        }
    }
}
