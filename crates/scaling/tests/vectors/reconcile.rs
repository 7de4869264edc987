//! `reconcile.json`: one step of scaling each. Writing the objects of a Kubernetes API is not part
//! of it, only what is to be written.

use std::time::Duration;

use penstock_scaling::activity::State;
use penstock_scaling::config::Config;
use penstock_scaling::knative::Status;
use penstock_scaling::reconcile::{Conditions, Observed, Step, step};
use penstock_scaling::spec::Spec;
use penstock_scaling::zero::Path;
use penstock_testkit::vectors::reconcile::{Case, Given, Wanted};
use penstock_types::Slots;

use crate::{Vectors, moment, ms, reachability, same};

const NOW_UNIX_MS: u64 = 1_700_000_000_000;

#[test]
fn steps() {
    Vectors::open("reconcile.json").part("cases", run).end();
}

fn run(case: &Case) -> Result<(), String> {
    let (given, want) = (&case.given, &case.out);
    same("error", false, want.error)?;
    let spec = spec(given)?;
    let now = moment(NOW_UNIX_MS, 0.0);
    let before = State {
        activity: given.active.activity()?,
        since: now - ms(given.active.for_ms),
        initialized: given.scale_target_initialized,
    };

    let (mut state, mut step) = take(&spec, before, given, false, now);
    same("probed", step.needs_confirmation(), want.probed_activator)?;
    if step.needs_confirmation() {
        let confirmed = given.activator_probe == "ok";
        (state, step) = take(&spec, before, given, confirmed, now);
    }
    same(
        "asynchronous probe",
        step.needs_confirmation(),
        want.started_async_probe,
    )?;

    same("patched replicas", step.ask, want.patched_replicas)?;
    let again: Vec<Duration> = want
        .requeue_after_ms
        .iter()
        .map(|&after| ms(after))
        .collect();
    same("requeue", step.again_after.into_iter().collect(), again)?;
    let mode = if step.proxied { "Proxy" } else { "Serve" };
    same("mode", mode, want.sks_mode.as_str())?;
    same("activators", step.activators, want.sks_num_activators)?;

    same("activity", state.activity, want.activity()?)?;
    // What began this very moment begins again in it.
    let reset = state.since != before.since && given.active.for_ms > 0.0;
    same("new activity", reset, want.active_since_reset)?;
    same(
        "initialized",
        state.initialized,
        want.scale_target_initialized,
    )?;
    let desired = Wanted::desired_scale(step.wanted, given.status_desired_scale);
    same("desired scale", desired, want.status_desired_scale)?;

    // Without a way to the pods nothing is known of them, and nothing reads them.
    let path = given.sks.as_ref().filter(|sks| sks.has_private_service);
    same("made", given.sks.is_none(), want.sks_created)?;
    let actual = path.map_or(0, |_| given.ready_pods);
    same("actual scale", Some(actual), want.status_actual_scale)?;
    let scraped = path.map(|_| spec.is_scraped());
    let target = want.metric_scrape_target.as_ref();
    same("scraped", scraped, target.map(|target| !target.is_empty()))?;
    let conditions = Conditions::new(&state, path.is_some_and(|sks| sks.ready));
    same("way", word(conditions.path_ready), &want.sks_ready_status)?;
    same("ready", word(conditions.ready()), &want.ready_status)
}

fn word(condition: Option<bool>) -> &'static str {
    match condition {
        None => "Unknown",
        Some(true) => "True",
        Some(false) => "False",
    }
}

fn take(
    spec: &Spec,
    mut state: State,
    given: &Given,
    confirmed: bool,
    now: Duration,
) -> (State, Step) {
    let observed = Observed {
        decided: Status {
            desired: u32::try_from(given.decider_desired_scale).ok(),
            excess_burst_capacity: given.decider_ebc,
        },
        replicas: given.replicas,
        ready: given.ready_pods,
        path: given
            .sks
            .as_ref()
            .filter(|sks| sks.has_private_service)
            .map(|sks| Path {
                proxied: sks.mode == "Proxy",
                proxied_for: ms(sks.proxy_for_ms.unwrap_or(0.0)),
                confirmed,
                published: sks.has_service_name,
            }),
    };
    let step = step(spec, &mut state, &observed, now);
    (state, step)
}

fn spec(given: &Given) -> Result<Spec, String> {
    let config = Config {
        progress_deadline: ms(given.progress_deadline_ms),
        ..Config::from_map(&given.configmap).map_err(|bad| format!("{bad:?}"))?
    };
    Ok(Spec::derive(
        &config,
        &given.annotations,
        Slots::Unlimited,
        reachability(&given.reachability)?,
    ))
}
