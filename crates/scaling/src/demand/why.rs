//! A decision, and in plain words why.

use std::fmt;
use std::time::Duration;

/// Which part of the rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests wait, and each is given a slot.
    Burst,
    /// The load of the last second is above the pods.
    Rise,
    /// The mean of the stable window decides, or nothing changes.
    Stable,
    /// A peak has passed.
    Fall,
    /// There was no demand for a whole stable window.
    Idle,
    /// Nothing is known of the present: the pods stay.
    Silent,
}

impl Mode {
    /// Its name in logs and in `/state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Rise => "rise",
            Self::Stable => "stable",
            Self::Fall => "fall",
            Self::Idle => "idle",
            Self::Silent => "silent",
        }
    }
}

/// What changed the number that the rule had chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clip {
    /// The least as soon as there is any load.
    ActivationScale,
    /// The growth that one decision may bring.
    UpRate,
    /// The loss that one decision may bring.
    DownRate,
    /// The upper bound.
    MaxScale,
    /// The lower bound.
    MinScale,
    /// The scale to begin with.
    InitialScale,
    /// The last pod may not go.
    NoScaleToZero,
}

impl Clip {
    /// The setting's name, as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ActivationScale => "activation-scale",
            Self::UpRate => "max-scale-up-rate",
            Self::DownRate => "max-scale-down-rate",
            Self::MaxScale => "max-scale",
            Self::MinScale => "min-scale",
            Self::InitialScale => "initial-scale",
            Self::NoScaleToZero => "enable-scale-to-zero",
        }
    }
}

/// How many pods, and why. Its `Display` is the reason in plain words.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Pods wanted, within all bounds.
    pub pods: u32,
    /// Which part of the rule decided.
    pub mode: Mode,
    /// The load that was looked at, in units of the metric.
    pub figure: f64,
    /// What a pod is meant to take of it.
    pub target: f64,
    /// Requests waiting and in flight, where their number decided.
    pub requests: Option<(u32, u32)>,
    /// For how long the figure has been so, or over what time it was taken.
    pub over: Option<Duration>,
    /// What the rule had chosen, and the last thing that changed it.
    pub clipped: Option<(u32, Clip)>,
}

impl Decision {
    pub(super) fn new(pods: u32, mode: Mode, figure: f64, target: f64) -> Self {
        Self {
            pods,
            mode,
            figure,
            target,
            requests: None,
            over: None,
            clipped: None,
        }
    }

    pub(super) fn with_requests(mut self, waiting: u32, in_flight: u32) -> Self {
        self.requests = Some((waiting, in_flight));
        self
    }

    pub(super) fn after(mut self, over: Duration) -> Self {
        self.over = Some(over);
        self
    }

    /// Sets another number, and says what did it.
    pub(super) fn clip(&mut self, pods: u32, by: Clip) {
        let chosen = self.clipped.map_or(self.pods, |(chosen, _)| chosen);
        self.clipped = Some((chosen, by));
        self.pods = pods;
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (figure, target) = (Short(self.figure), Short(self.target));
        let seconds = self.over.map_or(0, |over| over.as_secs());
        match (self.requests, self.mode) {
            (Some((waiting, in_flight)), _) => {
                write!(
                    f,
                    "{waiting} waiting + {in_flight} in flight, {target} a pod"
                )?;
            }
            (None, Mode::Rise) => write!(f, "{figure} in the last second, {target} a pod")?,
            (None, Mode::Fall) => {
                write!(
                    f,
                    "at most {figure} in the last {seconds} s, {target} a pod"
                )?;
            }
            (None, Mode::Idle) => write!(f, "no demand for {seconds} s")?,
            (None, Mode::Silent) => f.write_str("no report")?,
            (None, _) => write!(f, "{figure} on average, {target} a pod")?,
        }
        if let Some((chosen, by)) = self.clipped {
            let moved = if self.pods < chosen {
                "lowered"
            } else {
                "raised"
            };
            write!(f, "; {chosen} {moved} to {} by {}", self.pods, by.as_str())?;
        }
        Ok(())
    }
}

/// A figure with at most two decimals, and none if it is whole.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.write_str(text)
    }
}
