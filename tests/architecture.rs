//! Keeps the arrows: which crate of ours may depend on which, and what must never get into the
//! trees of the small ones.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::harness::plain_tests;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Our crates, each with the ones of ours that its product may be built from. Without the prefix
/// `penstock-`. Dev-dependencies are free.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("gate", &["types"]),
    ("scaling", &["types"]),
    ("serving", &["types"]),
    ("relay", &["types"]),
    ("runtime", &["types"]),
    ("cluster", &["types"]),
    ("cluster-local", &["types", "cluster", "relay"]),
    ("cluster-kube", &["types", "cluster", "relay"]),
    (
        "activator",
        &[
            "types",
            "gate",
            "relay",
            "cluster",
            "cluster-kube",
            "runtime",
        ],
    ),
    ("queue-proxy", &["types", "gate", "relay", "runtime"]),
    (
        "autoscaler",
        &[
            "types",
            "scaling",
            "cluster",
            "cluster-kube",
            "relay",
            "runtime",
        ],
    ),
    ("testkit", &["types", "cluster"]),
];

/// The command, and the packages that are in no product: they may use all of ours.
const ON_TOP: &[&str] = &["penstock", "e2e", "benches"];

/// What has no place in a tree, however deep.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "queue-proxy",
        &[
            "kube",
            "kube-client",
            "k8s-openapi",
            "clap",
            "serde_derive",
            "regex",
            "penstock-serving",
            "penstock-cluster",
            "penstock-scaling",
        ],
        "it runs beside every pod, and has to stay small",
    ),
    (
        "penstock",
        &[
            "kube",
            "kube-client",
            "k8s-openapi",
            "penstock-cluster-kube",
        ],
        "the first build is quick: Kubernetes is behind a feature that is off by default",
    ),
    (
        "types",
        &["tokio", "hyper", "serde"],
        "the words of the domain do no I/O",
    ),
    (
        "scaling",
        &["tokio", "hyper", "tracing"],
        "decisions are arithmetic, to be replayed anywhere",
    ),
    (
        "serving",
        &["tokio", "hyper", "kube"],
        "manifests are data, read and checked without I/O",
    ),
    (
        "gate",
        &["tokio", "hyper"],
        "admission works under any runtime, and in a model",
    ),
];

plain_tests! {
    crates_depend_on_each_other_along_the_arrows_only;
    kubernetes_is_behind_a_feature;
    the_testkit_is_in_no_product;
    the_small_crates_stay_free_of_what_they_do_not_need;
}

fn crates_depend_on_each_other_along_the_arrows_only() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (member, dependencies) in members() {
        if ON_TOP.contains(&member.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(member.as_str()) else {
            wrong.push(format!("{member} is not in the table of arrows"));
            continue;
        };
        for dependency in dependencies {
            if !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{member} -> {dependency}; may be {allowed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn kubernetes_is_behind_a_feature() {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let mut users = 0;
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap();
        let kubernetes = dependencies.iter().find(|dependency| {
            dependency["name"] == "penstock-cluster-kube" && dependency["kind"] != "dev"
        });
        let Some(kubernetes) = kubernetes else {
            continue;
        };
        let member = short(&package["name"]);
        users += 1;
        if kubernetes["optional"] != true && !["e2e", "benches"].contains(&member.as_str()) {
            wrong.push(member);
        }
    }
    assert!(users > 0, "nobody uses it: was it renamed?");
    assert!(wrong.is_empty(), "without a feature: {wrong:?}");
}

fn the_testkit_is_in_no_product() {
    let users: Vec<String> = members()
        .into_iter()
        .filter(|(_, dependencies)| dependencies.contains("testkit"))
        .map(|(member, _)| member)
        // What measures is in no product either, and measures Kubernetes against the emulation.
        .filter(|member| member != "benches")
        .collect();
    assert!(users.is_empty(), "more than a dev-dependency of {users:?}");
}

fn the_small_crates_stay_free_of_what_they_do_not_need() {
    let members = members();
    let mut wrong = Vec::new();
    for (member, absent, reason) in ABSENT {
        assert!(members.contains_key(*member), "no crate {member}");
        let package = match *member {
            "penstock" => "penstock".to_owned(),
            member => format!("penstock-{member}"),
        };
        let tree = tree(&package);
        let there = absent.iter().filter(|name| tree.contains(**name));
        wrong.extend(there.map(|name| format!("{name} in the tree of {member}: {reason}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The packages of the workspace, each with those of ours that it is built from; all without the
/// prefix.
fn members() -> BTreeMap<String, BTreeSet<String>> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let ours = dependencies
                .iter()
                // `null` is a normal dependency; build scripts have to keep the arrows, too.
                .filter(|dependency| dependency["kind"] != "dev")
                .filter(|dependency| dependency["path"].is_string())
                .map(|dependency| short(&dependency["name"]))
                .collect();
            (short(&package["name"]), ours)
        })
        .collect()
}

fn short(name: &Value) -> String {
    let name = name.as_str().unwrap();
    name.strip_prefix("penstock-").unwrap_or(name).to_owned()
}

/// The names of all packages that `package` is built from on this machine, with its own
/// features alone: `cargo metadata` would mix in those that its neighbours switch on.
fn tree(package: &str) -> BTreeSet<String> {
    let edges = ["--edges", "normal,build", "--prefix", "none"];
    let text = cargo(&[&["tree", "--package", package], &edges[..]].concat());
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(names.contains(package), "not a tree of {package}: {text}");
    names
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
