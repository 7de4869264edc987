//! What the loop tells: one line per change, the state, the gauges.
