//! What a steady load loses while paths, pods and components come and go: nothing.
//!
//! Twice: a little of it always, and all that is promised with `cargo test -p e2e -- --ignored
//! steady`, which takes minutes.

use std::time::Duration;

use serde_json::Value;

use super::service::{Load, get};
use super::world::{ACTIVATORS, Component, World, with_sidecar};
use crate::harness::{Gateway, trial_apart, until};

pub(crate) fn tests() -> Vec<libtest_mimic::Trial> {
    let whats = [
        ("flips_of_the_path", What::Flips, [6, 50]),
        ("rollouts", What::Rollouts, [2, 20]),
        ("scaling_in", What::ScaleIns, [2, 20]),
        ("restarts_of_each_component", What::Restarts, [2, 5]),
    ];
    let trials = whats.into_iter().flat_map(|(name, what, [some, all])| {
        let little = format!("kube::steady::{name}_lose_nothing");
        let whole = format!("kube::steady::{name}_lose_nothing_{all}_times_at_200_a_second");
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        [
            trial_apart(&little, false, minutes(3), move || what.happens(some, 50)),
            trial_apart(&whole, true, minutes(15), move || what.happens(all, 200)),
        ]
    });
    trials.collect()
}

/// What happens to a workload under load.
#[derive(Clone, Copy)]
enum What {
    Flips,
    Rollouts,
    ScaleIns,
    Restarts,
}

impl What {
    async fn happens(self, times: usize, rate: u32) {
        match self {
            Self::Flips => flips(times, rate).await,
            Self::Rollouts => rollouts(times, rate).await,
            Self::ScaleIns => scale_ins(times, rate).await,
            Self::Restarts => restarts(times, rate).await,
        }
    }
}

/// A workload in a world with one of each component, asked so often per second.
struct Stage {
    world: World,
    activator: Component,
    autoscaler: Component,
    per_second: usize,
    load: Load,
}

impl Stage {
    /// `annotations` win over those of every workload here.
    async fn new(annotations: &[(&str, &str)], per_second: u32) -> Self {
        let (world, activator, autoscaler) = World::with_both().await;
        let mut workload = with_sidecar("Deployment", "web");
        for (key, value) in annotations {
            workload["metadata"]["annotations"][key] = (*value).into();
        }
        world.server.put(workload);
        world
            .until_pods("Deployment", "web", |pods| pods >= 1)
            .await;
        world.until_leads_to("web", "somebody", |_| true).await;
        // The activator has heard of it, too.
        get(Gateway((activator.ip, 8012).into()), "web.example.com").await;
        let load = Load::start(world.service("web"), "web.example.com", per_second);
        Self {
            world,
            activator,
            autoscaler,
            per_second: per_second as usize,
            load,
        }
    }

    fn annotate(&self, annotations: &[(&str, &str)]) {
        self.world
            .server
            .edit("Deployment", "default", "web", |it| {
                for (key, value) in annotations {
                    it["metadata"]["annotations"][key] = (*value).into();
                }
            });
    }

    /// What has happened meets as many requests as come in half a second.
    async fn goes_on(&self) {
        self.load.goes_on(self.per_second / 2).await;
    }

    async fn end(self) {
        self.load.stop().await.expect_all();
    }
}

const BURST: &str = "autoscaling.knative.dev/target-burst-capacity";
const MIN: &str = "autoscaling.knative.dev/min-scale";
const MAX: &str = "autoscaling.knative.dev/max-scale";

async fn flips(times: usize, rate: u32) {
    let stage = Stage::new(&[(MIN, "1"), (BURST, "-1")], rate).await;
    let activator = stage.activator.ip;
    for flip in 0..times {
        let proxied = flip % 2 == 1;
        stage.annotate(&[(BURST, if proxied { "-1" } else { "0" })]);
        stage
            .world
            .until_leads_to(
                "web",
                if proxied { "the activator" } else { "pods" },
                |all| all.iter().all(|it| (it.ip() == activator) == proxied),
            )
            .await;
        stage.goes_on().await;
    }
    stage.end().await;
}

async fn rollouts(times: usize, rate: u32) {
    let stage = Stage::new(&[(MIN, "2")], rate).await;
    for rollout in 0..times {
        stage
            .world
            .server
            .edit("Deployment", "default", "web", |it| {
                // There, and back again.
                let image = if rollout % 2 == 0 { "new" } else { "web" };
                it["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
            });
        until("the rollout", async || {
            let it = stage.world.server.get("Deployment", "default", "web")?;
            is_rolled_out(&it).then_some(())
        })
        .await;
        stage.goes_on().await;
    }
    stage.end().await;
}

fn is_rolled_out(it: &Value) -> bool {
    let status = &it["status"];
    let counts = ["updatedReplicas", "replicas", "readyReplicas"];
    status["observedGeneration"] == it["metadata"]["generation"]
        && counts
            .iter()
            .all(|count| status[count] == it["spec"]["replicas"])
}

async fn scale_ins(times: usize, rate: u32) {
    let stage = Stage::new(&[(MIN, "1"), (MAX, "1")], rate).await;
    let pods = async |count: &str, pods: i64| {
        stage.annotate(&[(MIN, count), (MAX, count)]);
        stage
            .world
            .until_pods("Deployment", "web", |now| now == pods)
            .await;
        stage.goes_on().await;
    };
    for _ in 0..times {
        pods("3", 3).await;
        pods("1", 1).await;
    }
    stage.end().await;
}

async fn restarts(times: usize, rate: u32) {
    // Activators stay in the path.
    let mut stage = Stage::new(&[(MIN, "1"), (BURST, "-1")], rate).await;
    let world = &stage.world;
    for _ in 0..times {
        let next = world.activator().await;
        world
            .until_leads_to("web", "both", |all| all.len() == 2)
            .await;
        world.leave(ACTIVATORS, stage.activator.ip);
        stage.activator.program.terminate();
        let ip = next.ip;
        world
            .until_leads_to("web", "the new one", |all| {
                all.iter().all(|it| it.ip() == ip)
            })
            .await;
        std::mem::replace(&mut stage.activator, next)
            .program
            .ended()
            .await;
        stage.goes_on().await;
    }
    for _ in 0..times {
        let ip = stage.autoscaler.ip;
        stage.autoscaler.program.stop().await;
        stage.autoscaler = world.autoscaler_at(ip).await;
        stage.goes_on().await;
    }
    // It scales again.
    stage.annotate(&[(MIN, "2")]);
    stage
        .world
        .until_pods("Deployment", "web", |pods| pods == 2)
        .await;
    stage.end().await;
}
