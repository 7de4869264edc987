//! The arithmetic against the contract's own words: each file has a plain model, written from one
//! section of spec/autoscaler.md and from nothing else, and compares it with the crate on cases that
//! no golden vector has: other lengths and buckets, times that step back, values at every limit.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod configs;
mod decisions;
mod derived;
mod reconciles;
mod samples;
mod windows;

/// Whether two figures are equal but for rounding.
fn near(got: f64, want: f64) -> bool {
    got == want || (got - want).abs() <= 1.1e-6 * want.abs().max(1.0)
}
