//! All three programs are ours: what becomes of a revision, stage by stage, and what its
//! PodAutoscaler says of it (spec/autoscaler.md §7 and §8, spec/activator.md §9).

use std::net::SocketAddr;

use penstock_testkit::kube::Call;
use serde_json::Value;

use super::install::{Install, Standing};
use super::objects::Revision;
use crate::harness::{Gateway, tests, until};

tests! {
    a_revision_goes_to_zero_comes_back_grows_leaves_the_path_and_is_deleted;
    minimum_initial_scale_and_reachability_hold_as_knative_has_them;
}

/// The number of pods that a call asks for, if it does.
fn scaled(call: &Call) -> Option<i64> {
    (call.verb == "patch" && call.resource_path() == "deployments/scale")
        .then(|| call.body[0]["value"].as_i64())?
}

/// Status and reason of `Active` in a status that a call writes, if it does.
fn told(call: &Call) -> Option<(String, String)> {
    let conditions = call.body["status"]["conditions"].as_array()?;
    let active = conditions.iter().find(|it| it["type"] == "Active")?;
    let text = |field: &str| active[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

/// Where in `calls` the first of these is.
fn first(calls: &[Call], what: &str, is_it: impl Fn(&Call) -> bool) -> usize {
    let found = calls.iter().position(is_it);
    found.unwrap_or_else(|| panic!("nobody {what}"))
}

fn active(word: &str) -> impl Fn(&Call) -> bool {
    let (status, reason) = word.split_once(':').unwrap_or((word, ""));
    let wanted = (status.to_owned(), reason.to_owned());
    move |call| told(call).as_ref() == Some(&wanted)
}

async fn a_revision_goes_to_zero_comes_back_grows_leaves_the_path_and_is_deleted() {
    let (install, activator, autoscaler) = Install::with_both().await;
    let server = &install.server;
    let at_activator = |all: &[SocketAddr]| all.iter().all(|it| it.ip() == activator.ip);
    let at_pods = |all: &[SocketAddr]| all.iter().all(|it| it.ip() != activator.ip);
    // Room for six more than there are: only three pods at rest have it, and not even five while six
    // are being answered. A panic window of a second would be empty whenever no report comes between
    // two ticks, and pods look idle then.
    let hello = Revision::new("hello-00001")
        .with("target-burst-capacity", "6")
        .with("panic-window-percentage", "50");
    install.deploy(&hello);

    // It begins with one pod, which is not enough to do without an activator.
    install
        .until_stands(&hello, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    let path = install
        .until_is("ServerlessService", hello.name, "there", |_| true)
        .await;
    assert_eq!(path["spec"]["mode"], "Proxy");
    assert_eq!(path["spec"]["numActivators"], 2);
    assert_eq!(
        path["metadata"]["ownerReferences"][0]["kind"],
        "PodAutoscaler"
    );
    let metric = server.get("Metric", "default", hello.name).unwrap();
    assert_eq!(metric["spec"]["stableWindow"], 6_000_000_000_i64);
    assert_eq!(metric["spec"]["panicWindow"], 3_000_000_000_i64);
    assert_eq!(metric["spec"]["scrapeTarget"], "hello-00001-private");
    let pa = server.get("PodAutoscaler", "default", hello.name).unwrap();
    assert_eq!(pa["status"]["serviceName"], "hello-00001");
    assert_eq!(pa["status"]["metricsServiceName"], "hello-00001-private");
    install
        .until_leads_to(&hello, "the activator", at_activator)
        .await;

    // Nobody asks: the path first, the last pod after it.
    install.until_pods(&hello, |pods| pods == 0).await;
    let nothing = Standing::new("False:NoTraffic", ["True", "Unknown", "False"], (0, 0));
    install.until_stands(&hello, &nothing).await;
    let calls = install.calls_of("controller");
    let inactive = first(&calls, "told that it is idle", active("False:NoTraffic"));
    let to_zero = first(&calls, "scaled to zero", |it| scaled(it) == Some(0));
    assert!(inactive < to_zero, "the last pod went before the path was");
    install
        .until_leads_to(&hello, "the activator", at_activator)
        .await;

    // Somebody asks.
    server.forget_calls();
    let answer = install.get(&hello).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    install
        .until_stands(&hello, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    let calls = install.calls_of("controller");
    let from_zero = first(&calls, "scaled from zero", |it| scaled(it) == Some(1));
    let queued = first(&calls, "told that it waits", active("Unknown:Queued"));
    let is_active = first(&calls, "told that it is active", active("True"));
    assert!(from_zero < is_active && queued < is_active);

    // More ask than one pod takes, then none does.
    let gateway = Gateway(install.service(&hello).next().unwrap());
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(gateway.ask(&hello.host(), "/hold").await);
    }
    install.until_pods(&hello, |pods| pods >= 3).await;
    install
        .until_leads_to(&hello, "the activator", at_activator)
        .await;
    drop(held);
    install
        .until_is("ServerlessService", hello.name, "serving", |it| {
            it["spec"]["mode"] == "Serve"
        })
        .await;
    install.until_leads_to(&hello, "its pods", at_pods).await;
    assert_eq!(install.get(&hello).await.status, 200);

    // And back to nothing, as before.
    install.until_stands(&hello, &nothing).await;
    install.until_pods(&hello, |pods| pods == 0).await;
    install
        .until_leads_to(&hello, "the activator", at_activator)
        .await;
    assert_eq!(install.get(&hello).await.status, 200, "again from zero");

    server.delete("Revision", "default", hello.name);
    for kind in [
        "Deployment",
        "Metric",
        "PodAutoscaler",
        "Pod",
        "Service",
        "ServerlessService",
    ] {
        until(&format!("no {kind} is left"), async || {
            server.list(kind, "default").is_empty().then_some(())
        })
        .await;
    }
    let gateway = Gateway((activator.ip, 8012).into());
    until("it is not known any more", async || {
        let answer = gateway.get(&hello.host(), "/").await;
        let unknown = "Error getting active endpoint: revision.serving.knative.dev \
                       \"hello-00001\" not found\n";
        (answer.status == 404 && answer.text() == unknown).then_some(())
    })
    .await;
    activator.program.stop().await;
    autoscaler.program.stop().await;
    install.expect_allowed();
}

async fn minimum_initial_scale_and_reachability_hold_as_knative_has_them() {
    let mut settings = super::install::QUICK.to_vec();
    settings.push(("allow-zero-initial-scale", "true"));
    let install = Install::new(&settings).await;
    let _autoscaler = install.autoscaler().await;
    let _activator = install.activator().await;
    let least = Revision::new("least-00001").with("min-scale", "2");
    let three = Revision::new("three-00001").with("initial-scale", "3");
    let none = Revision::new("none-00001").with("initial-scale", "0");
    for revision in [&least, &three, &none] {
        install.deploy(revision);
    }
    // One at first, but not active before there are two.
    install
        .until_stands(&least, &Standing::new("True", ["True"; 3], (2, 2)))
        .await;
    // Of the second all three come, though nobody asks, and then go.
    install
        .until_stands(&three, &Standing::new("True", ["True"; 3], (3, 3)))
        .await;
    // The third begins with none, and that is enough.
    let nothing = Standing::new("False:NoTraffic", ["True", "Unknown", "False"], (0, 0));
    install.until_idle(&none).await;
    let pods = install.server.list("Pod", "default");
    let of_none = |pod: &&std::sync::Arc<Value>| {
        pod["metadata"]["labels"]["serving.knative.dev/revision"] == none.name
    };
    assert_eq!(pods.iter().filter(of_none).count(), 0);
    install.until_pods(&three, |pods| pods == 0).await;
    // All the while the first has kept two; it has been idle for as long.
    let standing = Standing::new("True", ["True"; 3], (2, 2));
    install.until_stands(&least, &standing).await;
    let name = "least-00001-deployment";
    let deployment = install.server.get("Deployment", "default", name).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let fewer = |it: &Call| it.name == name && scaled(it).is_some_and(|pods| pods < 2);
    assert_eq!(install.server.count_calls(fewer), 0);

    // No route leads to it any more.
    install
        .server
        .edit("PodAutoscaler", "default", least.name, |pa| {
            pa["spec"]["reachability"] = "Unreachable".into();
        });
    install.until_pods(&least, |pods| pods == 0).await;
    install.until_stands(&least, &nothing).await;
    // Whoever knows its own name still gets an answer.
    assert_eq!(install.get(&least).await.status, 200);
    install.expect_allowed();
}
