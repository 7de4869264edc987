//! (see design)

pub mod probe;
