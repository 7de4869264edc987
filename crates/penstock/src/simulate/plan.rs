//! From arguments and files to what is to be simulated, or to all that is wrong with them.

use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use penstock_autoscaler::PolicyKind;
use penstock_runtime::vars::go::duration;
use penstock_scaling::annotation::{self, validate_alone};
use penstock_scaling::config::Config;
use penstock_scaling::spec::Spec;
use penstock_serving::{Configuration, Manifests};
use penstock_types::annotation::{AUTOSCALING, Annotations};
use penstock_types::{Reachability, Slots, Timeouts};

use super::args::{SimulateArgs, policies};
use super::chance::{TIME_FORM, Time};
use super::chart::Form;
use super::model::{Nodes, PodRules, Setup};
use super::traffic::{MOST_SECONDS, SECOND, Spacing, Traffic, micros, minutes, rates, shape};
use crate::up::images::Images;
use crate::up::input::Input;

/// Most that is read of a trace, in bytes: a day of all functions of Azure's has some 150 MB.
const MOST_BYTES: u64 = 512 << 20;
/// Length of a shape.
const LENGTH: Duration = Duration::from_secs(600);
/// Most pods and nodes that may be named: beyond, it is a slip.
const MOST_PODS: u32 = 100_000;
/// How long requests take if nobody says it.
const WORK: Time = Time::Exponential(Duration::from_millis(200));
/// How long nodes take if nobody says it.
const NODE_START: Time = Time::Fixed(Duration::from_secs(60));

/// What is to be simulated.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The service, for the head of the table.
    pub(crate) service: String,
    pub(crate) setup: Setup,
    pub(crate) traffic: Traffic,
    pub(crate) policies: Vec<PolicyKind>,
    pub(crate) chart: Option<(PathBuf, Form)>,
}

/// The service, and what it says of its scaling.
struct Subject {
    name: String,
    annotations: Annotations,
    slots: Slots,
    timeouts: Timeouts,
}

/// The mistakes so far.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Plan {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// One sentence for each mistake in the arguments and in each file.
    pub(crate) fn read(args: &SimulateArgs) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let (subject, config) = mistakes.subject(args);
        let traffic = mistakes.traffic(args);
        let pods = mistakes.pods(args);
        let policies = policies(&args.compare).unwrap_or_else(|| {
            let text = &args.compare;
            mistakes.add(format!(
                "--compare {text}: it must be knative, demand, or both with a comma in between"
            ));
            Vec::new()
        });
        let seed = mistakes.parsed("--seed", &args.seed, "a whole number", u64::from_str);
        let chart = args.chart.as_ref().and_then(|path| {
            let form = Form::of(path);
            if form.is_none() {
                let path = path.display();
                mistakes.add(format!(
                    "--chart {path}: its name must end in .svg or .html"
                ));
            }
            Some((path.clone(), form?))
        });
        let spec = Spec::derive(
            &config,
            &subject.annotations,
            subject.slots,
            Reachability::Reachable,
        );
        let Timeouts {
            whole,
            response_start,
            idle,
        } = subject.timeouts;
        let limits = [response_start, idle].into_iter().flatten();
        let setup = Setup {
            spec,
            slots: subject.slots,
            patience: limits.fold(whole, Ord::min),
            pods,
            seed: seed.unwrap_or_default(),
            decisions: args.decisions,
        };
        match traffic {
            Some(traffic) if mistakes.0.is_empty() => Ok(Self {
                service: subject.name,
                setup,
                traffic,
                policies,
                chart,
            }),
            _ => Err(mistakes.0),
        }
    }
}

impl Mistakes {
    fn add(&mut self, sentence: impl Display) {
        self.0.push(sentence.to_string());
    }

    /// `text` as `parse` reads it; else "it must be `right`".
    fn parsed<T, E>(
        &mut self,
        flag: &str,
        text: &str,
        right: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(text).ok();
        if parsed.is_none() {
            self.add(format!("{flag} {text}: it must be {right}"));
        }
        parsed
    }

    fn time(&mut self, flag: &str, text: Option<&str>, default: Time) -> Time {
        let given = text.and_then(|text| self.parsed(flag, text, TIME_FORM, Time::from_str));
        given.unwrap_or(default)
    }

    fn count(&mut self, flag: &str, text: Option<&str>, least: u32) -> Option<u32> {
        let right = format!("a whole number from {least} to {MOST_PODS}");
        self.parsed(flag, text?, &right, |text| {
            text.parse()
                .ok()
                .filter(|count| (least..=MOST_PODS).contains(count))
                .ok_or(())
        })
    }

    fn subject(&mut self, args: &SimulateArgs) -> (Subject, Config) {
        let images = Images::new(Vec::new(), PathBuf::new());
        let mut input = Input::new(&args.files, args.config.as_ref(), images);
        let (manifests, config) = match input.read_only() {
            Ok(wanted) => (Some(wanted.manifests), wanted.config.as_ref().clone()),
            Err(mistakes) => {
                self.0.extend(mistakes);
                (None, Config::default())
            }
        };
        let known = manifests.is_some();
        let mut subject = match manifests.and_then(|manifests| self.choose(args, &manifests)) {
            Some(configuration) => Subject {
                name: configuration.key.to_string(),
                annotations: configuration.template.annotations,
                slots: configuration.template.slots,
                timeouts: configuration.template.timeouts,
            },
            None => Subject {
                name: "a service without annotations".to_owned(),
                annotations: Annotations::new(),
                slots: Slots::Unlimited,
                timeouts: Timeouts::default(),
            },
        };
        for pair in &args.set {
            self.set(&mut subject.annotations, pair);
        }
        // Against the settings of a file that could not be read, all else may look wrong.
        if known {
            for rejected in validate_alone(&subject.annotations, &config) {
                self.add(format!(
                    "--set {}: {}",
                    rejected.keys.join(", "),
                    rejected.reason
                ));
            }
        }
        if let Some(text) = &args.concurrency {
            let right = "a whole number from 0 to 1000";
            let limit = self.parsed("--concurrency", text, right, |text| {
                text.parse().ok().filter(|limit| *limit <= 1000).ok_or(())
            });
            subject.slots = Slots::from_concurrency(limit.unwrap_or(0));
        }
        (subject, config)
    }

    /// The configuration that is meant.
    fn choose(&mut self, args: &SimulateArgs, manifests: &Manifests) -> Option<Configuration> {
        let all = &manifests.configurations;
        let names = || {
            let names: Vec<&str> = all.iter().map(|one| one.key.name.as_str()).collect();
            names.join(", ")
        };
        let fits = |one: &&Configuration| {
            let wanted = args.service.as_deref();
            wanted.is_none_or(|wanted| one.key.name == wanted || one.key.to_string() == wanted)
        };
        let mut fitting = all.iter().filter(fits);
        match (fitting.next(), fitting.next(), &args.service) {
            (Some(one), None, _) => return Some(one.clone()),
            (None, _, None) if args.files.is_empty() => {}
            (None, _, None) => self.add("the manifests have no service; name a file that has one"),
            (None, _, Some(name)) if all.is_empty() => self.add(format!(
                "--service {name}: there is no service; name the file that has it"
            )),
            (None, _, Some(name)) => self.add(format!(
                "--service {name}: there is none of that name; there are {}",
                names()
            )),
            (Some(_), Some(_), _) => self.add(format!(
                "the manifests have several services ({}); name one with --service",
                names()
            )),
        }
        None
    }

    fn set(&mut self, annotations: &mut Annotations, pair: &str) {
        let Some((name, value)) = pair.split_once('=') else {
            self.add(format!(
                "--set {pair}: it must be ANNOTATION=VALUE, such as target=50"
            ));
            return;
        };
        let long = if name.contains('/') {
            name.to_owned()
        } else {
            format!("{AUTOSCALING}{name}")
        };
        if annotation::names().any(|known| known == long) {
            annotations.insert(long, value.to_owned());
            return;
        }
        let short: Vec<&str> = annotation::names()
            .map(|known| known.strip_prefix(AUTOSCALING).unwrap_or(known))
            .collect();
        self.add(format!(
            "--set {pair}: the autoscaler reads no annotation {name:?}; it reads {}",
            short.join(", ")
        ));
    }

    fn traffic(&mut self, args: &SimulateArgs) -> Option<Traffic> {
        let work = self.time("--work", args.work.as_deref(), WORK);
        let right = "a time of whole seconds up to 744h, such as 90s or 1h30m";
        let length = args.length.as_deref().and_then(|text| {
            self.parsed("--length", text, right, |text| {
                duration(text)
                    .filter(|time| time.subsec_nanos() == 0)
                    .filter(|time| (1..=MOST_SECONDS).contains(&time.as_secs()))
                    .ok_or(())
            })
        });
        let mut traffic = match (&args.traffic, &args.shape) {
            (Some(path), None) => self.trace(args, path, work)?,
            (None, Some(text)) => {
                if args.function.is_some() {
                    self.add("--function is for --traffic; a shape has no functions");
                }
                let read = shape::read(text, length.unwrap_or(LENGTH), work);
                read.map_err(|mistakes| self.0.extend(mistakes)).ok()?
            }
            (Some(_), Some(_)) => {
                self.add("--traffic and --shape exclude each other; keep one");
                return None;
            }
            (None, None) => {
                self.add(
                    "there is no traffic; name a trace with --traffic or a --shape such as step",
                );
                return None;
            }
        };
        if let Some(length) = length {
            traffic.cut(micros(length));
        }
        if let Some(arrivals) = args.arrivals {
            traffic.spacing = arrivals.into();
        }
        if traffic.end() > MOST_SECONDS * SECOND {
            self.add("the traffic is longer than a month; cut it with --length");
        }
        Some(traffic)
    }

    fn trace(&mut self, args: &SimulateArgs, path: &Path, work: Time) -> Option<Traffic> {
        let name = path.display().to_string();
        let mut text = String::new();
        let file = File::open(path);
        match file.and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text)) {
            Ok(length) if length as u64 > MOST_BYTES => {
                self.add(format!("{name} is longer than 512 MiB; cut it into days"));
                return None;
            }
            Ok(_) => {}
            Err(error) => {
                let reason = crate::up::input::reason(&error);
                self.add(format!("cannot read {name}: {reason}"));
                return None;
            }
        }
        let function = args.function.as_deref();
        let stretches = if minutes::is_this(&text) {
            minutes::read(&name, &text, function, work)
        } else {
            if function.is_some() {
                self.add(format!("--function: {name} is no trace of functions"));
            }
            rates::read(&name, &text, work).map(|rates| {
                if rates.timed && args.work.is_some() {
                    self.add(format!(
                        "--work: {name} says itself how long requests take, in duration_ms; keep one"
                    ));
                }
                rates.stretches
            })
        };
        let stretches = stretches.map_err(|mistakes| self.0.extend(mistakes)).ok()?;
        Some(Traffic {
            name: path
                .file_name()
                .map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned()),
            stretches,
            spacing: Spacing::Random,
        })
    }

    fn pods(&mut self, args: &SimulateArgs) -> PodRules {
        let start = self.parsed("--pod-start", &args.pod_start, TIME_FORM, Time::from_str);
        let begin = self.count("--pods", Some(&args.pods), 0);
        let capacity = self.count("--capacity", args.capacity.as_deref(), 1);
        let on_node = self.count("--node-pods", args.node_pods.as_deref(), 1);
        let nodes = self.count("--nodes", args.nodes.as_deref(), 0);
        let node_start = self.time("--node-start", args.node_start.as_deref(), NODE_START);
        if args.node_pods.is_none() {
            for (flag, given) in [
                ("--nodes", args.nodes.is_some()),
                ("--node-start", args.node_start.is_some()),
            ] {
                if given {
                    self.add(format!(
                        "{flag}: say with --node-pods how many pods fit on a node"
                    ));
                }
            }
        }
        PodRules {
            begin: begin.unwrap_or(0),
            start: start.unwrap_or(WORK),
            capacity,
            nodes: on_node.map(|pods| Nodes {
                pods,
                begin: nodes.unwrap_or(1),
                start: node_start,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
