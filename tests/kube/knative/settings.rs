//! ConfigMaps that change while the programs run.
//!
//! `config-network` and `config-leader-election` are read at the start, as in Knative, and
//! `config-features` is its controller's alone.

use serde_json::Value;

use super::install::{Install, Standing};
use super::objects::{Revision, config_map};
use crate::harness::{tests, until};

tests! {
    a_change_of_config_autoscaler_is_taken_at_once_and_a_bad_one_keeps_the_last_good;
    requests_are_logged_as_config_observability_says_now_and_a_bad_template_keeps_the_old;
}

fn window(metric: &Value) -> i64 {
    metric["spec"]["stableWindow"].as_i64().unwrap_or(0) / 1_000_000_000
}

async fn a_change_of_config_autoscaler_is_taken_at_once_and_a_bad_one_keeps_the_last_good() {
    let (install, _activator, autoscaler) = Install::with_both().await;
    let server = &install.server;
    let hello = Revision::new("hello-00001");
    install.deploy(&hello);
    install
        .until_stands(&hello, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    let until_window = async |seconds: i64| {
        let what = format!("of a window of {seconds} s");
        let is_so = |metric: &Value| window(metric) == seconds;
        install.until_is("Metric", hello.name, &what, is_so).await;
    };
    let say = |data: &[(&str, &str)]| {
        server.put(config_map("config-autoscaler", data));
    };
    until_window(6).await;
    say(&[("stable-window", "30s"), ("min-scale", "2")]);
    until_window(30).await;
    install
        .until_stands(&hello, &Standing::new("True", ["True"; 3], (2, 2)))
        .await;
    // All that is wrong with it is told, and nothing of it holds.
    say(&[
        ("stable-window", "1s"),
        ("min-scale", "3"),
        ("max-scale", "-7"),
    ]);
    let line = autoscaler
        .program
        .until_line("the last good values stay")
        .await;
    assert!(
        line.contains("stable-window") && line.contains("max-scale"),
        "{line}"
    );
    let metric = server.get("Metric", "default", hello.name).unwrap();
    assert_eq!(window(&metric), 30);
    say(&[("stable-window", "20s"), ("min-scale", "1")]);
    until_window(20).await;
    // Three were never wanted.
    let three = |it: &penstock_testkit::kube::Call| it.body[0]["value"] == 3;
    assert_eq!(server.count_calls(three), 0);
    install.expect_allowed();
}

async fn requests_are_logged_as_config_observability_says_now_and_a_bad_template_keeps_the_old() {
    let (install, activator, _autoscaler) = Install::with_both().await;
    let server = &install.server;
    let hello = Revision::new("hello-00001").with("min-scale", "1");
    install.deploy(&hello);
    install
        .until_leads_to(&hello, "the activator", |_| true)
        .await;
    assert_eq!(install.get(&hello).await.status, 200);
    let say = |template: &str| {
        server.put(config_map(
            "config-observability",
            &[
                ("logging.enable-request-log", "true"),
                ("logging.request-log-template", template),
            ],
        ));
    };
    say("first {{.Request.Method}} {{.Revision.Name}} {{.Response.Code}}");
    until("requests are logged", async || {
        install.get(&hello).await;
        let lines = activator.program.lines_with("first GET hello-00001 200");
        (!lines.is_empty()).then_some(())
    })
    .await;
    say("second {{.Request.Method");
    let line = "the lines about requests stay as they were";
    activator.program.until_line(line).await;
    let before = activator.program.lines_with("first GET").len();
    install.get(&hello).await;
    until("one more is logged as before", async || {
        (activator.program.lines_with("first GET").len() > before).then_some(())
    })
    .await;
    // What is read at the start only changes nothing, however wrong it is.
    server.put(config_map(
        "config-network",
        &[
            ("system-internal-tls", "perhaps"),
            ("mesh-compatibility-mode", "enabled"),
        ],
    ));
    say("third {{.Response.Code}}");
    until("requests are logged anew", async || {
        assert_eq!(install.get(&hello).await.status, 200);
        let lines = activator.program.lines_with("third 200");
        (!lines.is_empty()).then_some(())
    })
    .await;
    install.expect_allowed();
}
