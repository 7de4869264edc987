use super::*;
use crate::metrics::Gather;

const NAMES: [&str; 6] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
];

#[test]
fn this_process_has_all_figures() {
    let registry = Registry::new();
    register(&registry).unwrap();
    let families = registry.gather();
    let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
    assert_eq!(names, NAMES);
    for family in &families[1..] {
        let value = family.get_metric()[0].get_gauge().get_value();
        assert!(value > 0.0, "{}: {value}", family.name());
    }
}

/// A `/proc` that the test wrote.
struct Fake(PathBuf);

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn figures_are_read_in_their_units() {
    let name = format!("penstock-proc-{}", std::process::id());
    let proc = Fake(std::env::temp_dir().join(name));
    fs::create_dir_all(proc.0.join("self/fd")).unwrap();
    let write = |path: &str, text: &str| fs::write(proc.0.join(path), text).unwrap();
    // utime 150, stime 50 and starttime 1000, after a name that tries to look like fields.
    let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 9 9 9 150 50 0 0 20 0 1 0 1000 99 9";
    write("self/stat", stat);
    write("stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 5\n");
    write(
        "self/status",
        "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\n",
    );
    write(
        "self/limits",
        "Max open files            1024                 4096                 files\n",
    );
    for fd in ["0", "1", "2", "3"] {
        write(&format!("self/fd/{fd}"), "");
    }
    let registry = Registry::new();
    let process = Process::new(proc.0.clone()).unwrap();
    registry.register(Box::new(process)).unwrap();
    let gather = Gather::default();
    gather.add(registry);
    let text = gather.text();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        samples,
        [
            "process_cpu_seconds_total 2",
            "process_max_fds 1024",
            "process_open_fds 3",
            "process_resident_memory_bytes 524288",
            "process_start_time_seconds 1700000010",
            "process_virtual_memory_bytes 2097152",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let process = Process::new(PathBuf::from("/nowhere")).unwrap();
    assert_eq!(process.collect(), []);
}
