//! The kinds of objects the server knows, and what of the real one's behaviour differs by kind.

use std::cmp::Ordering;

/// A kind of object: where it is served, and its rules.
#[derive(Debug)]
pub struct Kind {
    /// Its API group; empty for the core.
    pub group: &'static str,
    /// The one version that is served.
    pub version: &'static str,
    /// Its name in paths and in RBAC rules.
    pub plural: &'static str,
    /// Its name in objects.
    pub kind: &'static str,
    /// Whether it lives in a namespace.
    pub namespaced: bool,
    /// Whether `status` is a subresource, apart from the rest.
    pub status: bool,
    /// Whether it has the subresource `scale`.
    pub scale: bool,
    /// What raises `metadata.generation`.
    pub generation: Generation,
    /// Whether a custom resource definition declares it: no strategic merge patch, no
    /// defaults, and an update must name its resourceVersion.
    pub custom: bool,
}

/// What raises `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    None,
    /// Anything outside `metadata` and `status`.
    Spec,
    /// The same, and the annotations: as Deployments do.
    SpecAndAnnotations,
}

impl Kind {
    /// A built-in kind in a namespace: no status, no scale, no generation.
    const fn built_in(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            plural,
            kind,
            namespaced: true,
            status: false,
            scale: false,
            generation: Generation::None,
            custom: false,
        }
    }

    /// A kind as a custom resource definition declares it: in a namespace, with the
    /// subresource `status`.
    pub const fn custom(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            status: true,
            generation: Generation::Spec,
            custom: true,
            ..Self::built_in(group, version, plural, kind)
        }
    }

    /// The same outside namespaces.
    #[must_use]
    pub const fn of_the_cluster(self) -> Self {
        Self {
            namespaced: false,
            ..self
        }
    }

    const fn with_status(self) -> Self {
        Self {
            status: true,
            ..self
        }
    }

    const fn with_scale(self) -> Self {
        Self {
            scale: true,
            ..self
        }
    }

    const fn raised_by(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// The `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `deployments.apps`, as messages and CRDs name it.
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Whether an update without a resourceVersion is refused.
    pub(super) fn insists_on_version(&self) -> bool {
        self.custom || self.plural == "leases"
    }

    fn identity(&self) -> (&str, &str) {
        (self.group, self.plural)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        // Those of a store are the same values: objects are looked up by the thousand.
        std::ptr::eq(self, other) || self.identity() == other.identity()
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        self.identity().cmp(&other.identity())
    }
}

/// The reviews answer and are not kept, so they are in no store.
pub(super) const REVIEWS: [&str; 2] = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];

const SERVING: &str = "serving.knative.dev";
const AUTOSCALING: &str = "autoscaling.internal.knative.dev";
const NETWORKING: &str = "networking.internal.knative.dev";
const RBAC: &str = "rbac.authorization.k8s.io";

use Generation::{Spec, SpecAndAnnotations};

/// All that the server knows from the start. Where two kinds have one name, the first is meant
/// by the name alone.
#[rustfmt::skip]
pub(super) static KINDS: &[Kind] = &[
    Kind::built_in("", "v1", "namespaces", "Namespace").of_the_cluster().with_status(),
    Kind::built_in("", "v1", "nodes", "Node").of_the_cluster().with_status(),
    Kind::built_in("", "v1", "services", "Service").with_status(),
    Kind::built_in("", "v1", "endpoints", "Endpoints"),
    Kind::built_in("", "v1", "configmaps", "ConfigMap"),
    Kind::built_in("", "v1", "secrets", "Secret"),
    Kind::built_in("", "v1", "serviceaccounts", "ServiceAccount"),
    Kind::built_in("", "v1", "pods", "Pod").with_status().raised_by(Spec),
    Kind::built_in("", "v1", "events", "Event"),
    Kind::built_in("apps", "v1", "deployments", "Deployment").with_status().with_scale().raised_by(SpecAndAnnotations),
    Kind::built_in("apps", "v1", "statefulsets", "StatefulSet").with_status().with_scale().raised_by(Spec),
    Kind::built_in("apps", "v1", "replicasets", "ReplicaSet").with_status().with_scale().raised_by(Spec),
    Kind::built_in("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice").raised_by(Spec),
    Kind::built_in("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind::built_in("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler").with_status(),
    Kind::built_in("events.k8s.io", "v1", "events", "Event"),
    Kind::built_in("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget").with_status().raised_by(Spec),
    Kind::built_in("networking.k8s.io", "v1", "ingresses", "Ingress").with_status().raised_by(Spec),
    Kind::built_in("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy").raised_by(Spec),
    Kind::built_in(RBAC, "v1", "roles", "Role"),
    Kind::built_in(RBAC, "v1", "rolebindings", "RoleBinding"),
    Kind::built_in(RBAC, "v1", "clusterroles", "ClusterRole").of_the_cluster(),
    Kind::built_in(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding").of_the_cluster(),
    Kind::built_in("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition").of_the_cluster().with_status().raised_by(Spec),
    Kind::custom(SERVING, "v1", "revisions", "Revision"),
    Kind::custom(SERVING, "v1", "services", "Service"),
    Kind::custom(SERVING, "v1", "configurations", "Configuration"),
    Kind::custom(SERVING, "v1", "routes", "Route"),
    Kind::custom(AUTOSCALING, "v1alpha1", "podautoscalers", "PodAutoscaler"),
    Kind::custom(AUTOSCALING, "v1alpha1", "metrics", "Metric"),
    Kind::custom(NETWORKING, "v1alpha1", "serverlessservices", "ServerlessService"),
    Kind::custom(NETWORKING, "v1alpha1", "ingresses", "Ingress"),
    Kind::custom("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
];
