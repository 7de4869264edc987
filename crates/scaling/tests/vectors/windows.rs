//! `windows.json`: averages and maxima over sliding windows.

use penstock_scaling::maximum::Maximum;
use penstock_scaling::spec::Aggregation;
use penstock_scaling::window::Window;
use serde::Deserialize;

use crate::{Number, Vectors, aggregation, close, moment, ms, same, within};

#[derive(Deserialize)]
struct Averages {
    kind: String,
    base_unix_ms: u64,
    window_ms: f64,
    granularity_ms: f64,
    ops: Vec<AverageOp>,
}

/// What is done, when, and with what: `r` a value, `z` a new length, `q` (the only one of
/// four parts) the average and whether there is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum AverageOp {
    Query(Name, f64, Number, u8),
    Other(Name, f64, Number),
}

#[derive(Deserialize)]
struct Maxima {
    base_unix_ms: u64,
    duration_ms: f64,
    granularity_ms: f64,
    ops: Vec<MaximumOp>,
}

/// `r`: time, value, maximum afterwards. `c`: the current maximum.
#[derive(Deserialize)]
#[serde(untagged)]
enum MaximumOp {
    Record(Name, f64, u32, u32),
    Current(Name, u32),
}

#[derive(Debug, Deserialize, PartialEq)]
enum Name {
    #[serde(rename = "r")]
    Record,
    #[serde(rename = "q")]
    Query,
    #[serde(rename = "z")]
    Resize,
    #[serde(rename = "c")]
    Current,
}

#[test]
fn windows() {
    Vectors::open("windows.json")
        .part("averages", run_averages)
        .part("maxima", run_maxima)
        .end();
}

fn run_averages(case: &Averages) -> Result<(), String> {
    let aggregation = aggregation(&case.kind)?;
    let window = Window::new(aggregation, ms(case.window_ms), ms(case.granularity_ms));
    let mut window = window.compatible(true);
    for op in &case.ops {
        match op {
            AverageOp::Query(name, t, average, empty) => {
                same("operation", name, &Name::Query)?;
                let now = moment(case.base_unix_ms, *t);
                let what = format!("average at {t}");
                let got = window.average(now);
                match aggregation {
                    Aggregation::Linear => within(&what, got, *average, 1.1e-6)?,
                    Aggregation::Weighted => close(&what, got, *average)?,
                }
                same(
                    &format!("emptiness at {t}"),
                    window.is_empty(now),
                    *empty == 1,
                )?;
            }
            AverageOp::Other(name, t, value) => {
                let now = moment(case.base_unix_ms, *t);
                match name {
                    Name::Resize => window.resize(ms(value.0), now),
                    Name::Record => window.record(now, value.0),
                    other => return Err(format!("{other:?} has another form")),
                }
            }
        }
    }
    Ok(())
}

fn run_maxima(case: &Maxima) -> Result<(), String> {
    let mut window = Maximum::new(ms(case.duration_ms), ms(case.granularity_ms));
    for op in &case.ops {
        match op {
            MaximumOp::Record(name, t, value, want) => {
                same("operation", name, &Name::Record)?;
                let got = window.record(moment(case.base_unix_ms, *t), *value);
                same(&format!("maximum at {t}"), got, *want)?;
            }
            MaximumOp::Current(name, want) => {
                same("operation", name, &Name::Current)?;
                same("maximum", window.current(), *want)?;
            }
        }
    }
    Ok(())
}
