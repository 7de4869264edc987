//! Policy `demand` over whole loads: synthetic ones, and the shapes of the golden vectors.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod model;
mod properties;
mod shapes;
