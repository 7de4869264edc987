//! `penstock simulate`: a traffic through the deciders of production, in virtual time.
//!
//! ```text
//! arguments, manifest, settings ──► plan ──► model::run, once per policy ──► report, chart
//! trace or shape ──► traffic ──────────┘        (chance: all from one seed)
//! ```
//!
//! - [`args`], [`plan`]: what is asked for, or all that is wrong with it
//! - [`traffic`]: requests out of a trace or a shape
//! - [`model`]: the activator, the autoscaler's decisions and the pods
//! - [`report`], [`chart`]: what came of it
//!
//! Nothing is written before everything was read, and nothing but the chart is written at all.

mod args;
mod chance;
mod chart;
mod model;
mod plan;
mod report;
mod traffic;

use std::fs;
use std::io::{self, Write};

use crate::up::input::reason;
use plan::Plan;

pub(crate) use args::SimulateArgs;

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Error {
    /// What was asked for cannot be: one sentence for each mistake.
    Input(Vec<String>),
    /// The result cannot be written.
    Output(String),
}

/// Simulates, and tells the result on `out`.
///
/// # Errors
///
/// All mistakes in the input together, before anything was written; or what cannot be written.
pub(crate) fn run(args: &SimulateArgs, out: &mut impl Write) -> Result<(), Error> {
    let plan = Plan::read(args).map_err(Error::Input)?;
    let policies = plan.policies.iter();
    let outcomes: Vec<model::Outcome> = policies
        .map(|policy| model::run(&plan.setup, &plan.traffic, *policy))
        .collect();
    let text = report::text(&plan, &outcomes);
    if let Some((path, form)) = &plan.chart {
        let chart = chart::draw(*form, &plan, &outcomes, &text).map_err(Error::Output)?;
        fs::write(path, chart).map_err(|error| {
            let (path, reason) = (path.display(), reason(&error));
            Error::Output(format!("cannot write {path}: {reason}"))
        })?;
    }
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::Output(format!("cannot write the table: {error}"))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
