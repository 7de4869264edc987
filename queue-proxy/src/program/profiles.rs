//! What the process tells of itself where the original serves profiles: its command line, the
//! processor time of each thread and its memory, as the system has them. There is no sampling
//! profiler: `perf` on the node sees more, and costs nothing while nobody looks.
//!
//! Source: spec/queue-proxy.md §2, port 8008; proc(5).

use std::fs;
use std::path::Path;

use http::StatusCode;
use penstock_runtime::admin::{Page, Routes, TEXT};

const INDEX: &str = "/debug/pprof/cmdline\n/debug/pprof/memory\n/debug/pprof/threads\n";

/// All pages.
pub(super) fn routes() -> Routes {
    let file = |path| {
        move || match fs::read(path) {
            Ok(all) => Page::new(TEXT, all),
            Err(error) => Page::text(StatusCode::NOT_FOUND, format!("{path}: {error}\n")),
        }
    };
    Routes::default()
        .page("/debug/pprof/", || Page::new(TEXT, INDEX))
        .page("/debug/pprof/cmdline", file("/proc/self/cmdline"))
        .page("/debug/pprof/memory", file("/proc/self/smaps_rollup"))
        .page("/debug/pprof/threads", || {
            Page::new(TEXT, threads(Path::new("/proc/self/task")))
        })
        .below("/debug/pprof/", |name| {
            let process = std::process::id();
            let text = format!(
                "there is no {name} here, but {INDEX}perf record -g -p {process} takes samples\n"
            );
            Page::text(StatusCode::NOT_IMPLEMENTED, text)
        })
}

/// A line for each thread: its number, name and state, and its seconds in user mode and in the
/// system. One that ends meanwhile is left out.
fn threads(tasks: &Path) -> String {
    let all = fs::read_dir(tasks).into_iter().flatten().flatten();
    let stats = all.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let mut lines: Vec<String> = stats.filter_map(|stat| thread(&stat)).collect();
    lines.sort();
    lines.insert(
        0,
        "thread name state user_seconds system_seconds\n".to_owned(),
    );
    lines.concat()
}

/// The line of one thread, of its `stat`. Its name is in brackets, and may contain anything.
fn thread(stat: &str) -> Option<String> {
    let (start, rest) = stat.rsplit_once(") ")?;
    let (id, name) = start.split_once(" (")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field 3 is the first one here; a tick is a hundredth of a second wherever this can be read.
    let seconds = |field: usize| Some(fields.get(field - 3)?.parse::<f64>().ok()? / 100.0);
    let (state, user, system) = (fields.first()?, seconds(14)?, seconds(15)?);
    Some(format!("{id} {name} {state} {user:.2} {system:.2}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_whatever_its_name() {
        let stat = "71 (a) b (c) S 1 71 71 0 -1 4194304 98 0 0 0 250 7 0 0 20 0 3 0 5 0 0";
        assert_eq!(thread(stat).unwrap(), "71 a) b (c S 2.50 0.07\n");
        assert_eq!(thread("71 (a) S 1"), None);
        assert_eq!(thread(""), None);
    }

    #[test]
    fn this_thread_is_among_those_of_the_process() {
        let text = threads(Path::new("/proc/self/task"));
        let own = format!("\n{} ", std::process::id());
        assert!(text.contains(&own), "{text}");
    }
}
