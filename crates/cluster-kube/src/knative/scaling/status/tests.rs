use std::time::Duration;

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_900).unwrap()
}

fn wish(activity: Activity) -> Wish {
    Wish {
        wanted: Some(1),
        ready: 1,
        proxied: false,
        activators: 2,
        activity,
        initialized: true,
        stable_window: Duration::from_secs(60),
        panic_window: Duration::from_secs(6),
        scraped: true,
    }
}

fn pa() -> PodAutoscaler {
    serde_json::from_value(json!({ "metadata": { "name": "hello-00001", "generation": 3 } }))
        .unwrap()
}

#[test]
fn what_is_written_is_read_back_as_the_same_activity() {
    let all = [
        Activity::New,
        Activity::Activating,
        Activity::Active,
        Activity::Inactive(Inactive::NoTraffic),
        Activity::Inactive(Inactive::TimedOut),
    ];
    for activity in all {
        let mut pa = pa();
        pa.status = status(&pa, None, &wish(activity), None, now());
        let standing = standing(&pa, None, "cluster.local");
        assert_eq!(standing.activity, activity);
        assert!(standing.initialized);
        let since = standing
            .since
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(since, Duration::from_secs(1_700_000_000), "whole seconds");
        assert_eq!(standing.way, None);
    }
}

#[test]
fn ready_is_what_decides_of_the_others_and_why() {
    let ready = |activity, initialized| {
        let wish = Wish {
            initialized,
            ..wish(activity)
        };
        let status = status(&pa(), None, &wish, None, now());
        let ready = condition(&status.conditions, READY).unwrap();
        (ready.status.clone(), ready.reason.clone())
    };
    let no_traffic = Activity::Inactive(Inactive::NoTraffic);
    let said = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(ready(no_traffic, true), said("False", "NoTraffic"));
    assert_eq!(ready(Activity::Activating, true), said("Unknown", "Queued"));
    // The path is not there.
    assert_eq!(ready(Activity::Active, true), said("Unknown", "NotReady"));
}

#[test]
fn without_a_name_for_the_path_the_last_one_stays() {
    let mut pa = pa();
    pa.status.service_name = "hello-00001".to_owned();
    let status = status(&pa, None, &wish(Activity::Active), None, now());
    assert_eq!(status.service_name, "hello-00001");
    assert_eq!(status.observed_generation, Some(3));
}
