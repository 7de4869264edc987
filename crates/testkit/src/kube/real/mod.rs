//! A real cluster in the place of the emulated objects.
//!
//! ```text
//! a program ──► the server of the test: recorded, spoilt by script ──► pass: names, rights
//!                                                                        │
//! the test ───► put, get, list, delete ──────────────────────────────────┼──► kubectl proxy ──► the cluster
//! Controllers ─► node: one that runs its pods within the test ───────────┘
//! ```
//!
//! The cluster's own controllers do the rest. Every server has namespaces of its own there: `default`
//! is `penstock-test-ID-default` for the cluster, and nobody sees others'. What it made is removed
//! when it is dropped; what a killed test left goes by `kubectl delete namespace,node,clusterrole,
//! clusterrolebinding -l penstock.dev/test`.
//!
//! What the cluster has to offer: `kubectl` with all rights by `KUBECONFIG`, and addresses of pods
//! that its API server takes (no loopback) and that are local to the test, as in [`address`]'s range.
//! What an emulated server does on demand (compaction, bookmarks, silence) it does not do.

mod ask;
mod node;
mod pass;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::{Value, json};

use self::ask::{Asker, start_proxy};
use super::kinds::Kind;
use super::object::{list, members, metadata, text};
use super::rules::Rules;

pub(super) use self::node::Node;

/// The label of everything that a test makes outside its namespaces, and of those.
const LABEL: &str = "penstock.dev/test";
/// Whose the pods of a test are to schedule: the cluster's own scheduler leaves them alone.
const SCHEDULER: &str = "penstock-test";
/// Times that a write is tried again that met another.
const TRIES: usize = 20;

pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const JSON: &str = "application/json";

/// Whether tests that can are to run on a real cluster.
#[expect(
    clippy::disallowed_methods,
    reason = "where tests run is decided outside of them"
)]
pub fn is_asked_for() -> bool {
    std::env::var("PENSTOCK_TEST_KUBE").is_ok_and(|value| value == "1")
}

/// The `nth` address of this process that a real cluster takes for a pod, of 10.77.128.0/17. Of 200
/// the first 50 are for programs.
pub fn address(nth: u32) -> Ipv4Addr {
    let place = (std::process::id() % 128) * 250 + nth % 250;
    let octet = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 77, octet(128 + place / 250), octet(1 + place % 250))
}

/// A test's part of a real cluster.
#[derive(Debug)]
pub(super) struct Real {
    /// Where `kubectl proxy` listens.
    base: SocketAddr,
    /// Before the names of namespaces.
    prefix: String,
    asker: Asker,
    proxy: Child,
}

impl Real {
    /// # Panics
    ///
    /// If `kubectl` cannot be started.
    pub(super) fn start() -> Self {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let (proxy, base) = start_proxy();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default().subsec_micros();
        let nth = SERVERS.fetch_add(1, Ordering::Relaxed);
        let real = Self {
            base,
            prefix: format!("penstock-test-{:x}-{since:x}{nth:x}-", std::process::id()),
            asker: Asker::start(base),
            proxy,
        };
        real.ensure_namespace("default");
        real
    }

    /// The name of a namespace in the cluster.
    fn theirs(&self, namespace: &str) -> String {
        format!("{}{namespace}", self.prefix)
    }

    /// The name of a namespace to the test, if it is one of this server's.
    fn ours<'a>(&self, namespace: &'a str) -> Option<&'a str> {
        namespace.strip_prefix(&self.prefix)
    }

    fn ensure_namespace(&self, name: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": self.theirs(name), "labels": { LABEL: "" } },
        });
        let (status, answer) = self
            .asker
            .ask(Method::POST, "/api/v1/namespaces", JSON, object);
        assert!(matches!(status, 201 | 409), "namespace {name}: {answer}");
        if status == 201 {
            // Pods need the namespace's account, which a controller makes.
            let account = format!(
                "/api/v1/namespaces/{}/serviceaccounts/default",
                self.theirs(name)
            );
            for _ in 0..500 {
                if self.asker.get(&account).0 == 200 {
                    return;
                }
                pause(Duration::from_millis(20));
            }
            panic!("nobody makes service accounts: does a controller manager run?");
        }
    }

    /// Gives a caller, told by its token, the rights of these rules.
    pub(super) fn grant(&self, token: &str, rules: &Rules) {
        let user = self.user(token);
        for (nth, (namespace, rule)) in rules.as_objects().enumerate() {
            let (role, place) = match namespace {
                "" => ("ClusterRole", String::new()),
                namespace => {
                    self.ensure_namespace(namespace);
                    ("Role", format!("namespaces/{}/", self.theirs(namespace)))
                }
            };
            let name = format!("{user}-{nth}");
            let api = "/apis/rbac.authorization.k8s.io/v1";
            let version = "rbac.authorization.k8s.io/v1";
            let meta = json!({ "name": name, "labels": { LABEL: "" } });
            let plural = role.to_lowercase();
            let objects = [
                (
                    format!("{api}/{place}{plural}s"),
                    json!({ "apiVersion": version, "kind": role, "metadata": meta, "rules": [rule] }),
                ),
                (
                    format!("{api}/{place}{plural}bindings"),
                    json!({
                        "apiVersion": version, "kind": format!("{role}Binding"), "metadata": meta,
                        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name },
                        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
                    }),
                ),
            ];
            for (path, object) in objects {
                let (status, answer) = self.asker.ask(Method::POST, &path, JSON, object);
                assert_eq!(status, 201, "{path}: {answer}");
            }
        }
    }

    fn user(&self, token: &str) -> String {
        format!("{}{token}", self.prefix)
    }

    fn path(&self, kind: &Kind, namespace: &str, name: &str) -> String {
        let mut path = match kind.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/{}", kind.version),
        };
        if kind.namespaced && !namespace.is_empty() {
            path = format!("{path}/namespaces/{}", self.theirs(namespace));
        }
        path = format!("{path}/{}", kind.plural);
        if name.is_empty() {
            return path;
        }
        format!("{path}/{name}")
    }

    /// As [`ApiServer::put`](super::ApiServer::put).
    pub(super) fn put(&self, kind: &Kind, namespace: &str, name: &str, mut object: Value) -> Value {
        if kind.namespaced {
            self.ensure_namespace(namespace);
            metadata(&mut object).insert("namespace".to_owned(), namespace.into());
        }
        self.to_theirs(&mut object);
        leave_scheduling(&mut object);
        let path = self.path(kind, namespace, name);
        let status = object.get("status").cloned();
        for _ in 0..TRIES {
            let (found, before) = self.asker.get(&path);
            let (done, mut answer) = if found == 200 {
                let version = before["metadata"]["resourceVersion"].clone();
                metadata(&mut object).insert("resourceVersion".to_owned(), version);
                if kind.kind == "Service" {
                    members(&mut object, "spec")
                        .entry("clusterIP")
                        .or_insert_with(|| before["spec"]["clusterIP"].clone());
                }
                self.asker.ask(Method::PUT, &path, JSON, object.clone())
            } else {
                let all = self.path(kind, namespace, "");
                self.asker.ask(Method::POST, &all, JSON, object.clone())
            };
            match done {
                200 | 201 => {}
                409 => continue,
                _ => panic!("{path}: the cluster refuses {object}: {answer}"),
            }
            if let Some(status) = status.filter(|_| kind.status) {
                let part = json!({ "status": status });
                let path = format!("{path}/status");
                let (done, with_status) = self.asker.ask(Method::PATCH, &path, MERGE, part);
                assert_eq!(done, 200, "{path}: {with_status}");
                answer = with_status;
            }
            self.to_ours(&mut answer);
            return answer;
        }
        panic!("{path}: somebody else writes it all the time");
    }

    pub(super) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Value> {
        let (status, mut object) = self.asker.get(&self.path(kind, namespace, name));
        self.to_ours(&mut object);
        (status == 200).then_some(object)
    }

    /// All of a kind; in this server's namespaces only.
    pub(super) fn list(&self, kind: &Kind, namespace: &str) -> Vec<Value> {
        let (status, answer) = self.asker.get(&self.path(kind, namespace, ""));
        assert!(matches!(status, 200 | 404), "{}: {answer}", kind.plural);
        let is_ours =
            |it: &&Value| !kind.namespaced || self.ours(text(it, "/metadata/namespace")).is_some();
        let items = list(&answer, "/items").iter().filter(is_ours).cloned();
        let mut items: Vec<Value> = items.collect();
        for item in &mut items {
            self.to_ours(item);
            item["apiVersion"] = kind.api_version().into();
            item["kind"] = kind.kind.into();
        }
        items
    }

    pub(super) fn delete(&self, kind: &Kind, namespace: &str, name: &str, now: bool) -> bool {
        let options = match now {
            true => json!({ "propagationPolicy": "Background", "gracePeriodSeconds": 0 }),
            false => json!({ "propagationPolicy": "Background" }),
        };
        let path = self.path(kind, namespace, name);
        let path = match kind.kind {
            "Namespace" => format!("/api/v1/namespaces/{}", self.theirs(name)),
            _ => path,
        };
        self.asker.ask(Method::DELETE, &path, JSON, options).0 < 300
    }

    /// Puts the cluster's names for namespaces into an object, or the test's back.
    fn to_theirs(&self, object: &mut Value) {
        rename(object, &|name| Some(self.theirs(name)));
    }

    fn to_ours(&self, object: &mut Value) {
        rename(object, &|name| self.ours(name).map(str::to_owned));
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let (_, all) = self
            .asker
            .get(&format!("/api/v1/namespaces?labelSelector={LABEL}"));
        let names = list(&all, "/items")
            .iter()
            .map(|it| text(it, "/metadata/name"));
        for name in names.filter(|name| self.ours(name).is_some()) {
            let pods = format!("/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0");
            for path in [
                format!("/apis/apps/v1/namespaces/{name}/deployments"),
                format!("/apis/apps/v1/namespaces/{name}/statefulsets"),
                format!("/api/v1/namespaces/{name}"),
                pods,
            ] {
                self.asker.ask(Method::DELETE, &path, JSON, Value::Null);
            }
        }
        for path in [
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "/api/v1/nodes",
        ] {
            let (_, all) = self.asker.get(&format!("{path}?labelSelector={LABEL}"));
            for item in list(&all, "/items") {
                let name = text(item, "/metadata/name");
                if name.starts_with(&self.prefix) {
                    let path = format!("{path}/{name}");
                    self.asker.ask(Method::DELETE, &path, JSON, Value::Null);
                }
            }
        }
        // Errors only say that it has ended already.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// Renames namespaces wherever an object names one.
fn rename(value: &mut Value, new: &impl Fn(&str) -> Option<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(name) if key == "namespace" => {
                        if let Some(new) = new(name) {
                            *name = new;
                        }
                    }
                    value => rename(value, new),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| rename(value, new)),
        _ => {}
    }
}

/// Has the cluster's scheduler leave the pods of a workload alone.
fn leave_scheduling(object: &mut Value) {
    if matches!(text(object, "/kind"), "Deployment" | "StatefulSet") {
        let spec = members(object, "spec");
        let template = spec.entry("template").or_insert_with(|| json!({}));
        members(template, "spec")
            .entry("schedulerName")
            .or_insert_with(|| SCHEDULER.into());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "outside of async code, and nobody tells"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
