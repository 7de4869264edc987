//! Names of the headers that the contract gives a meaning.
//!
//! All lower case, as HTTP/2 sends them and as [`HeaderName::from_static`] wants them.

use http::HeaderName;

/// Each as a name, which a lookup takes without reading it again, and as a text.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: HeaderName = HeaderName::from_static($text);)*

        /// The same as texts, for a `match` that tells many apart.
        pub mod text {
            $($(#[$doc])* pub const $name: &str = $text;)*
        }
    };
}

names! {
    /// Name of the revision that a request is for.
    SERVING_REVISION = "knative-serving-revision";
    /// Namespace of the revision that a request is for.
    SERVING_NAMESPACE = "knative-serving-namespace";
    /// Traffic tag under which a request came.
    SERVING_TAG = "knative-serving-tag";
    /// Present when the request came by the default route.
    SERVING_DEFAULT_ROUTE = "knative-serving-default-route";
    /// `activator` on every request that an activator forwarded.
    PROXY_REQUEST = "k-proxy-request";
    /// Host that the caller had sent, where a proxy had to change it.
    ORIGINAL_HOST = "k-original-host";
    /// Marks a probe of the network, and says for whom it is.
    NETWORK_PROBE = "k-network-probe";
    /// Echoed to a network probe.
    NETWORK_HASH = "k-network-hash";
    /// Marks a probe of the kubelet.
    KUBELET_PROBE = "k-kubelet-probe";
    /// Lets a service mesh take a request to one pod although it is for the pod's Service.
    PASSTHROUGH_LB = "k-passthrough-lb";
    /// RFC 9209: which proxy answered in place of the workload, and why.
    PROXY_STATUS = "proxy-status";
    /// Ours: asks for word about the wait, and has it in interim answers.
    PROGRESS = "penstock-progress";
    /// Ours, in the handshake between activator and autoscaler: which version each side knows of
    /// the additions of [`wire`](crate::wire).
    DEMAND_EXTENSION = "penstock-demand";
}

/// Value of [`DEMAND_EXTENSION`].
pub const DEMAND_EXTENSION_VERSION: &str = "1";

/// Value of [`PASSTHROUGH_LB`].
pub const PASSTHROUGH: &str = "true";

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
