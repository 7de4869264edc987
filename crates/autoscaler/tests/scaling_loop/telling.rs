//! What the loop tells: one line per change, the state.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use penstock_autoscaler::{KEPT, PolicyKind};
use penstock_testkit::cluster::{ScriptedCluster, revision};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::bench::{Bench, addrs, first, nothing, report};
use crate::{from_zero, hello};

/// The fields of one log event, `message` and the level among them.
type Line = BTreeMap<&'static str, String>;

/// Keeps the events of the loop's own targets.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Listens to this thread until the guard goes.
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        fields
            .0
            .insert("level", event.metadata().level().to_string());
        fields
            .0
            .insert("target", event.metadata().target().to_owned());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
}

#[derive(Default)]
struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // The field `target` (load per pod) and the event's target share a name.
        let name = match field.name() {
            "target" => "per_pod",
            name => name,
        };
        self.0.insert(name, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_is_one_line_that_says_which_figure_against_which_target() {
    let (log, _guard) = Log::listen();
    let cluster = ScriptedCluster::obedient(
        [revision("hello-00001")
            .concurrency(10)
            .autoscaling("max-scale", "30")
            .build()],
        addrs(40),
    );
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 200)]).await;
    bench.settle().await;
    bench.send(vec![report(&hello(), 400.0, 400, 0)]).await;
    bench.settle().await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let want = [
        ("level", "INFO"),
        ("target", "scaling"),
        ("revision", "default/hello-00001"),
        ("from", "0"),
        ("to", "20"),
        ("policy", "demand"),
        ("mode", "burst"),
        ("figure", "200.0"),
        ("per_pod", "10.0"),
        (
            "message",
            "default/hello-00001 0 -> 20: 200 waiting + 0 in flight, 10 a pod",
        ),
    ];
    assert_eq!(lines[0], want.map(|(k, v)| (k, v.to_owned())).into());
    assert_eq!(
        lines[1]["message"],
        "default/hello-00001 20 -> 30: 400 waiting + 0 in flight, 10 a pod; \
         40 lowered to 30 by max-scale"
    );
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_state_keeps_the_last_decisions_with_their_reasons() {
    let cluster = ScriptedCluster::new([revision("hello-00001").concurrency(1).build()]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    for waiting in 1..=20 {
        bench.wait(1).await;
        bench.send(vec![report(&hello(), 0.0, waiting, 0)]).await;
        bench.settle().await;
    }
    let state = bench.state("default/hello-00001");
    assert_eq!((state.wanted, state.policy), (20, "demand"));
    assert_eq!((state.mode, state.target), ("burst", 0.7));
    assert_eq!(state.decisions.len(), KEPT);
    let last = state.decisions.last().unwrap();
    assert_eq!((last.from, last.to), (19, 20));
    assert_eq!(last.why, "20 waiting + 0 in flight, 1 a pod");
    assert!(last.unix_seconds > 1_700_000_000, "{}", last.unix_seconds);
    assert_eq!((last.mode, last.inputs.figure), ("burst", 20.0));
    let text = state.explain();
    assert!(
        text.contains("why 20: 20 waiting + 0 in flight, 1 a pod"),
        "{text}"
    );
    assert!(text.contains("19 -> 20"), "{text}");
    let json = serde_json::to_value(&state).unwrap();
    assert_eq!(json["revision"], "default/hello-00001");
    assert_eq!(json["decisions"][0]["to"], 5);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusing_cluster_is_complained_about_once() {
    let (log, _guard) = Log::listen();
    let cluster = ScriptedCluster::new([revision("hello-00001").build()]);
    for _ in 0..3 {
        cluster.refuse_next("no room");
    }
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 1)]).await;
    bench.wait(5).await;
    let mut got: Vec<(String, String)> = log
        .lines()
        .iter()
        .map(|line| (line["level"].clone(), line["message"].clone()))
        .collect();
    let line = |level: &str, message: &str| (level.to_owned(), message.to_owned());
    let mut want = [
        line(
            "INFO",
            "default/hello-00001 0 -> 1: 1 waiting + 0 in flight, 70 a pod",
        ),
        line(
            "WARN",
            "default/hello-00001 was not scaled to 1, trying again until it is: \
             the cluster refused to scale default/hello-00001: no room",
        ),
        line("INFO", "the cluster scales default/hello-00001 again"),
    ];
    // The warning comes with the call, before the line about the change.
    got.sort();
    want.sort();
    assert_eq!(got, want);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn going_to_zero_is_explained_by_both_policies() {
    for (policy, why) in [
        (PolicyKind::Demand, "no demand for 6"),
        (PolicyKind::Knative, "no load, and the grace period is over"),
    ] {
        let cluster = ScriptedCluster::obedient([revision("hello-00001").build()], addrs(1));
        let bench = Bench::start(&cluster, from_zero(), policy).await;
        bench.wait(3).await;
        bench.send(vec![first(&hello(), 1)]).await;
        bench.wait(1).await;
        bench.send(vec![nothing(&hello())]).await;
        bench.empty_tables(80).await;
        let state = bench.state("default/hello-00001");
        let last = state.decisions.last().unwrap();
        assert_eq!((last.from, last.to), (1, 0), "{policy:?}");
        assert!(last.why.contains(why), "{}", last.why);
        bench.stop().await;
    }
}
