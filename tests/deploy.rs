//! The manifests in `deploy/`: that Kubernetes knows every field, that the programs read what is
//! set for them, that ports and selectors meet, and that pods may run where rules are strict.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::harness::plain_tests;

plain_tests! {
    every_field_of_every_object_is_one_that_kubernetes_knows;
    every_file_is_named_by_a_kustomization_and_every_name_is_a_file;
    every_variable_is_read_by_the_program_that_it_is_set_for;
    ports_are_those_that_the_programs_take_and_services_lead_to_them;
    probes_reach_ports_that_are_declared;
    pods_may_run_under_the_restricted_standard;
    the_overlay_for_knative_changes_images_alone;
    images_are_of_programs_that_there_are;
}

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

fn folder(name: &str) -> PathBuf {
    Path::new(DEPLOY).join(name)
}

fn yaml_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_below(&path));
        } else if path.extension().is_some_and(|it| it == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn objects(name: &str) -> Vec<(PathBuf, Value)> {
    let files = yaml_below(&folder(name)).into_iter();
    files
        .flat_map(|file| {
            let all = documents(&file).into_iter();
            all.map(|object| (file.clone(), object)).collect::<Vec<_>>()
        })
        .collect()
}

fn deployments() -> BTreeMap<String, Value> {
    objects("kube")
        .into_iter()
        .filter(|(_, object)| object["kind"] == "Deployment")
        .map(|(_, object)| {
            (
                object["metadata"]["name"].as_str().unwrap().to_owned(),
                object,
            )
        })
        .collect()
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// Every path of `given` that `kept` does not have.
fn lost(given: &Value, kept: &Value, path: &str, into: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => lost(value, kept, &path, into),
                    None if value.as_object().is_some_and(serde_json::Map::is_empty) => {}
                    None => into.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (value, kept)) in given.iter().zip(kept).enumerate() {
                lost(value, kept, &format!("{path}[{index}]"), into);
            }
        }
        _ => assert_eq!(given, kept, "{path}"),
    }
}

fn known<T: DeserializeOwned + Serialize + Debug>(object: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let mut unknown = Vec::new();
    lost(
        object,
        &serde_json::to_value(read).unwrap(),
        "",
        &mut unknown,
    );
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(format!("unknown: {}", unknown.join(", "))),
    }
}

fn every_field_of_every_object_is_one_that_kubernetes_knows() {
    // Objects of others, and what kustomize reads: their types are not in the API's own.
    let foreign = [
        "HTTPRoute",
        "ServiceMonitor",
        "PodMonitor",
        "Kustomization",
        "Component",
    ];
    let mut seen = BTreeSet::new();
    let all = objects("kube").into_iter().chain(objects("knative"));
    for (file, object) in all {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let checked = match kind.as_str() {
            "ClusterRole" => known::<ClusterRole>(&object),
            "ClusterRoleBinding" => known::<ClusterRoleBinding>(&object),
            "ConfigMap" => known::<ConfigMap>(&object),
            "Deployment" => known::<Deployment>(&object),
            "Ingress" => known::<Ingress>(&object),
            "Namespace" => known::<Namespace>(&object),
            "NetworkPolicy" => known::<NetworkPolicy>(&object),
            "PodDisruptionBudget" => known::<PodDisruptionBudget>(&object),
            "Role" => known::<Role>(&object),
            "RoleBinding" => known::<RoleBinding>(&object),
            "Service" => known::<Service>(&object),
            "ServiceAccount" => known::<ServiceAccount>(&object),
            other if foreign.contains(&other) => Ok(()),
            other => Err(format!("a kind that nobody checks: {other:?}")),
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if let Err(error) = checked {
            panic!("{}: {kind} {name}: {error}", file.display());
        }
        seen.insert(kind);
    }
    assert!(seen.len() >= 15, "{seen:?}");
}

fn every_file_is_named_by_a_kustomization_and_every_name_is_a_file() {
    for (file, object) in objects("kube").into_iter().chain(objects("knative")) {
        if !matches!(object["kind"].as_str(), Some("Kustomization" | "Component")) {
            continue;
        }
        let here = file.parent().unwrap();
        let mut named = BTreeSet::new();
        for key in ["resources", "components"] {
            for resource in object[key].as_array().into_iter().flatten() {
                let resource = resource.as_str().unwrap();
                // The user's own copy of the Knative release.
                if resource != "serving-core.yaml" {
                    let path = here.join(resource);
                    assert!(path.exists(), "{} names {resource}", file.display());
                }
                named.insert(resource.to_owned());
            }
        }
        for entry in fs::read_dir(here).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_resource = name.ends_with(".yaml") && name != "kustomization.yaml";
            assert!(
                !is_resource || named.contains(&name),
                "{} leaves out {name}",
                file.display()
            );
        }
    }
}

/// The environment of a container; what comes from a field of the pod is some address.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let set = container["env"].as_array().unwrap();
    set.iter()
        .map(|variable| {
            let value = match variable["value"].as_str() {
                Some(value) => value,
                None => match variable["valueFrom"]["fieldRef"]["fieldPath"]
                    .as_str()
                    .unwrap()
                {
                    "status.podIP" => "10.0.0.1",
                    _ => "name",
                },
            };
            (
                variable["name"].as_str().unwrap().to_owned(),
                value.to_owned(),
            )
        })
        .collect()
}

fn activator(get: impl Fn(&str) -> Option<String>) -> penstock_activator::env::Settings {
    let around = penstock_activator::env::Surroundings {
        resolv_conf: "",
        workers: NonZeroUsize::MIN,
        memory: None,
    };
    let flags = penstock_activator::env::Flags::default();
    penstock_activator::env::Settings::read(get, &flags, around).unwrap()
}

fn every_variable_is_read_by_the_program_that_it_is_set_for() {
    for (name, deployment) in deployments() {
        let set = environment(container(&deployment));
        let asked = RefCell::new(BTreeSet::from(["PENSTOCK_CLUSTER".to_owned()]));
        let get = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            set.get(name).cloned()
        };
        match name.as_str() {
            "activator" => {
                activator(get);
            }
            "autoscaler" => {
                penstock_autoscaler::env::Settings::read(get, "").unwrap();
            }
            other => panic!("whose variables does {other} have?"),
        }
        for name in set.keys() {
            assert!(asked.borrow().contains(name), "nobody reads {name}");
        }
    }
}

/// Name and number of each port of a container.
fn ports(container: &Value) -> BTreeMap<String, u64> {
    let ports = container["ports"].as_array().unwrap();
    ports
        .iter()
        .map(|port| {
            let name = port["name"].as_str().unwrap().to_owned();
            (name, port["containerPort"].as_u64().unwrap())
        })
        .collect()
}

fn ports_are_those_that_the_programs_take_and_services_lead_to_them() {
    let deployments = deployments();
    let set = environment(container(&deployments["activator"]));
    let takes = activator(|name| set.get(name).cloned()).ports;
    let declared = ports(container(&deployments["activator"]));
    let taken = [takes.http1, takes.h2c, takes.metrics].map(u64::from);
    assert_eq!(declared.values().copied().collect::<Vec<_>>(), {
        let mut named = vec![
            ("http1", taken[0]),
            ("h2c", taken[1]),
            ("metrics", taken[2]),
        ];
        named.sort_unstable();
        named.into_iter().map(|it| it.1).collect::<Vec<_>>()
    });
    let set = environment(container(&deployments["autoscaler"]));
    let takes =
        penstock_autoscaler::env::Settings::read(|name| set.get(name).cloned(), "").unwrap();
    let declared = ports(container(&deployments["autoscaler"]));
    assert_eq!(declared["websocket"], u64::from(takes.stats.port()));
    assert_eq!(declared["metrics"], u64::from(takes.admin.port()));

    let mut services = 0;
    for (_, object) in objects("kube") {
        if object["kind"] != "Service" {
            continue;
        }
        services += 1;
        let selector = object["spec"]["selector"].as_object().unwrap();
        let chosen: Vec<&Value> = deployments
            .values()
            .filter(|it| {
                let labels = &it["spec"]["template"]["metadata"]["labels"];
                selector.iter().all(|(key, value)| labels[key] == *value)
            })
            .collect();
        let [chosen] = chosen.as_slice() else {
            panic!(
                "{} selects {} Deployments",
                object["metadata"]["name"],
                chosen.len()
            )
        };
        let declared = ports(container(chosen));
        for port in object["spec"]["ports"].as_array().unwrap() {
            let target = port["targetPort"].as_str().unwrap();
            assert!(declared.contains_key(target), "{target} in {declared:?}");
        }
    }
    assert_eq!(services, 2);
}

fn probes_reach_ports_that_are_declared() {
    let deployments = deployments();
    for deployment in deployments.values() {
        let container = container(deployment);
        let declared = ports(container);
        for probe in ["readinessProbe", "livenessProbe"] {
            let get = &container[probe]["httpGet"];
            assert!(
                declared.contains_key(get["port"].as_str().unwrap()),
                "{get}"
            );
        }
    }
    let container = container(&deployments["activator"]);
    let set = environment(container);
    let lives = activator(|name| set.get(name).cloned())
        .options
        .liveness_path;
    let asked = container["livenessProbe"]["httpGet"]["path"].as_str();
    assert_eq!(asked, lives.as_deref());
}

fn pods_may_run_under_the_restricted_standard() {
    let namespace = objects("kube")
        .into_iter()
        .find(|it| it.1["kind"] == "Namespace");
    let labels = namespace.unwrap().1["metadata"]["labels"].clone();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    for (name, deployment) in deployments() {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        let profile = &pod["securityContext"]["seccompProfile"]["type"];
        assert_eq!(profile, "RuntimeDefault", "{name}");
        let of_container = &container(&deployment)["securityContext"];
        assert_eq!(of_container["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(of_container["readOnlyRootFilesystem"], true, "{name}");
        let dropped = &of_container["capabilities"]["drop"];
        assert_eq!(*dropped, serde_json::json!(["ALL"]), "{name}");
        let requests = &container(&deployment)["resources"]["requests"];
        assert!(
            requests["cpu"].is_string() && requests["memory"].is_string(),
            "{name}"
        );
    }
}

fn the_overlay_for_knative_changes_images_alone() {
    let mut patched = BTreeSet::new();
    for (file, object) in objects("knative") {
        for patch in object["patches"].as_array().into_iter().flatten() {
            let text = patch["patch"].as_str().unwrap();
            let steps: Vec<Value> = serde_saphyr::from_str(text).unwrap();
            let [step] = steps.as_slice() else {
                panic!("{}: {steps:?}", file.display())
            };
            let path = step["path"].as_str().unwrap();
            let images = [
                "/data/queue-sidecar-image",
                "/spec/template/spec/containers/0/image",
            ];
            assert!(images.contains(&path), "{path}");
            let image = step["value"].as_str().unwrap().to_owned();
            patched.insert((patch["target"]["name"].as_str().unwrap().to_owned(), image));
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        ("activator", "activator"),
        ("autoscaler", "autoscaler"),
        ("config-deployment", "queue-proxy"),
    ];
    let expected =
        expected.map(|(of, image)| (of.to_owned(), format!("penstock/{image}:{version}")));
    assert_eq!(patched, BTreeSet::from(expected));
}

fn images_are_of_programs_that_there_are() {
    for (program, package) in [
        ("queue-proxy", "queue-proxy"),
        ("activator", "activator"),
        ("autoscaler", "crates/autoscaler"),
    ] {
        let file = folder("images").join(format!("{program}.Dockerfile"));
        let text = fs::read_to_string(file).unwrap();
        let manifest = format!("{DEPLOY}/../{package}/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        assert!(
            text.contains(&format!("-p penstock-{program}\n"))
                || text.contains(&format!("-p penstock-{program} ")),
            "{text}"
        );
        assert!(
            manifest.contains(&format!("name = \"penstock-{program}\"")),
            "{manifest}"
        );
        assert!(
            manifest.contains(&format!("name = \"{program}\"")),
            "{manifest}"
        );
        let user = text.lines().find_map(|line| line.strip_prefix("USER "));
        let id = user.and_then(|user| user.split(':').next()).unwrap();
        assert!(id.parse::<u32>().is_ok_and(|id| id > 0), "{id}");
        assert!(
            text.contains(&format!("ENTRYPOINT [\"/{program}\"]")),
            "{text}"
        );
    }
}
