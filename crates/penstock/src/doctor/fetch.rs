//! The facts: a few lists, and a question for each right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use penstock_cluster_kube::{Access, connect};
use serde_json::{Value, json};

use super::{DoctorArgs, Error, Finding};

/// The roles of an installation of our own, as they are deployed.
const ROLES: [(&str, &str); 2] = [
    (
        "activator",
        include_str!("../../../../deploy/kube/base/activator-rbac.yaml"),
    ),
    (
        "autoscaler",
        include_str!("../../../../deploy/kube/base/autoscaler-rbac.yaml"),
    ),
];
/// Objects of one page.
const PAGE: usize = 500;

/// What is known of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When it was looked at, by the clock here.
    pub(super) now: SystemTime,
    /// The same by the API server's.
    pub(super) server_time: Option<SystemTime>,
    /// API groups, each with its resources; only those that matter here.
    pub(super) resources: BTreeMap<String, BTreeSet<String>>,
    /// The system namespace.
    pub(super) system: String,
    /// Deployments there.
    pub(super) programs: Vec<Value>,
    /// Deployments and StatefulSets that ask to be scaled.
    pub(super) workloads: Vec<Value>,
    /// HorizontalPodAutoscalers.
    pub(super) scalers: Vec<Value>,
    pub(super) services: Vec<Value>,
    /// Rights that a service account should have and has not.
    pub(super) denied: Vec<Right>,
    /// What could not be read.
    pub(super) unread: Vec<Finding>,
}

/// One verb on one resource, for a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    /// `NAMESPACE/NAME`.
    pub(super) account: String,
    /// Empty for all.
    pub(super) namespace: String,
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
}

impl Facts {
    /// Whether Knative Serving is installed.
    pub(super) fn is_knative(&self) -> bool {
        self.resources.contains_key("serving.knative.dev")
    }
}

/// Reads everything.
///
/// # Errors
///
/// If the API server is not reached at all.
pub(super) async fn facts(args: &DoctorArgs, access: &Access) -> Result<Facts, Error> {
    let client = connect("doctor", access)
        .await
        .map_err(|error| Error::Access(chain(&error)))?;
    let mut reader = Reader {
        client,
        unread: Vec::new(),
    };
    let (groups, server_time) = reader.groups().await?;
    let now = SystemTime::now();
    let mut resources = BTreeMap::new();
    for (group, version) in groups {
        if group.ends_with("knative.dev") {
            let list = reader.read(&format!("/apis/{group}/{version}")).await;
            let names = list.iter().flat_map(|it| it["resources"].as_array());
            let names = names.flatten().filter_map(|it| it["name"].as_str());
            resources.insert(group, names.map(str::to_owned).collect());
        }
    }
    let is_knative = resources.contains_key("serving.knative.dev");
    let system = args.system.clone().unwrap_or_else(|| {
        let system = if is_knative {
            "knative-serving"
        } else {
            "penstock-system"
        };
        system.to_owned()
    });
    let inside = |group: &str, kind: &str| match &args.namespace {
        Some(namespace) => format!("/apis/{group}/namespaces/{namespace}/{kind}"),
        None => format!("/apis/{group}/{kind}"),
    };
    let scaled = "labelSelector=penstock.dev%2Fscale%3Dtrue&";
    let mut workloads = Vec::new();
    for (plural, kind) in [
        ("deployments", "Deployment"),
        ("statefulsets", "StatefulSet"),
    ] {
        let list = reader.list(&inside("apps/v1", plural), scaled, kind).await;
        workloads.extend(list);
    }
    let scalers = reader
        .list(
            &inside("autoscaling/v2", "horizontalpodautoscalers"),
            "",
            "HorizontalPodAutoscaler",
        )
        .await;
    let programs = format!("/apis/apps/v1/namespaces/{system}/deployments");
    let programs = reader.list(&programs, "", "Deployment").await;
    // Also those of the system namespace, whichever the workloads are in.
    let services = reader.list("/api/v1/services", "", "Service").await;
    let denied = match is_knative {
        // Knative brings its own roles, under names of its own.
        true => Vec::new(),
        false => reader.denied(&system).await,
    };
    Ok(Facts {
        now,
        server_time,
        resources,
        system,
        programs,
        workloads,
        scalers,
        services,
        denied,
        unread: reader.unread,
    })
}

struct Reader {
    client: Client,
    unread: Vec<Finding>,
}

impl Reader {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Value>, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(Body::from(body))
            .map_err(|error| error.to_string())?;
        let sent = self.client.send(request).await;
        let (head, body) = sent.map_err(|error| chain(&error))?.into_parts();
        let body = body.collect().await.map_err(|error| chain(&error))?;
        let value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        Ok(Response::from_parts(head, value))
    }

    /// API groups with the version that the server prefers, and its clock.
    async fn groups(&self) -> Result<(Vec<(String, String)>, Option<SystemTime>), Error> {
        let answer = self.ask(Method::GET, "/apis", Vec::new()).await;
        let answer = answer.map_err(Error::Unreachable)?;
        if answer.status() != StatusCode::OK {
            let reason = answer.body()["message"].as_str().unwrap_or_default();
            return Err(Error::Unreachable(format!("{} {reason}", answer.status())));
        }
        let date = answer.headers().get(http::header::DATE);
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let groups = answer.body()["groups"].as_array().into_iter().flatten();
        let named = groups.filter_map(|group| {
            let version = group.pointer("/preferredVersion/version")?.as_str()?;
            Some((group["name"].as_str()?.to_owned(), version.to_owned()))
        });
        Ok((named.collect(), date))
    }

    /// What is at `path`; if it cannot be read, that is a finding.
    async fn read(&mut self, path: &str) -> Option<Value> {
        let wrong = match self.ask(Method::GET, path, Vec::new()).await {
            Ok(answer) if answer.status() == StatusCode::OK => return Some(answer.into_body()),
            Ok(answer) => {
                let message = answer.body()["message"].as_str().unwrap_or_default();
                format!("{} {message}", answer.status().as_u16())
            }
            Err(error) => error,
        };
        self.unread.push(Finding::warning(
            path.split('?').next().unwrap_or(path),
            format!("it cannot be read, so it was not checked: {wrong}"),
            "run this with an account that may read it",
        ));
        None
    }

    /// All objects of a list, page by page, each with its kind, which lists leave out.
    async fn list(&mut self, path: &str, query: &str, kind: &str) -> Vec<Value> {
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let page = format!("{path}?{query}limit={PAGE}{next}");
            let Some(mut page) = self.read(&page).await else {
                return objects;
            };
            if let Some(items) = page["items"].as_array_mut() {
                for mut item in items.drain(..) {
                    item["kind"] = kind.into();
                    objects.push(item);
                }
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => next = format!("&continue={token}"),
                _ => return objects,
            }
        }
    }

    /// The rights of our service accounts that are missing.
    async fn denied(&mut self, system: &str) -> Vec<Right> {
        let mut denied = Vec::new();
        for right in rights(system) {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": format!("system:serviceaccount:{}", right.account.replace('/', ":")),
                    "resourceAttributes": {
                        "namespace": right.namespace,
                        "verb": right.verb,
                        "group": right.group,
                        "resource": right.resource.split('/').next(),
                        "subresource": right.resource.split('/').nth(1),
                    },
                },
            });
            let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
            let answer = self
                .ask(Method::POST, path, review.to_string().into_bytes())
                .await;
            let wrong = match answer {
                Ok(answer) if answer.status().is_success() => {
                    if answer.body()["status"]["allowed"] != true {
                        denied.push(right);
                    }
                    continue;
                }
                Ok(answer) => {
                    let message = answer.body()["message"].as_str().unwrap_or_default();
                    format!("{} {message}", answer.status().as_u16())
                }
                Err(error) => error,
            };
            self.unread.push(Finding::warning(
                "rights of the service accounts",
                format!("they were not checked: {wrong}"),
                "run this with an account that may create subjectaccessreviews",
            ));
            break;
        }
        denied
    }
}

/// Every right that the deployed roles give.
pub(super) fn rights(system: &str) -> Vec<Right> {
    let mut rights = Vec::new();
    for (account, text) in ROLES {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_default();
        for role in documents {
            let namespace = match role["kind"].as_str() {
                Some("ClusterRole") => "",
                Some("Role") => system,
                _ => continue,
            };
            let words = |rule: &Value, key: &str| -> Vec<String> {
                let words = rule[key].as_array().into_iter().flatten();
                words
                    .filter_map(|it| Some(it.as_str()?.to_owned()))
                    .collect()
            };
            for rule in role["rules"].as_array().into_iter().flatten() {
                for group in words(rule, "apiGroups") {
                    for resource in words(rule, "resources") {
                        for verb in words(rule, "verbs") {
                            rights.push(Right {
                                account: format!("{system}/{account}"),
                                namespace: namespace.to_owned(),
                                verb,
                                group: group.clone(),
                                resource: resource.clone(),
                            });
                        }
                    }
                }
            }
        }
    }
    rights
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
