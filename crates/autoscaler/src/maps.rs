//! What the ConfigMaps say that the autoscaler reads.
//!
//! | Map | What for | Read |
//! |---|---|---|
//! | `config-autoscaler` | all parameters of scaling | live |
//! | `config-deployment` | `progress-deadline` | live |
//! | `config-logging` | how lines are laid out; the level | at the start; live |
//! | `config-network` | whether a mesh is in the way of the pods | at the start |
//! | `config-observability` | whether metrics are pushed, and where to | at the start |
//! | `config-leader-election` | how many buckets, and how long a lease lasts | at the start |
//!
//! What is wrong at the start is fatal. Later the last good values stay, and it is said once.
//!
//! Metrics can be scraped on port 9090 whatever `metrics-protocol` says, for `/explain` and the probes
//! are there, too. Spans there are none, and profiles neither: who asks for them is told.
//!
//! Source: spec/autoscaler.md §1, §4.5 and §4.6.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_runtime::log::{LiveFilter, Logging};
use penstock_runtime::observability::{Observability, unread};
use penstock_runtime::vars::{BadVars, Vars, go, parsed};
use penstock_scaling::bucket;
use penstock_scaling::config::Config;
use penstock_scaling::scrape::Mesh;
use tokio::sync::watch;

/// The entries of one ConfigMap.
pub type Map = BTreeMap<String, String>;

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub enum BadMap {
    /// Every value of `config-autoscaler` that is wrong.
    #[error("config-autoscaler: {0}")]
    Autoscaler(String),
    /// Every value of another map that is wrong.
    #[error("{0}")]
    Other(#[from] BadVars),
}

/// The parameters of scaling.
///
/// # Errors
///
/// Every value that is wrong.
pub fn config(autoscaler: &Map, deployment: &Map) -> Result<Config, BadMap> {
    let config = Config::from_map(autoscaler).map_err(|bad| {
        let all: Vec<String> = bad.iter().map(ToString::to_string).collect();
        BadMap::Autoscaler(all.join("; "))
    })?;
    let mut vars = within(deployment);
    let progress_deadline = vars.read(
        "config-deployment progress-deadline",
        config.progress_deadline,
        "a time in whole seconds, such as 600s",
        |text| {
            let time = go::duration(text).filter(|time| !time.is_zero())?;
            (time.subsec_nanos() == 0).then_some(time)
        },
    );
    Ok(vars.finish(Config {
        progress_deadline,
        ..config
    })?)
}

/// The elections, as `config-leader-election` wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// Number of buckets.
    pub buckets: u32,
    /// Time without renewal after which somebody else may take a lease.
    pub lease: Duration,
    /// Time without a successful renewal after which the holder gives up.
    pub renew: Duration,
    /// Time between two renewals.
    pub retry: Duration,
}

impl Election {
    /// Reads `config-leader-election`.
    ///
    /// # Errors
    ///
    /// Every value that is wrong.
    pub fn read(map: &Map) -> Result<Self, BadVars> {
        let mut vars = within(map);
        let time = |text: &str| go::duration(text).filter(|time| !time.is_zero());
        let mut read = |name, default| {
            let default = Duration::from_secs(default);
            vars.read(name, default, "a time, such as 60s", time)
        };
        let (lease, renew, retry) = (
            read("config-leader-election lease-duration", 60),
            read("config-leader-election renew-deadline", 40),
            read("config-leader-election retry-period", 10),
        );
        let many = |text: &str| parsed(text).filter(|it| (1..=bucket::MOST).contains(it));
        let name = "config-leader-election buckets";
        let buckets = vars.read(name, 1, "a whole number from 1 to 10", many);
        let mut below = |name, less: Duration, more: (&str, Duration)| {
            if less >= more.1 {
                let wanted = format!("less than {}, which is {:?}", more.0, more.1);
                vars.reject(name, Some(format!("{less:?}")), wanted);
            }
        };
        below(
            "config-leader-election renew-deadline",
            renew,
            ("lease-duration", lease),
        );
        below(
            "config-leader-election retry-period",
            retry,
            ("renew-deadline", renew),
        );
        vars.finish(Self {
            buckets,
            lease,
            renew,
            retry,
        })
    }
}

/// Whether a mesh is in the way of single pods, and whether it lets requests for one through.
///
/// # Errors
///
/// Every value that is wrong.
pub fn mesh(network: &Map) -> Result<(Mesh, bool), BadVars> {
    let mut vars = within(network);
    let passthrough = vars.read(
        "config-network enable-mesh-pod-addressability",
        false,
        "true or false",
        go::bool,
    );
    let mode = network.get("mesh-compatibility-mode");
    let mode = Mesh::named(mode.map_or("", String::as_str));
    vars.finish((mode, passthrough))
}

/// How the process logs. What is no such configuration counts as none.
pub fn logging(map: &Map) -> Logging {
    let text = |key| map.get(key).map_or("", String::as_str);
    Logging::read(
        text("zap-logger-config"),
        text("loglevel.autoscaler"),
        "autoscaler",
    )
}

/// Keeps `values` what the two maps say, for as long as it is polled.
pub async fn follow(
    mut autoscaler: watch::Receiver<Arc<Map>>,
    mut deployment: watch::Receiver<Arc<Map>>,
    values: watch::Sender<Arc<Config>>,
) {
    let mut last = String::new();
    loop {
        tokio::select! {
            Ok(()) = autoscaler.changed() => {}
            Ok(()) = deployment.changed() => {}
            else => return,
        }
        let read = config(
            &autoscaler.borrow_and_update(),
            &deployment.borrow_and_update(),
        );
        match read {
            Ok(config) => {
                last.clear();
                values.send_if_modified(|known| {
                    let new = **known != config;
                    if new {
                        tracing::info!("the parameters of scaling have changed");
                        *known = Arc::new(config);
                    }
                    new
                });
            }
            Err(bad) => {
                let sentence = bad.to_string();
                if sentence != last {
                    tracing::warn!("the last good values stay: {sentence}");
                    last = sentence;
                }
            }
        }
    }
}

/// Keeps the level of the log what the map says, for as long as it is polled.
pub async fn follow_level(mut map: watch::Receiver<Arc<Map>>, filter: LiveFilter) {
    while map.changed().await.is_ok() {
        let level = logging(&map.borrow_and_update()).level;
        filter.set(level.parse().unwrap_or_default());
    }
}

/// What was asked for and is not there, and what nobody reads; `None` if there is nothing to tell.
pub fn not_there(observability: &Map, read: &Observability) -> Option<String> {
    let spans = read.traces.as_ref().map(|_| "spans of the autoscaler");
    // Where a collector of them is makes no difference.
    let other = Observability {
        traces: None,
        ..read.clone()
    };
    let mut missing = other.missing();
    missing.extend(spans.map(str::to_owned));
    let keys = unread(observability).join(", ");
    let told = [
        (!missing.is_empty()).then(|| format!("asked for, and not there: {}", missing.join("; "))),
        (!keys.is_empty()).then(|| format!("no program reads {keys}")),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| format!("config-observability: {}", told.join("; ")))
}

/// Tells what becomes of changes of `config-observability`, for as long as it is polled: `in_force` is
/// what was read at the start, and stays.
pub async fn follow_observability(
    mut map: watch::Receiver<Arc<Map>>,
    otel: BTreeMap<&'static str, String>,
    in_force: Observability,
) {
    let mut last = String::new();
    while map.changed().await.is_ok() {
        let now = Arc::clone(&map.borrow_and_update());
        let sentence = match Observability::read(&now, &otel) {
            Err(bad) => format!("the last good values stay: {bad}"),
            Ok(read) if read != in_force => {
                "config-observability has changed, for the next start".to_owned()
            }
            Ok(_) => String::new(),
        };
        if sentence != last && !sentence.is_empty() {
            tracing::warn!("{sentence}");
        }
        last = sentence;
    }
}

/// The values of one map, by names that begin with the map's own.
fn within(map: &Map) -> Vars<impl Fn(&str) -> Option<String>> {
    Vars::new(|name: &str| map.get(name.split_once(' ')?.1).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Map {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        entries.iter().map(owned).collect()
    }

    #[test]
    fn the_shipped_maps_are_the_defaults() {
        let example = map(&[("_example", "buckets: nine")]);
        let config = config(&example, &example).unwrap();
        assert_eq!(config, Config::default());
        let election = Election::read(&example).unwrap();
        assert_eq!(election.buckets, 1);
        let times = [election.lease, election.renew, election.retry];
        assert_eq!(times, [60, 40, 10].map(Duration::from_secs));
        assert_eq!(mesh(&example).unwrap(), (Mesh::Auto, false));
    }

    #[test]
    fn the_progress_deadline_stands_in_another_map() {
        let deployment = map(&[("progress-deadline", "90s")]);
        let read = config(&Map::new(), &deployment).unwrap();
        assert_eq!(read.progress_deadline, Duration::from_secs(90));
        for wrong in ["0s", "90", "1.5s", "-3s"] {
            let bad = config(&Map::new(), &map(&[("progress-deadline", wrong)]));
            let bad = bad.unwrap_err().to_string();
            assert!(
                bad.contains("progress-deadline") && bad.contains(wrong),
                "{bad}"
            );
        }
    }

    #[test]
    fn every_mistake_of_a_map_is_told_at_once() {
        let bad = map(&[
            ("buckets", "11"),
            ("lease-duration", "soon"),
            ("renew-deadline", "5s"),
        ]);
        let bad = Election::read(&bad).unwrap_err().to_string();
        for name in ["buckets", "lease-duration", "retry-period"] {
            assert!(bad.contains(name), "{name} in {bad}");
        }
        let bad = map(&[("stable-window", "1s"), ("max-scale", "-7")]);
        let bad = config(&bad, &Map::new()).unwrap_err().to_string();
        assert!(
            bad.contains("stable-window") && bad.contains("max-scale"),
            "{bad}"
        );
    }

    #[tokio::test]
    async fn a_change_is_taken_and_a_wrong_one_leaves_the_last_good_values() {
        let (autoscaler, autoscalers) = watch::channel(Arc::new(Map::new()));
        let (_deployment, deployments) = watch::channel(Arc::new(Map::new()));
        let (values, mut seen) = watch::channel(Arc::new(Config::default()));
        let following = tokio::spawn(follow(autoscalers, deployments, values));
        autoscaler.send_replace(Arc::new(map(&[("stable-window", "50s")])));
        let right = |config: &Arc<Config>| config.stable_window == Duration::from_secs(50);
        seen.wait_for(right).await.unwrap();
        autoscaler.send_replace(Arc::new(map(&[
            ("stable-window", "1s"),
            ("max-scale", "3"),
        ])));
        autoscaler.send_replace(Arc::new(map(&[("max-scale", "7")])));
        let right = |config: &Arc<Config>| config.max_scale == Some(7);
        let last = seen.wait_for(right).await.unwrap().clone();
        assert_eq!(last.stable_window, Duration::from_secs(60));
        following.abort();
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_one_sentence() {
        let told = |entries: &[(&str, &str)]| {
            let map = map(entries);
            not_there(&map, &Observability::read(&map, &BTreeMap::new()).unwrap())
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("metrics-protocol", "prometheus")]), None);
        let all = told(&[
            ("runtime-profiling", "enabled"),
            ("tracing-protocol", "grpc"),
            ("metrics-protokol", "grpc"),
        ]);
        let want = "config-observability: asked for, and not there: profiles on port 8008 (perf can take \
                    them from the node); spans of the autoscaler; no program reads metrics-protokol";
        assert_eq!(all.as_deref(), Some(want));
    }
}
