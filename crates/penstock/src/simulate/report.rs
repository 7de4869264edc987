//! The result as text: what was simulated, then one column per policy. At most 80 wide.

use std::fmt::Write as _;
use std::time::Duration;

use penstock_scaling::spec::Metric;
use penstock_types::Slots;

use super::model::{Lack, Outcome};
use super::plan::Plan;
use super::traffic::SECOND;

/// Width of the names of the rows, and of each policy's column.
const NAMES: usize = 38;
const COLUMN: usize = 16;

/// What a row shows of an outcome.
type Cell = fn(&Outcome) -> String;

const ROWS: [(&str, Cell); 12] = [
    ("requests", |one| one.requests.to_string()),
    ("  that found no pod ready (cold)", |one| {
        one.cold.to_string()
    }),
    ("  refused: the line was full", |one| {
        one.turned_away.to_string()
    }),
    ("  refused: waited too long", |one| one.late.to_string()),
    ("waiting, p50", |one| time(one.waits.quantile(0.5))),
    ("waiting, p95", |one| time(one.waits.quantile(0.95))),
    ("waiting, p99", |one| time(one.waits.quantile(0.99))),
    ("waiting, longest", |one| time(one.waits.max())),
    ("pod-seconds", |one| format!("{:.0}", one.pod_seconds)),
    ("most pods at a time", |one| one.peak.to_string()),
    ("changes of scale", |one| one.changes.to_string()),
    ("from a step to enough pods, at worst", |one| lack(one.lack)),
];

/// The whole text.
pub(crate) fn text(plan: &Plan, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (name, value) in head(plan) {
        let _ = writeln!(text, "{name:9} {value}");
    }
    text.push('\n');
    let mut line = format!("{:NAMES$}", "");
    for outcome in outcomes {
        let _ = write!(line, "{:>COLUMN$}", outcome.policy.as_str());
    }
    let _ = writeln!(text, "{}", line.trim_end());
    for (name, cell) in ROWS {
        let mut line = format!("{name:NAMES$}");
        for outcome in outcomes {
            let _ = write!(line, "{:>COLUMN$}", cell(outcome));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for outcome in outcomes {
        decisions(&mut text, outcome);
    }
    text
}

/// What was simulated, name and value: by it two runs can be told apart.
pub(crate) fn head(plan: &Plan) -> [(&'static str, String); 5] {
    let setup = &plan.setup;
    let spec = &setup.spec;
    let unit = match spec.metric {
        Metric::Concurrency => "in flight",
        Metric::Rps => "requests per second",
    };
    let slots = match setup.slots {
        Slots::Unlimited => "no limit".to_owned(),
        Slots::Limited(slots) => format!("{slots} at once"),
    };
    let range = match (spec.min_scale, spec.max_scale) {
        (0, None) => "any number of pods".to_owned(),
        (min, None) => format!("{min} pods or more"),
        (min, Some(max)) => format!("{min} to {max} pods"),
    };
    let pods = &setup.pods;
    let capacity = pods.capacity.map_or(String::new(), |capacity| {
        format!(", works on {capacity} at once")
    });
    let nodes = pods.nodes.as_ref().map_or(String::new(), |nodes| {
        format!("; {} to a node, which takes {}", nodes.pods, nodes.start)
    });
    let length = Duration::from_secs(plan.traffic.end() / SECOND);
    let mut work = plan.traffic.stretches.iter().map(|stretch| stretch.work);
    let first = work.next();
    let work = match first {
        Some(first) if work.all(|other| other == first) => first.to_string(),
        _ => "as the trace says".to_owned(),
    };
    [
        ("service", plan.service.clone()),
        (
            "scaling",
            format!(
                "target {} of {} {unit}, window {:?}, {range}",
                short(spec.target),
                short(spec.total),
                spec.stable_window
            ),
        ),
        (
            "traffic",
            format!("{}, {length:?}, seed {}", plan.traffic.name, setup.seed),
        ),
        (
            "requests",
            format!("work {work}; a pod takes {slots}{capacity}"),
        ),
        ("pods", format!("start {}{nodes}", pods.start)),
    ]
}

fn decisions(text: &mut String, outcome: &Outcome) {
    if outcome.decisions.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nchanges of scale under {}", outcome.policy.as_str());
    for change in &outcome.decisions {
        let at = change.at as f64 / SECOND as f64;
        let _ = writeln!(
            text,
            "{at:>10.2} s  {} -> {}: {}",
            change.from, change.to, change.why
        );
    }
}

/// A figure without needless decimals.
pub(crate) fn short(figure: f64) -> String {
    let text = format!("{figure:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Three digits are all that a model is good for.
fn time(time: Option<Duration>) -> String {
    let Some(time) = time else {
        return "-".to_owned();
    };
    let seconds = time.as_secs_f64();
    match seconds {
        0.0 => "0".to_owned(),
        ..0.001 => format!("{:.0} us", seconds * 1e6),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..10.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1} s"),
    }
}

fn lack(lack: Option<Lack>) -> String {
    match lack {
        None => "-".to_owned(),
        Some(Lack {
            lasted,
            reached: true,
        }) => time(Some(lasted)),
        Some(Lack { lasted, .. }) => format!("not in {}", time(Some(lasted))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let table = [
            (0, "0"),
            (999, "999 us"),
            (12_345, "12 ms"),
            (1_234_567, "1.23 s"),
            (61_234_567, "61.2 s"),
        ];
        for (micros, want) in table {
            assert_eq!(time(Some(Duration::from_micros(micros))), want);
        }
        assert_eq!(time(None), "-");
        let missed = Lack {
            lasted: Duration::from_secs(30),
            reached: false,
        };
        assert_eq!(lack(Some(missed)), "not in 30.0 s");
    }
}
