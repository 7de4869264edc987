//! An API server, its controllers, and a cluster that looks at them.

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Cluster, Revision, Snapshot, Wish};
use penstock_cluster_kube::deployments::{AnnotationCheck, Options, Role};
use penstock_cluster_kube::{Access, Deployments, Rhythm, connect};
use penstock_testkit::kube::{ApiServer, Controllers, NewPod, Running};
use penstock_types::annotation::Rejected;
use penstock_types::{Activity, RevisionId};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A test that waits longer has failed. Far beyond what any machine needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Short waits, so that a test of faults does not take long.
pub(crate) const RHYTHM: Rhythm = Rhythm {
    page: 100,
    watch: Duration::from_secs(30),
    longest_wait: Duration::from_millis(200),
};

/// The server, what plays the cluster, and a view of it.
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    _controllers: Option<Controllers>,
    pub(crate) cluster: Arc<Deployments>,
}

impl World {
    /// As an autoscaler sees it, once it has seen everything.
    pub(crate) async fn autoscaler(server: Arc<ApiServer>) -> Self {
        let controllers = controllers(&server);
        let cluster = deployments(&server, autoscaler()).await;
        cluster.complete().await;
        Self {
            server,
            _controllers: Some(controllers),
            cluster,
        }
    }

    /// The same with nobody who runs pods.
    pub(crate) async fn watching(server: Arc<ApiServer>) -> Self {
        let cluster = deployments(&server, autoscaler()).await;
        cluster.complete().await;
        Self {
            server,
            _controllers: None,
            cluster,
        }
    }

    /// Waits until the revision is as it should be.
    pub(crate) async fn until(
        &self,
        id: &RevisionId,
        is_so: impl Fn(&Revision) -> bool,
    ) -> Arc<Revision> {
        until(&*self.cluster, id, is_so).await
    }

    pub(crate) async fn scale(&self, id: &RevisionId, pods: u32) {
        self.cluster.scale(id, pods).await.unwrap();
    }

    /// Puts activators into the path, or takes them out.
    pub(crate) async fn settle(&self, id: &RevisionId, proxied: bool) {
        self.cluster.settle(id, wish(proxied)).await.unwrap();
    }

    /// Addresses that the Service leads to, by its slices.
    pub(crate) fn endpoints(&self, namespace: &str, service: &str) -> Vec<String> {
        endpoints(&self.server, namespace, service)
    }

    /// Waits for an Event with this reason about the object of this name.
    pub(crate) async fn until_told(&self, name: &str, reason: &str) -> String {
        let server = &self.server;
        let told = async {
            loop {
                let events = server.list("Event", "");
                let event = events.iter().find(|event| {
                    event["involvedObject"]["name"] == name && event["reason"] == reason
                });
                if let Some(event) = event {
                    return event["message"].as_str().unwrap().to_owned();
                }
                let known = events.len();
                let more = |_: &_| server.list("Event", "").len() > known;
                server.until_called(more).await;
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(LIMIT, told).await;
        told.unwrap_or_else(|_| panic!("no Event {reason} about {name}"))
    }
}

pub(crate) async fn until(
    cluster: &dyn Cluster,
    id: &RevisionId,
    is_so: impl Fn(&Revision) -> bool,
) -> Arc<Revision> {
    let is_so = |picture: &Arc<Snapshot>| picture.revisions.get(id).is_some_and(|it| is_so(it));
    let mut pictures = cluster.snapshot();
    let waited = tokio::time::timeout(LIMIT, pictures.wait_for(is_so)).await;
    let Ok(picture) = waited else {
        panic!("{id}: {:?}", cluster.snapshot().borrow().revisions.get(id));
    };
    Arc::clone(&picture.unwrap().revisions[id])
}

pub(crate) async fn until_gone(cluster: &dyn Cluster, id: &RevisionId) {
    let mut pictures = cluster.snapshot();
    let gone = |picture: &Arc<Snapshot>| !picture.revisions.contains_key(id);
    let waited = tokio::time::timeout(LIMIT, pictures.wait_for(gone)).await;
    waited.expect("it goes").unwrap();
}

pub(crate) fn endpoints(server: &ApiServer, namespace: &str, service: &str) -> Vec<String> {
    let slices = server.list("EndpointSlice", namespace);
    let mut all: Vec<String> = slices
        .iter()
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service)
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Pods that take connections at 8080 and 8012, ready at once.
pub(crate) fn controllers(server: &ApiServer) -> Controllers {
    Controllers::setup(server)
        .on_start(|pod: NewPod| async move {
            let own = TcpListener::bind((pod.ip, 8080)).await.unwrap();
            let queue = TcpListener::bind((pod.ip, 8012)).await.unwrap();
            Box::new((own, queue)) as Running
        })
        .start()
}

pub(crate) fn autoscaler() -> Role {
    Role::Autoscaler {
        ours: Arc::new(|_| true),
        activators: ("penstock-system".to_owned(), "activator".to_owned()),
    }
}

pub(crate) async fn deployments(server: &ApiServer, role: Role) -> Arc<Deployments> {
    let access = Access::Url(server.url().parse().unwrap());
    let client = connect("test", &access).await.unwrap();
    let options = Options {
        namespace: None,
        domain: "cluster.local".to_owned(),
        rhythm: RHYTHM,
        check: check(),
    };
    Deployments::start(client, options, role)
}

/// Knows one annotation, which has to be a number.
fn check() -> AnnotationCheck {
    Arc::new(|annotations| {
        let key = "autoscaling.knative.dev/target";
        let value = annotations.get(key);
        let wrong = value.filter(|value| value.parse::<f64>().is_err());
        let wrong = wrong.map(|value| Rejected {
            keys: vec![key.to_owned()],
            reason: format!("{value:?} is not a number of requests"),
        });
        wrong.into_iter().collect()
    })
}

pub(crate) fn wish(proxied: bool) -> Wish {
    Wish {
        wanted: None,
        ready: 0,
        proxied,
        activators: 2,
        activity: Activity::Active,
        initialized: true,
        stable_window: Duration::from_secs(60),
        panic_window: Duration::from_secs(6),
        scraped: true,
    }
}

pub(crate) fn id(name: &str) -> RevisionId {
    RevisionId::new("default", name)
}

/// A Deployment with the label, at zero.
pub(crate) fn deployment(name: &str) -> Value {
    workload("Deployment", name)
}

pub(crate) fn workload(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": { "penstock.dev/scale": "true" },
            "annotations": {},
        },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [
                    { "name": "web", "image": "web", "ports": [{ "containerPort": 8080 }] }
                ] },
            },
        },
    })
}

/// The same with a queue-proxy in its pods.
pub(crate) fn with_queue_proxy(mut workload: Value) -> Value {
    let containers = &mut workload["spec"]["template"]["spec"]["containers"];
    containers.as_array_mut().unwrap().push(json!({
        "name": "queue-proxy", "image": "queue-proxy", "ports": [{ "containerPort": 8012 }],
    }));
    workload
}

/// The activators' own Service leads to these.
pub(crate) fn put_activators(server: &ApiServer, ips: &[&str]) {
    let endpoints: Vec<Value> = ips
        .iter()
        .map(|ip| json!({ "addresses": [ip], "conditions": { "ready": true } }))
        .collect();
    server.put(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "activator-abc",
            "namespace": "penstock-system",
            "labels": { "kubernetes.io/service-name": "activator" },
        },
        "addressType": "IPv4",
        "ports": [
            { "name": "http", "port": 8012, "protocol": "TCP" },
            { "name": "http2", "port": 8013, "protocol": "TCP" },
        ],
        "endpoints": endpoints,
    }));
}
