//! The status of a PodAutoscaler: what it says of how a revision stands, and back.
//!
//! Source: spec/autoscaler.md §7, steps 1, 6 and 7.

use std::time::SystemTime;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use penstock_cluster::{Standing, Way, Wish};
use penstock_types::{Activity, Inactive};

use super::objects::{Condition, PodAutoscaler, PodAutoscalerStatus, ServerlessService, condition};

const ACTIVE: &str = "Active";
const INITIALIZED: &str = "ScaleTargetInitialized";
const PATH_READY: &str = "SKSReady";
const READY: &str = "Ready";
/// Condition of an SKS: all requests come by activators.
const BY_ACTIVATORS: &str = "ActivatorEndpointsPopulated";

/// What the cluster remembers. `domain` is that of its Services.
pub(super) fn standing(
    pa: &PodAutoscaler,
    sks: Option<&ServerlessService>,
    domain: &str,
) -> Standing {
    let conditions = &pa.status.conditions;
    let active = condition(conditions, ACTIVE);
    let created = pa.metadata.creation_timestamp.as_ref();
    let since = active.and_then(|it| it.last_transition_time.as_ref());
    Standing {
        activity: activity(active),
        since: since.or(created).map_or(SystemTime::UNIX_EPOCH, moment),
        initialized: condition(conditions, INITIALIZED).is_some_and(Condition::is_true),
        way: sks.and_then(|sks| way(pa, sks, domain)),
        stale: is_stale(pa, sks),
    }
}

/// Whether the status says something else of the path than the path itself does by now. A status
/// that says nothing of it yet is not stale.
fn is_stale(pa: &PodAutoscaler, sks: Option<&ServerlessService>) -> bool {
    let path = sks.filter(|sks| sks.status.private_service().is_some());
    let is = path_ready(path);
    let told = condition(&pa.status.conditions, PATH_READY);
    told.is_some_and(|told| told.status != is.status || told.message != is.message)
}

fn activity(active: Option<&Condition>) -> Activity {
    let Some(active) = active else {
        return Activity::New;
    };
    match (active.status.as_str(), active.reason.as_str()) {
        ("True", _) => Activity::Active,
        ("False", "TimedOut") => Activity::Inactive(Inactive::TimedOut),
        ("False", _) => Activity::Inactive(Inactive::NoTraffic),
        (_, "") => Activity::New,
        _ => Activity::Activating,
    }
}

/// The way of requests, once there is one to the pods.
fn way(pa: &PodAutoscaler, sks: &ServerlessService, domain: &str) -> Option<Way> {
    sks.status.private_service()?;
    let by_activators = condition(&sks.status.conditions, BY_ACTIVATORS);
    let namespace = sks.metadata.namespace.as_deref().unwrap_or_default();
    let port = if pa.spec.protocol_type == "h2c" {
        81
    } else {
        80
    };
    Some(Way {
        proxied: sks.spec.mode == PROXY,
        proxied_since: by_activators
            .filter(|it| it.is_true())
            .and_then(|it| it.last_transition_time.as_ref())
            .map(moment),
        public: sks
            .status
            .public_service()
            .map(|name| format!("{name}.{namespace}.svc.{domain}:{port}").into()),
    })
}

/// Mode of an SKS whose requests come by activators.
pub(super) const PROXY: &str = "Proxy";
/// Mode of an SKS whose requests go to the pods.
pub(super) const SERVE: &str = "Serve";

/// The same moment as the standard library has it.
pub(super) fn moment(time: &Time) -> SystemTime {
    SystemTime::from(time.0)
}

/// What is wrong with an object that this revision's would have the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOwned<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
}

/// The status that says what is wished, as of `now`. `sks` is as it is known after it was written.
pub(super) fn status(
    pa: &PodAutoscaler,
    sks: Option<&ServerlessService>,
    wish: &Wish,
    not_owned: Option<NotOwned<'_>>,
    now: Timestamp,
) -> PodAutoscalerStatus {
    let before = &pa.status;
    let path = sks.filter(|sks| sks.status.private_service().is_some());
    let active = match not_owned {
        Some(NotOwned { kind, name }) => Said {
            status: "False",
            reason: "NotOwned",
            message: format!("There is an existing {kind} {name:?} that we do not own."),
        },
        None => active(wish.activity),
    };
    let initialized = Said::plain(if wish.initialized { "True" } else { "Unknown" });
    let path_ready = path_ready(path);
    let ready = together([&active, &initialized, &path_ready]);
    let conditions = [
        (ACTIVE, active),
        (READY, ready),
        (PATH_READY, path_ready),
        (INITIALIZED, initialized),
    ];
    let named =
        |name: Option<&str>, before: &String| name.map_or_else(|| before.clone(), str::to_owned);
    PodAutoscalerStatus {
        observed_generation: pa.metadata.generation,
        conditions: conditions
            .into_iter()
            .map(|(kind, said)| said.after(condition(&before.conditions, kind), kind, now))
            .collect(),
        service_name: named(
            path.and_then(|sks| sks.status.public_service()),
            &before.service_name,
        ),
        metrics_service_name: named(
            path.and_then(|sks| sks.status.private_service()),
            &before.metrics_service_name,
        ),
        // Not knowing how many overwrites only not knowing how many.
        desired_scale: match (wish.wanted, before.desired_scale) {
            (Some(pods), _) => Some(whole(pods)),
            (None, Some(before)) if before >= 0 => Some(before),
            (None, _) => Some(-1),
        },
        actual_scale: Some(whole(wish.ready)),
    }
}

fn whole(pods: u32) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}

/// What a condition says.
#[derive(Clone, Debug)]
struct Said {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Said {
    fn plain(status: &'static str) -> Self {
        Self {
            status,
            reason: "",
            message: String::new(),
        }
    }

    /// The condition: of the time of the last one if that said the same.
    fn after(self, before: Option<&Condition>, kind: &str, now: Timestamp) -> Condition {
        let same = before.filter(|it| {
            it.status == self.status && it.reason == self.reason && it.message == self.message
        });
        let since = same.and_then(|it| it.last_transition_time.clone());
        Condition {
            kind: kind.to_owned(),
            status: self.status.to_owned(),
            severity: String::new(),
            last_transition_time: since.or_else(|| Some(Time(seconds(now)))),
            reason: self.reason.to_owned(),
            message: self.message,
        }
    }
}

/// Times of conditions are kept in whole seconds.
pub(super) fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn active(activity: Activity) -> Said {
    let (status, reason, message) = match activity {
        Activity::New => ("Unknown", "", ""),
        Activity::Activating => (
            "Unknown",
            "Queued",
            "Requests to the target are being buffered as resources are provisioned.",
        ),
        Activity::Active => ("True", "", ""),
        Activity::Inactive(Inactive::NoTraffic) => {
            ("False", "NoTraffic", "The target is not receiving traffic.")
        }
        Activity::Inactive(Inactive::TimedOut) => {
            ("False", "TimedOut", "The target could not be activated.")
        }
    };
    Said {
        status,
        reason,
        message: message.to_owned(),
    }
}

fn path_ready(path: Option<&ServerlessService>) -> Said {
    let not_ready = |message: String| Said {
        status: "Unknown",
        reason: "NotReady",
        message,
    };
    let Some(sks) = path else {
        return not_ready("No Private Service Name".to_owned());
    };
    match condition(&sks.status.conditions, READY) {
        Some(ready) if ready.is_true() => Said::plain("True"),
        ready => not_ready(ready.map_or_else(String::new, |it| it.message.clone())),
    }
}

/// All of them: what is false decides, then what is open, and says why.
fn together(all: [&Said; 3]) -> Said {
    let first = |status| all.into_iter().find(|said| said.status == status);
    let decides = first("False").or_else(|| first("Unknown"));
    decides.cloned().unwrap_or_else(|| Said::plain("True"))
}

#[cfg(test)]
mod tests;
