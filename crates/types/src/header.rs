//! Names of the headers that the contract gives a meaning.
//!
//! All lower case, as HTTP/2 sends them and as `http::HeaderName::from_static` wants them.

/// Name of the revision that a request is for.
pub const SERVING_REVISION: &str = "knative-serving-revision";
/// Namespace of the revision that a request is for.
pub const SERVING_NAMESPACE: &str = "knative-serving-namespace";
/// Traffic tag under which a request came.
pub const SERVING_TAG: &str = "knative-serving-tag";
/// Present when the request came by the default route.
pub const SERVING_DEFAULT_ROUTE: &str = "knative-serving-default-route";
/// `activator` on every request that an activator forwarded.
pub const PROXY_REQUEST: &str = "k-proxy-request";
/// Host that the caller had sent, where a proxy had to change it.
pub const ORIGINAL_HOST: &str = "k-original-host";
/// Marks a probe of the network, and says for whom it is.
pub const NETWORK_PROBE: &str = "k-network-probe";
/// Echoed to a network probe.
pub const NETWORK_HASH: &str = "k-network-hash";
/// Marks a probe of the kubelet.
pub const KUBELET_PROBE: &str = "k-kubelet-probe";
/// RFC 9209: which proxy answered in place of the workload, and why.
pub const PROXY_STATUS: &str = "proxy-status";
/// Ours, in the handshake between activator and autoscaler: [`DEMAND_EXTENSION_VERSION`] on both
/// sides if they know the additions of [`wire`](crate::wire).
pub const DEMAND_EXTENSION: &str = "penstock-demand";
/// Value of [`DEMAND_EXTENSION`].
pub const DEMAND_EXTENSION_VERSION: &str = "1";

/// User-Agent prefix of the kubelet's probes.
pub const KUBE_PROBE_AGENT: &str = "kube-probe/";
/// User-Agent of an activator that probes a queue-proxy.
pub const ACTIVATOR_PROBE_AGENT: &str = "Knative-Activator-Probe";
/// User-Agent of an autoscaler that probes an activator.
pub const AUTOSCALING_PROBE_AGENT: &str = "Knative-Autoscaling-Probe";

/// Value of [`NETWORK_PROBE`] for a queue-proxy.
pub const PROBE_QUEUE: &str = "queue";
/// Value of [`NETWORK_PROBE`] for an activator.
pub const PROBE_ACTIVATOR: &str = "activator";
/// Value of [`NETWORK_PROBE`] that any hop answers.
pub const PROBE_ANY: &str = "probe";
