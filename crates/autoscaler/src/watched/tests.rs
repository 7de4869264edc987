//! `reconcile.json`, case by case, through all that the loop keeps of a revision: what the cluster
//! is asked and told, who is asked for its word, and when it is decided again.

use std::time::SystemTime;

use penstock_cluster::{Standing, Way};
use penstock_scaling::knative::Status;
use penstock_testkit::cluster::{pod, revision};
use penstock_testkit::vectors::reconcile::{Case, Given, Wanted};
use penstock_testkit::vectors::{Vectors, ms, reachability, same};

use super::*;

const NOW: Duration = Duration::from_secs(1_700_000_000);

#[test]
fn the_loop_does_what_one_reconcile_of_the_original_does() {
    Vectors::open("reconcile.json in the loop")
        .part("cases", run)
        .end();
}

fn run(case: &Case) -> Result<(), String> {
    let (given, want) = (&case.given, &case.out);
    let config = Config {
        progress_deadline: ms(given.progress_deadline_ms),
        ..Config::from_map(&given.configmap).map_err(|bad| format!("{bad:?}"))?
    };
    let revision = Arc::new(picture(given)?);
    let kind = PolicyKind::Knative;
    let mut watched = Watched::new(kind, revision, &config, &Handle::default(), true, NOW);
    let status = Status {
        desired: u32::try_from(given.decider_desired_scale).ok(),
        excess_burst_capacity: given.decider_ebc,
    };
    let decide = |watched: &mut Watched| {
        let ready = watched.ready;
        let verdict = watched.scaler.policy().decide_as(status, ready, NOW);
        watched.take(verdict, NOW);
    };
    decide(&mut watched);
    let waits = |watched: &Watched| {
        let stood = watched.scaler.stood();
        stood.is_some_and(|stood| stood.step.needs_confirmation())
    };
    // Nobody is asked where there is no pod whose removal would wait for it.
    let probed = waits(&watched);
    let idle = given.replicas == Some(0);
    same("probed", probed, want.probed_activator && !idle)?;
    if probed && given.activator_probe == "ok" {
        watched.answered(true, NOW);
        decide(&mut watched);
    }
    let waits = waits(&watched);
    same("asks on", waits, want.started_async_probe && !idle)?;

    same("patched replicas", watched.ask(), want.patched_replicas)?;
    if !(idle && want.probed_activator) {
        let due = watched.due().map(|due| due - NOW);
        let again = want.requeue_after_ms.iter().map(|&after| ms(after));
        same(
            "requeue",
            due.into_iter().collect(),
            again.collect::<Vec<_>>(),
        )?;
    }
    // Beyond the first seconds, in which nothing is changed that nothing is known of.
    let wish = watched.settle(NOW + Duration::from_secs(60));
    let wish = wish.ok_or("nothing is wished")?;
    let mode = if wish.proxied { "Proxy" } else { "Serve" };
    same("mode", mode, want.sks_mode.as_str())?;
    same("activators", wish.activators, want.sks_num_activators)?;
    same("activity", wish.activity, want.activity()?)?;
    same(
        "initialized",
        wish.initialized,
        want.scale_target_initialized,
    )?;
    let desired = Wanted::desired_scale(wish.wanted, given.status_desired_scale);
    same("desired scale", desired, want.status_desired_scale)?;
    same("actual scale", Some(wish.ready), want.status_actual_scale)?;
    match &want.metric_scrape_target {
        Some(target) => same("scraped", wish.scraped, !target.is_empty()),
        None => Ok(()),
    }
}

/// The revision as the cluster shows it.
fn picture(given: &Given) -> Result<Revision, String> {
    let way = given.sks.as_ref().filter(|sks| sks.has_private_service);
    let way = way.map(|sks| Way {
        proxied: sks.mode == "Proxy",
        proxied_since: sks.proxy_for_ms.map(ago),
        public: sks.has_service_name.then(|| "hello:80".into()),
    });
    let standing = Standing {
        activity: given.active.activity()?,
        since: ago(given.active.for_ms),
        initialized: given.scale_target_initialized,
        way,
        stale: false,
    };
    let built = revision("hello-00001")
        .reachability(reachability(&given.reachability)?)
        .standing(standing);
    let ready = u16::try_from(given.ready_pods).map_err(|error| error.to_string())?;
    let built = (1..=ready).fold(built, |built, port| {
        built.with(pod(([127, 0, 0, 1], port).into()))
    });
    // A Deployment that says nothing has one pod.
    let mut revision = built.wanted(given.replicas.unwrap_or(1)).build();
    revision.annotations = Arc::new(given.annotations.clone());
    Ok(revision)
}

fn ago(milliseconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + (NOW - ms(milliseconds))
}
