//! Arguments and files in, a plan or sentences out.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};
use crate::up::folder::{Folder, HELLO};

fn read(args: &[&str]) -> Result<Plan, Vec<String>> {
    let all = ["penstock", "simulate"].iter().chain(args);
    match Cli::try_parse_from(all).unwrap().command {
        Command::Simulate(args) => Plan::read(&args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shape_is_all_that_is_needed() {
    let plan = read(&["--shape", "steady"]).unwrap();
    assert_eq!(plan.policies, [PolicyKind::Knative, PolicyKind::Demand]);
    assert_eq!(plan.traffic.end(), 600 * SECOND);
    let Setup { spec, pods, .. } = plan.setup;
    assert_eq!((spec.target, spec.initial_scale), (70.0, 0), "as in `up`");
    assert_eq!(pods.start, Time::Fixed(Duration::from_secs(2)));
    assert!(plan.chart.is_none());
}

#[test]
fn the_manifest_and_the_settings_are_those_of_up_and_set_comes_before_them() {
    let folder = Folder::new();
    let limited = HELLO.replace(
        "    spec:\n",
        "    metadata:\n      annotations:\n        autoscaling.knative.dev/max-scale: \"7\"\n    \
         spec:\n      containerConcurrency: 20\n      timeoutSeconds: 30\n",
    );
    // What it runs does not matter here.
    let file = folder.write("s.yaml", limited.replace("helloworld-go", "anything"));
    let config = folder.write("c.yaml", "stable-window: 30s\nmin-scale: 2\n");
    let args = [
        file.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
        "--shape",
        "step",
        "--set",
        "target=5",
        "--set",
        "autoscaling.knative.dev/min-scale=3",
    ];
    let plan = read(&args).unwrap();
    assert_eq!(plan.service, "default/hello");
    let Setup {
        spec,
        slots,
        patience,
        ..
    } = plan.setup;
    assert_eq!(slots, Slots::from_concurrency(20));
    assert_eq!(patience, Duration::from_secs(30));
    assert_eq!((spec.min_scale, spec.max_scale), (3, Some(7)));
    assert_eq!(spec.stable_window, Duration::from_secs(30));
    assert_eq!(spec.total, 5.0);
}

#[test]
fn a_trace_is_read_and_cut() {
    let folder = Folder::new();
    let trace = folder.write("t.csv", "seconds,rps,duration_ms\n0,5,100\n60,10,200\n");
    let trace = trace.to_str().unwrap();
    let plan = read(&["--traffic", trace, "--length", "90s"]).unwrap();
    assert_eq!(plan.traffic.end(), 90 * SECOND);
    assert_eq!(plan.traffic.spacing, Spacing::Random);
    assert_eq!(plan.traffic.name, "t.csv");
    let said = read(&["--traffic", trace, "--work", "1s", "--function", "f"]).unwrap_err();
    let want = [
        format!("--function: {trace} is no trace of functions"),
        format!("--work: {trace} says itself how long requests take, in duration_ms; keep one"),
    ];
    assert_eq!(said, want);
}

#[test]
fn all_mistakes_are_said_at_once() {
    let folder = Folder::new();
    let wrong = folder.write("wrong.yaml", HELLO.replace("name: hello", "name: Hello"));
    let trace = folder.write("t.csv", "seconds,rps\n0,x\n");
    let args = [
        wrong.to_str().unwrap(),
        "--traffic",
        trace.to_str().unwrap(),
        "--set",
        "tagret=5",
        "--set",
        "target",
        "--concurrency",
        "many",
        "--work",
        "fast",
        "--length",
        "1.5s",
        "--pod-start",
        "normal:1s",
        "--pods=-1",
        "--capacity",
        "0",
        "--nodes",
        "3",
        "--compare",
        "demand,best",
        "--seed",
        "x",
        "--chart",
        "chart.png",
    ];
    let said = folder.relative(read(&args).unwrap_err());
    let starts = [
        "wrong.yaml, document 1, line 4: metadata.name is \"Hello\"",
        "--set tagret=5: the autoscaler reads no annotation \"tagret\"; it reads class, metric, ",
        "--set target: it must be ANNOTATION=VALUE, such as target=50",
        "--concurrency many: it must be a whole number from 0 to 1000",
        "--work fast: it must be a time: 200ms, uniform:100ms,300ms, exp:200ms",
        "--length 1.5s: it must be a time of whole seconds up to 744h, such as 90s or 1h30m",
        "t.csv, line 2, column 2 (rps): \"x\" is not a number of requests per second",
        "--pod-start normal:1s: it must be a time: 200ms",
        "--pods -1: it must be a whole number from 0 to 100000",
        "--capacity 0: it must be a whole number from 1 to 100000",
        "--nodes: say with --node-pods how many pods fit on a node",
        "--compare demand,best: it must be knative, demand, or both with a comma in between",
        "--seed x: it must be a whole number",
        "--chart chart.png: its name must end in .svg or .html",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (sentence, start) in said.iter().zip(starts) {
        assert!(sentence.starts_with(start), "{sentence}\n{start}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let said = |args: &[&str]| read(args).unwrap_err().join("\n");
    let none = "there is no traffic; name a trace with --traffic or a --shape such as step";
    assert_eq!(said(&[]), none);
    assert_eq!(
        said(&["--shape", "step", "--traffic", "t.csv"]),
        "--traffic and --shape exclude each other; keep one"
    );
    assert_eq!(
        said(&["--shape", "step", "--function", "f"]),
        "--function is for --traffic; a shape has no functions"
    );
    assert_eq!(
        said(&["--shape", "step", "--service", "other"]),
        "--service other: there is no service; name the file that has it"
    );
    let sets = [
        "--shape",
        "step",
        "--set",
        "window=1s",
        "--set",
        "min-scale=5",
        "--set",
        "max-scale=2",
    ];
    let said = said(&sets);
    assert!(
        said.contains("--set autoscaling.knative.dev/window: "),
        "{said}"
    );
    assert!(
        said.contains("a maximum of 2 is below the minimum of 5"),
        "{said}"
    );
}

#[test]
fn one_of_several_services_has_to_be_named() {
    let folder = Folder::new();
    let both = format!(
        "{HELLO}---\n{}",
        HELLO.replace("name: hello", "name: other")
    );
    let file = folder.write("both.yaml", both);
    let file = file.to_str().unwrap();
    let said = read(&[file, "--shape", "step"]).unwrap_err();
    assert_eq!(
        said,
        ["the manifests have several services (hello, other); name one with --service"]
    );
    let said = read(&[file, "--shape", "step", "--service", "x"]).unwrap_err();
    assert_eq!(
        said,
        ["--service x: there is none of that name; there are hello, other"]
    );
    for name in ["other", "default/other"] {
        let plan = read(&[file, "--shape", "step", "--service", name]).unwrap();
        assert_eq!(plan.service, "default/other");
    }
}
