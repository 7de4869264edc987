//! Whoever lists and then watches ends up with what is there, whatever happens on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::{ApiServer, Fault, Matcher};
use super::config_map;
use super::wire::{Watching, answer, request};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CHOSEN: &str = "labelSelector=app+in+%28x%2Csentinel%29";

/// Names with their resourceVersions.
type Seen = BTreeMap<String, String>;

/// Something that happens to the objects or to the server.
#[derive(Clone, Debug)]
enum Deed {
    Put {
        name: u8,
        chosen: bool,
        value: u8,
    },
    Delete(u8),
    Compact,
    Bookmark,
    Cut,
    Plan(Fault),
    Restart,
    /// Lets the watcher catch up, more or less.
    Breathe(u8),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let fault = prop_oneof![
        Just(Fault::Status(500)),
        Just(Fault::Status(410)),
        Just(Fault::RetryAfter(429, 1)),
        (0usize..3).prop_map(Fault::CutWatchAfter),
        Just(Fault::SlowWatch(Duration::from_millis(1))),
        Just(Fault::HalfOpen),
        Just(Fault::WatchError(410)),
        Just(Fault::WatchError(500)),
        Just(Fault::LoseAnswer),
        Just(Fault::RefuseConnections),
    ];
    let deed = prop_oneof![
        8 => (0u8..6, any::<bool>(), any::<u8>()).prop_map(|(name, chosen, value)| Deed::Put { name, chosen, value }),
        3 => (0u8..6).prop_map(Deed::Delete),
        1 => Just(Deed::Compact),
        1 => Just(Deed::Bookmark),
        1 => Just(Deed::Cut),
        3 => fault.prop_map(Deed::Plan),
        1 => Just(Deed::Restart),
        4 => (1u8..20).prop_map(Deed::Breathe),
    ];
    prop::collection::vec(deed, 1..60)
}

fn map(name: &str, app: &str, value: u8) -> Value {
    let mut object = config_map(name, &json!({ "value": value.to_string() }));
    object["metadata"]["labels"] = json!({ "app": app });
    object
}

fn named(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    (text("name"), text("resourceVersion"))
}

/// Lists and watches for ever, and begins again where it may after whatever goes wrong.
async fn follow(server: &ApiServer, seen: &watch::Sender<Seen>) {
    loop {
        let Some(mut version) = list(server, seen).await else {
            tokio::task::yield_now().await;
            continue;
        };
        while resume(server, seen, &mut version).await {
            tokio::task::yield_now().await;
        }
    }
}

async fn list(server: &ApiServer, seen: &watch::Sender<Seen>) -> Option<String> {
    let path = format!("{MAPS}?{CHOSEN}");
    let request = request("GET", &path, "", &Value::Null);
    let (parts, list) = answer(server, request).await.ok()?;
    if parts.status != 200 {
        return None;
    }
    let items = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(named)
        .collect();
    seen.send_replace(items);
    Some(
        list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned(),
    )
}

/// Watches from a version on; whether the watch may go on from the version it got to.
async fn resume(server: &ApiServer, seen: &watch::Sender<Seen>, version: &mut String) -> bool {
    let path =
        format!("{MAPS}?watch=1&allowWatchBookmarks=true&{CHOSEN}&resourceVersion={version}");
    let mut watch = match Watching::open(server, &path).await {
        Ok(watch) => watch,
        Err(status) => return status != 410,
    };
    loop {
        let Ok(Some(event)) = watch.next().await else {
            return true;
        };
        let object = &event["object"];
        if event["type"] == "ERROR" {
            return object["code"] != 410;
        }
        let now = object["metadata"]["resourceVersion"].as_str().unwrap();
        assert!(number(now) >= number(version), "{event} after {version}");
        now.clone_into(version);
        seen.send_modify(|seen| match event["type"].as_str().unwrap() {
            "ADDED" => {
                let (name, version) = named(object);
                assert_eq!(seen.insert(name, version), None, "added twice: {event}");
            }
            "MODIFIED" => {
                let (name, version) = named(object);
                assert!(seen.insert(name, version).is_some(), "never added: {event}");
            }
            "DELETED" => {
                assert!(
                    seen.remove(&named(object).0).is_some(),
                    "never added: {event}"
                );
            }
            _ => assert_eq!(event["type"], "BOOKMARK"),
        });
    }
}

fn number(version: &str) -> u64 {
    version.parse().unwrap()
}

async fn play(deeds: &[Deed]) {
    let server = ApiServer::start().await;
    let seen = watch::Sender::new(Seen::new());
    let mut ended = seen.subscribe();
    let story = async {
        for deed in deeds {
            match deed {
                Deed::Put {
                    name,
                    chosen,
                    value,
                } => {
                    let app = if *chosen { "x" } else { "y" };
                    server.put(map(&format!("m{name}"), app, *value));
                }
                Deed::Delete(name) => {
                    server.delete("ConfigMap", "default", &format!("m{name}"));
                }
                Deed::Compact => server.compact(),
                Deed::Bookmark => server.bookmark(),
                Deed::Cut => server.cut_watches(),
                Deed::Plan(fault) => server.fault(Matcher::any(), *fault, 1),
                Deed::Restart => {
                    server.stop_listening().await;
                    tokio::task::yield_now().await;
                    server.listen_again().await;
                }
                Deed::Breathe(turns) => {
                    for _ in 0..*turns {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        server.heal();
        server.cut_watches(); // those that were half open
        let last = server.put(map("sentinel", "sentinel", 0));
        let (name, version) = named(&last);
        ended
            .wait_for(|seen| seen.get(&name) == Some(&version))
            .await
            .unwrap();
    };
    tokio::select! {
        () = story => {}
        () = follow(&server, &seen) => {}
    }
    let there: Seen = server
        .list("ConfigMap", "default")
        .iter()
        .filter(|object| object["metadata"]["labels"]["app"] != "y")
        .map(|object| named(object))
        .collect();
    assert_eq!(*seen.borrow(), there);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_lists_and_watches_ends_up_with_what_is_there(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&deeds));
    }
}
