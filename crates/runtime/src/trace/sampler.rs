//! Which traces are told.

use super::Context;

/// Which traces are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    root: Root,
    /// Whether a trace that came with the request is told as its caller decided.
    follows: bool,
}

/// Decides by the trace's number alone, so that all who take the same share take the same traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Always,
    Never,
    /// Those whose lower 63 bits are below it.
    Below(u64),
}

impl Sampler {
    /// Tells all.
    pub const ALWAYS: Self = Self {
        root: Root::Always,
        follows: false,
    };
    /// Tells none.
    pub const NEVER: Self = Self {
        root: Root::Never,
        follows: false,
    };

    /// As `samplingRate` has it: all from 1 on, none from 0 down, and else as the caller decided,
    /// or that share of what nobody has decided (spec/queue-proxy.md §7.3).
    pub fn of_rate(rate: f64) -> Self {
        if rate >= 1.0 {
            Self::ALWAYS
        } else if rate > 0.0 {
            Self {
                root: Root::share(rate),
                follows: true,
            }
        } else {
            Self::NEVER
        }
    }

    /// As `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name it; without an argument that is a
    /// share, all of them. `None` if it has no such name.
    pub fn named(name: &str, argument: &str) -> Option<Self> {
        let (follows, name) = match name.strip_prefix("parentbased_") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let root = match name {
            "always_on" => Root::Always,
            "always_off" => Root::Never,
            "traceidratio" => Root::share(argument.trim().parse().unwrap_or(1.0)),
            _ => return None,
        };
        Some(Self { root, follows })
    }

    /// `caller`: what the caller decided, if it did.
    pub(super) fn takes(self, context: &Context, caller: Option<bool>) -> bool {
        match (caller, self.root) {
            (Some(decided), _) if self.follows => decided,
            (_, Root::Always) => true,
            (_, Root::Never) => false,
            (_, Root::Below(limit)) => {
                let low = context.trace() & u128::from(u64::MAX >> 1);
                low < u128::from(limit)
            }
        }
    }
}

impl Root {
    fn share(share: f64) -> Self {
        const WHOLE: f64 = (1_u64 << 63) as f64;
        // What is no number is none of them; what is out of bounds ends at them.
        Self::Below((share * WHOLE).clamp(0.0, WHOLE) as u64)
    }
}
