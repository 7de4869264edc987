//! Asking queue-proxies for their figures: whom, how often, and what the answers say about all.
//!
//! Here is no I/O. The caller asks whom it is told to, says how that ended, and is told whom to ask
//! next. There are two ways: the pods themselves ([`Pods`]), or, where a mesh lets nobody at them,
//! the Service in front of them, which answers for a pod of its own choice ([`Service`]).
//! [`Reach`] remembers which of the two works.
//!
//! Pods younger than the stable window know less than all of it: they are asked where there are
//! not enough old ones.
//!
//! Of the original's races one is mended: whether nothing but a mesh was in the way is judged when
//! every attempt has ended, not when the first one has run out of pods.
//!
//! Source: spec/autoscaler.md §4.6.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use penstock_types::request_stats::Report;

use crate::sample::{extrapolate, sample_size};

/// Attempts of one worker at the Service; failures from here on end it.
const TRIES: u32 = 10;

/// Whether a service mesh lets nobody at single pods (`mesh-compatibility-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mesh {
    /// To be found out.
    #[default]
    Auto,
    /// It does: ask the Service.
    Enabled,
    /// There is none: ask pods.
    Disabled,
}

impl Mesh {
    /// The mode by its name in any case; `auto` for any other text.
    pub fn named(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "enabled" => Self::Enabled,
            "disabled" => Self::Disabled,
            _ => Self::Auto,
        }
    }
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The pods.
    Pods,
    /// The Service in front of them.
    Service,
}

/// What is known of the ways to the pods of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The cluster's setting.
    pub mesh: Mesh,
    /// Whether the mesh passes requests for single pods through (`enable-mesh-pod-addressability`).
    pub passthrough: bool,
    /// Whether pods are believed to answer for themselves.
    pub addressable: bool,
}

impl Reach {
    /// Nothing was tried yet: pods are believed to answer.
    pub fn new(mesh: Mesh, passthrough: bool) -> Self {
        Self {
            mesh,
            passthrough,
            addressable: true,
        }
    }

    /// Whom to ask first.
    pub fn first(&self) -> Way {
        match self.mesh {
            Mesh::Disabled => Way::Pods,
            Mesh::Auto if self.addressable || self.passthrough => Way::Pods,
            Mesh::Auto | Mesh::Enabled => Way::Service,
        }
    }

    /// Whether to ask the Service after the pods were asked in vain.
    pub fn falls_back(&self, failed: Failed) -> bool {
        self.mesh == Mesh::Auto && !self.passthrough && failed == Failed::Unreachable
    }

    /// The Service answered where the pods did not: it is asked first from now on.
    pub fn fell_back(&mut self) {
        self.addressable = false;
    }
}

/// Why a pod, or the Service, gave no figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As a mesh refuses: status 502 or 503.
    Mesh,
    /// Otherwise.
    Other,
}

/// Why a whole scrape gave no figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Not enough pods answered.
    Exhausted,
    /// No pod answered, and every one as if a mesh were in the way.
    Unreachable,
    /// The Service answered for the same pods again and again.
    NoUnseenPod,
    /// The Service did not answer.
    Transport,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "not enough pods answered",
            Self::Unreachable => "no pod can be reached but through the mesh",
            Self::NoUnseenPod => "the Service answered for too few pods",
            Self::Transport => "the Service did not answer",
        })
    }
}

/// One scrape of pods. Ask [`Pods::next_pod`] for as many as [`Pods::at_once`] says, and for one more
/// after each refusal.
#[derive(Clone, Debug)]
pub struct Pods {
    candidates: VecDeque<usize>,
    all: u32,
    sample: usize,
    answers: Vec<Report>,
    refused: bool,
    lacking: bool,
}

impl Pods {
    /// Of pods with these `ages`; the ones of a whole `window` are old. `random` gives any number.
    pub fn new(ages: &[Duration], window: Duration, random: impl FnMut() -> u64) -> Self {
        let all = u32::try_from(ages.len()).unwrap_or(u32::MAX);
        let sample = sample_size(all) as usize;
        let (mut old, mut young): (Vec<usize>, Vec<usize>) =
            (0..ages.len()).partition(|index| ages[*index] >= window);
        if old.len() < sample {
            shuffle(&mut young, random);
        } else {
            shuffle(&mut old, random);
        }
        old.append(&mut young);
        Self {
            candidates: old.into(),
            all,
            sample,
            answers: Vec::with_capacity(sample),
            refused: false,
            lacking: false,
        }
    }

    /// How many to ask side by side.
    pub fn at_once(&self) -> usize {
        self.sample
    }

    /// Index of the next pod to ask.
    pub fn next_pod(&mut self) -> Option<usize> {
        let next = self.candidates.pop_front();
        self.lacking |= next.is_none();
        next
    }

    /// A pod gave its figures.
    pub fn answered(&mut self, report: Report) {
        self.answers.push(report);
    }

    /// A pod did not.
    pub fn refused(&mut self, why: Refused) {
        self.refused |= why == Refused::Other;
    }

    /// What all pods report together, once every attempt has ended.
    ///
    /// # Errors
    ///
    /// Too few of them answered.
    pub fn end(self) -> Result<Report, Failed> {
        if !self.lacking && self.answers.len() >= self.sample {
            Ok(extrapolate(&self.answers, self.all))
        } else if self.answers.is_empty() && !self.refused {
            Err(Failed::Unreachable)
        } else {
            Err(Failed::Exhausted)
        }
    }
}

/// Fisher and Yates' way.
fn shuffle(items: &mut [usize], mut random: impl FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        let other = random() % (last as u64 + 1);
        items.swap(last, other as usize);
    }
}

/// One scrape through the Service. Each of [`Service::workers`] asks again until it is told to stop.
#[derive(Clone, Debug)]
pub struct Service {
    all: u32,
    sample: usize,
    window: f64,
    seen: HashSet<String>,
    old: Vec<Report>,
    young: Vec<Report>,
    failed: Option<Failed>,
}

/// One that asks the Service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worker {
    tries: u32,
}

/// What the Service answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<'a> {
    /// Which pod it came from.
    pub pod: &'a str,
    /// How long that pod has been up, in seconds.
    pub uptime: f64,
    /// Its figures.
    pub report: Report,
}

impl Service {
    /// In front of so many pods; those that are up for a whole `window` are old.
    pub fn new(pods: u32, window: Duration) -> Self {
        Self {
            all: pods,
            sample: sample_size(pods) as usize,
            window: window.as_secs_f64(),
            seen: HashSet::new(),
            old: Vec::new(),
            young: Vec::new(),
            failed: None,
        }
    }

    /// How many ask side by side.
    pub fn workers(&self) -> usize {
        self.sample
    }

    /// Takes what a worker heard. Returns whether it has to ask again.
    pub fn heard(&mut self, worker: &mut Worker, answer: Option<Answer<'_>>) -> bool {
        worker.tries += 1;
        let failure = match &answer {
            None => Some(Failed::Transport),
            Some(answer) if self.seen.contains(answer.pod) => Some(Failed::NoUnseenPod),
            Some(_) => None,
        };
        if let Some(failure) = failure {
            if worker.tries < TRIES {
                return true;
            }
            self.failed = self.failed.or(Some(failure));
            return false;
        }
        let Some(answer) = answer else { return false };
        self.seen.insert(answer.pod.to_owned());
        if answer.uptime >= self.window {
            self.old.push(answer.report);
            return false;
        }
        if self.young.len() >= self.sample {
            return false;
        }
        self.young.push(answer.report);
        true
    }

    /// What all pods report together, once every worker has stopped.
    ///
    /// # Errors
    ///
    /// A worker had to give up.
    pub fn end(mut self) -> Result<Report, Failed> {
        let enough = self.old.len() + self.young.len() >= self.sample;
        match self.failed {
            Some(Failed::NoUnseenPod) if enough => {}
            Some(failed) => return Err(failed),
            None => {}
        }
        self.old.append(&mut self.young);
        self.old.truncate(self.sample);
        Ok(extrapolate(&self.old, self.all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(pods: usize) -> Vec<Duration> {
        vec![Duration::from_secs(60); pods]
    }

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn a_pod_that_refuses_is_replaced_by_another() {
        let mut pods = Pods::new(&old(5), WINDOW, || 0);
        let first: Vec<usize> = (0..pods.at_once())
            .filter_map(|_| pods.next_pod())
            .collect();
        assert_eq!(first.len(), 4);
        for _ in 0..3 {
            pods.answered(concurrency(4.0));
        }
        pods.refused(Refused::Other);
        assert!(pods.next_pod().is_some());
        pods.answered(concurrency(4.0));
        assert_eq!(pods.end(), Ok(concurrency(20.0)));
    }

    #[test]
    fn another_sample_is_taken_each_time() {
        let mut seed = 7_u64;
        let mut sample = || {
            let random = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 33
            };
            let mut pods = Pods::new(&old(30), WINDOW, random);
            (0..pods.at_once())
                .filter_map(|_| pods.next_pod())
                .collect::<Vec<_>>()
        };
        assert_ne!(sample(), sample());
    }

    #[test]
    fn modes_are_read_in_any_case() {
        assert_eq!(Mesh::named("Enabled"), Mesh::Enabled);
        assert_eq!(Mesh::named("DISABLED"), Mesh::Disabled);
        assert_eq!(Mesh::named("perhaps"), Mesh::Auto);
    }

    fn concurrency(average_concurrency: f64) -> Report {
        Report {
            average_concurrency,
            ..Report::default()
        }
    }
}
