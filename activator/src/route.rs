//! Who a request is for.
//!
//! In this order: the headers that an ingress sets (both of them, and they win), a host of the
//! snapshot's routes, the host of a Kubernetes service with the revision's name.
//!
//! Source: spec/activator.md §2.5.

use std::borrow::Cow;

use http::HeaderValue;
use http::request::Parts;
use penstock_cluster::Snapshot;
use penstock_types::{RevisionId, header};

use crate::refusal::RequestError;

/// What the hosts of services end in, after `NAME.NAMESPACE`.
const SERVICE: &str = "svc";

/// How requests are told apart, beside the snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The cluster's domain, `cluster.local` as a rule.
    pub(crate) cluster_domain: String,
    /// Whether a caller may learn which hosts there are.
    pub(crate) list_hosts: bool,
}

impl Rules {
    /// The revision that a request is for, which came with `host`.
    ///
    /// # Errors
    ///
    /// [`RequestError::UnknownHost`] or [`RequestError::NoRevision`], both 404. Whether the
    /// revision exists is for the caller to see.
    pub(crate) fn find<'a>(
        &self,
        head: &Parts,
        host: Option<&HeaderValue>,
        snapshot: &'a Snapshot,
    ) -> Result<Cow<'a, RevisionId>, RequestError> {
        let named = |name| {
            head.headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .filter(|value| !value.is_empty())
        };
        if let (Some(name), Some(namespace)) = (
            named(header::SERVING_REVISION),
            named(header::SERVING_NAMESPACE),
        ) {
            return Ok(Cow::Owned(RevisionId::new(namespace, name)));
        }
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or("");
        if let Some(route) = routed(host, snapshot) {
            return match &route.split {
                Some(split) => Ok(Cow::Borrowed(split.pick())),
                None => Err(RequestError::NoRevision {
                    host: host.to_owned(),
                }),
            };
        }
        if let Some(revision) = self.service_host(host) {
            return Ok(Cow::Owned(revision));
        }
        if snapshot.routes.hosts.is_empty() && !self.list_hosts {
            // Where an ingress routes, the original's words (spec/activator.md §2.5).
            return Err(RequestError::UnknownRevision(RevisionId::new("", "")));
        }
        Err(RequestError::UnknownHost {
            host: host.to_owned(),
            known: self.list_hosts.then(|| {
                let mut hosts: Vec<String> = snapshot.routes.hosts.keys().cloned().collect();
                hosts.sort();
                hosts
            }),
        })
    }

    fn service_host(&self, host: &str) -> Option<RevisionId> {
        let mut parts = host.splitn(4, '.');
        let (name, namespace) = (parts.next()?, parts.next()?);
        let (svc, domain) = (parts.next()?, parts.next()?);
        let domain = domain.split(':').next().unwrap_or(domain);
        (svc == SERVICE && domain == self.cluster_domain).then(|| RevisionId::new(namespace, name))
    }
}

/// The route of a host: without its port, in any case, with or without the root's dot.
fn routed<'a>(host: &str, snapshot: &'a Snapshot) -> Option<&'a penstock_cluster::Route> {
    let hosts = &snapshot.routes.hosts;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let found = hosts.get(name).or_else(|| {
        let has_upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
        has_upper
            .then(|| hosts.get(&name.to_ascii_lowercase()))
            .flatten()
    });
    found.map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use penstock_cluster::{Route, Routes, Split, Target};
    use std::sync::Arc;

    fn rules(list_hosts: bool) -> Rules {
        Rules {
            cluster_domain: "cluster.local".to_owned(),
            list_hosts,
        }
    }

    fn snapshot() -> Snapshot {
        let route = Route {
            tag: String::new(),
            split: Split::new(vec![Target {
                revision: RevisionId::new("default", "hello-00001"),
                percent: 100,
            }]),
        };
        let mut routes = Routes::default();
        routes
            .hosts
            .insert("hello.default.example.com".to_owned(), Arc::new(route));
        Snapshot {
            routes: Arc::new(routes),
            ..Snapshot::default()
        }
    }

    fn find(rules: &Rules, headers: &[(&str, &str)]) -> Result<String, String> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        rules
            .find(
                &head,
                penstock_relay::headers::host(&head).as_ref(),
                &snapshot(),
            )
            .map(|revision| revision.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn cases_1_to_4_headers_hosts_and_service_names() {
        let both = [
            ("knative-serving-revision", "rev"),
            ("knative-serving-namespace", "ns"),
            ("host", "hello.default.example.com"),
        ];
        let table: [(&[(&str, &str)], &str); 8] = [
            (&both, "ns/rev"),
            (
                &[("host", "hello.default.example.com")],
                "default/hello-00001",
            ),
            (
                &[("host", "hello.default.example.com:8080")],
                "default/hello-00001",
            ),
            (
                &[("host", "Hello.Default.EXAMPLE.com")],
                "default/hello-00001",
            ),
            (
                &[("host", "hello.default.example.com.")],
                "default/hello-00001",
            ),
            (&[("host", "rev.ns.svc.cluster.local")], "ns/rev"),
            (&[("host", "rev.ns.svc.cluster.local:80")], "ns/rev"),
            (
                &[
                    ("knative-serving-revision", "rev"),
                    ("host", "a.b.svc.cluster.local"),
                ],
                "b/a",
            ),
        ];
        for (headers, want) in table {
            assert_eq!(find(&rules(false), headers).as_deref(), Ok(want));
        }
    }

    #[test]
    fn an_unknown_host_is_said_and_the_known_ones_only_to_whom_they_may_be() {
        let headers = [("host", "nobody.example.com")];
        assert_eq!(
            find(&rules(false), &headers).unwrap_err(),
            "no service has the host \"nobody.example.com\""
        );
        assert_eq!(
            find(&rules(true), &headers).unwrap_err(),
            "no service has the host \"nobody.example.com\"; there are: hello.default.example.com"
        );
    }

    #[test]
    fn short_service_hosts_are_none() {
        for host in [
            "rev.ns.svc",
            "rev.ns",
            "rev",
            "",
            "rev.ns.pod.cluster.local",
        ] {
            assert!(find(&rules(false), &[("host", host)]).is_err(), "{host}");
        }
    }
}
