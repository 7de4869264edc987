//! The arguments of `penstock simulate`. What they mean is read in [`super::plan`], so that all
//! mistakes are told at once.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use penstock_autoscaler::PolicyKind;

use super::traffic::Spacing;

/// After the options: shapes, times, and what to do first.
const MORE: &str = "\
Shapes, with what they take and its default:
  steady   rps=50
  step     from=50,to=75,at=(a third of the length)
  ramp     from=10,to=100,at=(a sixth),over=(half of it)
  spike    base=10,peak=200,at=(a third),lasts=10s
  sine     low=10,high=100,period=(half of the length)
  poisson  rps=50, by chance
  on-off   rps=100,on=30s,off=90s

Times (--work, --pod-start, --node-start):
  200ms                  always the same
  uniform:100ms,300ms    anything in between
  exp:200ms              exponential, of this mean
  lognormal:200ms,900ms  of this median and 99th percentile

Examples:
  penstock simulate --shape step:from=50,to=100 --work 100ms
  penstock simulate hello.yaml --traffic day.csv --set target=20 --chart day.svg
  penstock simulate hello.yaml --config config-autoscaler.yaml --shape on-off \\
      --set window=30s --pod-start lognormal:2s,8s --compare demand";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(crate) struct SimulateArgs {
    /// Manifests, as for `up`; - reads standard input. Without any: a service without annotations
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Which service or configuration of the manifests, if there are several
    #[arg(long, value_name = "NAME", help_heading = "Service")]
    pub(crate) service: Option<String>,
    /// Settings of the autoscaler, as for `up`. Unlike in Knative, initial-scale is 0 if it is
    /// not set
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pub(crate) config: Option<PathBuf>,
    /// Annotation to try, in place of the manifest's: target=50 or autoscaling.knative.dev/target=50.
    /// Repeatable
    #[arg(long, value_name = "ANNOTATION=VALUE", help_heading = "Service")]
    pub(crate) set: Vec<String>,
    /// containerConcurrency to try, in place of the manifest's; 0 for no limit
    #[arg(long, value_name = "N", help_heading = "Service")]
    pub(crate) concurrency: Option<String>,
    /// Trace: CSV with the columns seconds,rps[,duration_ms], or counts per minute with those of the
    /// Azure Functions trace
    #[arg(long, value_name = "FILE", help_heading = "Traffic")]
    pub(crate) traffic: Option<PathBuf>,
    /// Function of an Azure trace, by the beginning of its hash
    #[arg(long, value_name = "HASH", help_heading = "Traffic")]
    pub(crate) function: Option<String>,
    /// Synthetic traffic, such as step or step:from=50,to=100,at=5m; see below
    #[arg(long, value_name = "SHAPE", help_heading = "Traffic")]
    pub(crate) shape: Option<String>,
    /// Length of the traffic [default: all of a trace, 10m of a shape]
    #[arg(long, value_name = "TIME", help_heading = "Traffic")]
    pub(crate) length: Option<String>,
    /// How requests arrive within a stretch of the same rate [default: random for traces and
    /// poisson, else even]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Traffic")]
    pub(crate) arrivals: Option<Arrivals>,
    /// Time that a pod works on a request, where the trace does not say [default: exp:200ms]
    #[arg(long, value_name = "TIME", help_heading = "Pods")]
    pub(crate) work: Option<String>,
    /// Requests that a pod really works on at once; more of them wait inside it [default: all that it
    /// is given]
    #[arg(long, value_name = "N", help_heading = "Pods")]
    pub(crate) capacity: Option<String>,
    /// Time from asking for a pod to its readiness
    #[arg(long, value_name = "TIME", default_value = "2s", help_heading = "Pods")]
    pub(crate) pod_start: String,
    /// Pods that are ready at the beginning
    #[arg(
        long,
        value_name = "N",
        default_value = "0",
        allow_hyphen_values = true,
        help_heading = "Pods"
    )]
    pub(crate) pods: String,
    /// Pods that fit on a node; without it there is always room
    #[arg(long, value_name = "N", help_heading = "Pods")]
    pub(crate) node_pods: Option<String>,
    /// Nodes that are there at the beginning [default: 1]
    #[arg(long, value_name = "N", help_heading = "Pods")]
    pub(crate) nodes: Option<String>,
    /// Time from the first pod without room to another node [default: 60s]
    #[arg(long, value_name = "TIME", help_heading = "Pods")]
    pub(crate) node_start: Option<String>,
    /// Policies to run, side by side
    #[arg(
        long,
        value_name = "POLICIES",
        default_value = "knative,demand",
        help_heading = "Output"
    )]
    pub(crate) compare: String,
    /// Number that all chance comes from: the same one gives the same result, to the byte
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Output")]
    pub(crate) seed: String,
    /// Where to write the chart; .svg, or .html with the table beside it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) chart: Option<PathBuf>,
    /// Also tells every change of scale, with its reason
    #[arg(long, help_heading = "Output")]
    pub(crate) decisions: bool,
}

/// How requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// As far apart as can be
    Even,
    /// By chance
    Random,
}

impl From<Arrivals> for Spacing {
    fn from(arrivals: Arrivals) -> Self {
        match arrivals {
            Arrivals::Even => Self::Even,
            Arrivals::Random => Self::Random,
        }
    }
}

/// The policies that `text` names, in its order.
pub(super) fn policies(text: &str) -> Option<Vec<PolicyKind>> {
    let all = [PolicyKind::Knative, PolicyKind::Demand];
    let mut policies = Vec::new();
    for name in text.split(',') {
        let policy = all.into_iter().find(|policy| policy.as_str() == name)?;
        if policies.contains(&policy) {
            return None;
        }
        policies.push(policy);
    }
    Some(policies)
}
