//! Revisions, pods and routes with everything filled in that a test does not care about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use penstock_cluster::{
    Phase, Pod, Reachability, Readiness, Revision, Route, Split, Standing, Target,
};
use penstock_types::annotation::AUTOSCALING;
use penstock_types::{Protocol, RevisionId, Slots, Timeouts};

/// A revision to be finished by the methods below.
#[derive(Clone, Debug)]
pub struct RevisionBuilder(Revision);

/// `name` in the namespace `default`: HTTP/1.1, no concurrency limit, no annotations, no pods.
/// Service and configuration are the name without its number (`hello-00001`: `hello`).
pub fn revision(name: &str) -> RevisionBuilder {
    let service: Arc<str> = name
        .rsplit_once('-')
        .map_or(name, |(service, _)| service)
        .into();
    RevisionBuilder(Revision {
        id: RevisionId::new("default", name),
        configuration: Arc::clone(&service),
        service,
        annotations: Arc::default(),
        slots: Slots::Unlimited,
        timeouts: Timeouts::default(),
        protocol: Protocol::Http1,
        reachability: Reachability::Reachable,
        wanted: 0,
        pods: Arc::default(),
        unplaced: 0,
        position: None,
        readiness: Readiness::Trusted,
        queue_proxy: true,
        standing: None,
        trouble: None,
    })
}

impl RevisionBuilder {
    /// In this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.0.id = RevisionId::new(namespace, self.0.id.name());
        self
    }

    /// With this `containerConcurrency`; 0 is no limit.
    #[must_use]
    pub fn concurrency(mut self, limit: u32) -> Self {
        self.0.slots = Slots::from_concurrency(limit);
        self
    }

    /// With these time limits.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.0.timeouts = timeouts;
        self
    }

    /// Speaking HTTP/2 without TLS.
    #[must_use]
    pub fn h2c(mut self) -> Self {
        self.0.protocol = Protocol::H2c;
        self
    }

    /// With this reachability.
    #[must_use]
    pub fn reachability(mut self, reachability: Reachability) -> Self {
        self.0.reachability = reachability;
        self
    }

    /// With the annotation `autoscaling.knative.dev/NAME`.
    #[must_use]
    pub fn autoscaling(mut self, name: &str, value: &str) -> Self {
        let annotations = Arc::make_mut(&mut self.0.annotations);
        annotations.insert(format!("{AUTOSCALING}{name}"), value.to_owned());
        self
    }

    /// With this annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        let annotations = Arc::make_mut(&mut self.0.annotations);
        annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With one more ready pod at `addr`, and one more wanted.
    #[must_use]
    pub fn pod(self, addr: SocketAddr) -> Self {
        self.with(pod(addr))
    }

    /// With one more pod, and one more wanted.
    #[must_use]
    pub fn with(mut self, pod: Pod) -> Self {
        let mut pods = self.0.pods.to_vec();
        pods.push(pod);
        pods.sort_by_key(|pod| pod.addr);
        self.0.pods = pods.into();
        self.0.wanted += 1;
        self
    }

    /// With pods that an activator asks itself, and uses before they are ready if `early`;
    /// `service` stands for all of them.
    #[must_use]
    pub fn probed(mut self, early: bool, service: Option<SocketAddr>) -> Self {
        self.0.readiness = Readiness::Probed { early, service };
        self
    }

    /// With this memory of its scaling in the cluster.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> Self {
        self.0.standing = Some(Arc::new(standing));
        self
    }

    /// With so many pods wanted, whether they are there or not.
    #[must_use]
    pub fn wanted(mut self, pods: u32) -> Self {
        self.0.wanted = pods;
        self
    }

    /// With this trouble.
    #[must_use]
    pub fn trouble(mut self, why: &str) -> Self {
        self.0.trouble = Some(why.into());
        self
    }

    /// The revision.
    pub fn build(self) -> Revision {
        self.0
    }
}

impl From<RevisionBuilder> for Revision {
    fn from(builder: RevisionBuilder) -> Self {
        builder.0
    }
}

/// A ready pod at `addr`, asked for, started and ready just now.
pub fn pod(addr: SocketAddr) -> Pod {
    let now = Instant::now();
    Pod {
        name: format!("pod-{}", addr.port()).into(),
        addr,
        phase: Phase::Ready,
        asked: now,
        started: Some(now),
        ready: Some(now),
    }
}

/// A pod at `addr` that is not ready yet.
pub fn starting_pod(addr: SocketAddr) -> Pod {
    Pod {
        phase: Phase::Starting,
        ready: None,
        ..pod(addr)
    }
}

/// A pod at `addr` that finishes what it has.
pub fn draining_pod(addr: SocketAddr) -> Pod {
    Pod {
        phase: Phase::Draining,
        ..pod(addr)
    }
}

/// A route of the default tag with everything going to one revision.
pub fn route_to(revision: &RevisionId) -> Arc<Route> {
    let all = Target {
        revision: revision.clone(),
        percent: 100,
    };
    Arc::new(Route {
        tag: String::new(),
        split: Split::new(vec![all]),
    })
}
