//! How a revision stands, as annotations of its Service.
//!
//! They are what an autoscaler that starts anew goes on from. What cannot be read there counts as
//! not written: the worst is that a revision is taken for a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use penstock_cluster::{Standing, Way};
use penstock_types::{Activity, Inactive};

use crate::object::{system_time, timestamp};

const ACTIVITY: &str = "penstock.dev/activity";
const SINCE: &str = "penstock.dev/activity-since";
const INITIALIZED: &str = "penstock.dev/initialized";
const PROXIED: &str = "penstock.dev/proxied";
const PROXIED_SINCE: &str = "penstock.dev/proxied-since";

/// The same as annotations; `None` takes one away.
pub(crate) type Notes = BTreeMap<&'static str, Option<String>>;

/// What to write down of `standing`.
pub(crate) fn notes(standing: &Standing) -> Notes {
    let time = |time: SystemTime| timestamp(time).to_string();
    let way = standing.way.as_ref();
    let since = way.and_then(|way| way.proxied_since);
    BTreeMap::from([
        (ACTIVITY, Some(word(standing.activity).to_owned())),
        (SINCE, Some(time(standing.since))),
        (INITIALIZED, Some(standing.initialized.to_string())),
        (PROXIED, way.map(|way| way.proxied.to_string())),
        (PROXIED_SINCE, since.map(time)),
    ])
}

/// Whether `annotations` say that already.
pub(crate) fn says(annotations: &BTreeMap<String, String>, notes: &Notes) -> bool {
    notes
        .iter()
        .all(|(key, value)| annotations.get(*key) == value.as_ref())
}

/// Reads what was written down. `public` is where clients reach the revision. Without anything
/// written it is new since `created`.
pub(crate) fn read(
    annotations: &BTreeMap<String, String>,
    public: Option<Arc<str>>,
    created: Option<Timestamp>,
) -> Standing {
    let created = created.and_then(system_time);
    let created = created.unwrap_or(SystemTime::UNIX_EPOCH);
    let activity = annotations.get(ACTIVITY).and_then(|text| activity(text));
    let way = annotations.get(PROXIED).map(|proxied| Way {
        proxied: proxied == "true",
        proxied_since: time(annotations, PROXIED_SINCE),
        public,
    });
    Standing {
        activity: activity.unwrap_or(Activity::New),
        since: time(annotations, SINCE).unwrap_or(created),
        initialized: annotations.get(INITIALIZED).is_some_and(|is| is == "true"),
        way,
        stale: false,
    }
}

fn time(annotations: &BTreeMap<String, String>, key: &str) -> Option<SystemTime> {
    system_time(annotations.get(key)?.parse().ok()?)
}

fn word(activity: Activity) -> &'static str {
    match activity {
        Activity::New => "New",
        Activity::Activating => "Activating",
        Activity::Active => "Active",
        Activity::Inactive(Inactive::NoTraffic) => "NoTraffic",
        Activity::Inactive(Inactive::TimedOut) => "TimedOut",
    }
}

fn activity(word: &str) -> Option<Activity> {
    Some(match word {
        "New" => Activity::New,
        "Activating" => Activity::Activating,
        "Active" => Activity::Active,
        "NoTraffic" => Activity::Inactive(Inactive::NoTraffic),
        "TimedOut" => Activity::Inactive(Inactive::TimedOut),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_written_down_is_read_again() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let public: Arc<str> = "a.b.svc:80".into();
        let ways = [
            None,
            Some(Way {
                proxied: true,
                proxied_since: Some(at(1_700_000_000_123)),
                public: Some(Arc::clone(&public)),
            }),
            Some(Way {
                proxied: false,
                proxied_since: None,
                public: Some(Arc::clone(&public)),
            }),
        ];
        let activities = [
            Activity::New,
            Activity::Activating,
            Activity::Active,
            Activity::Inactive(Inactive::NoTraffic),
            Activity::Inactive(Inactive::TimedOut),
        ];
        for way in ways {
            for activity in activities {
                let standing = Standing {
                    activity,
                    since: at(1_700_000_000_456),
                    initialized: activity == Activity::Active,
                    way: way.clone(),
                    stale: false,
                };
                let notes = notes(&standing);
                let written = notes
                    .iter()
                    .filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)))
                    .collect();
                assert!(says(&written, &notes));
                assert_eq!(read(&written, Some(Arc::clone(&public)), None), standing);
            }
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_not_written() {
        let wrong = [ACTIVITY, SINCE, INITIALIZED, PROXIED_SINCE];
        let wrong = wrong.map(|key| (key.to_owned(), "?".to_owned()));
        let created: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let standing = read(&wrong.into(), None, Some(created));
        assert_eq!(standing.activity, Activity::New);
        assert_eq!(standing.since, system_time(created).unwrap());
        assert!(!standing.initialized && standing.way.is_none());
    }
}
