//! One request on its way, and what is noted of it.

use std::net::SocketAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_relay::serve::Caller;
use penstock_runtime::metrics::known_method;
use penstock_types::Slots;
use penstock_types::header::{self, text};
use tokio::time::Instant;

use super::filed::{Labels, Tag};
use super::{Metrics, Seen};
use crate::request::Shared;
use crate::request_log::Logged;
use crate::trace::{Outcome, Traced};

/// One request on its way, counted when this is dropped: an answer may end by its last byte, by
/// breaking off, or because its caller is gone.
///
/// The clock is read once, at the end, unless the request had to wait.
#[derive(Debug)]
pub(crate) struct Measured {
    metrics: Metrics,
    container: SocketAddr,
    /// Whether it is left out, being a probe; the exchange with the container is not.
    probe: bool,
    method: Method,
    version: Version,
    host: Option<HeaderValue>,
    tag: Tag<HeaderValue>,
    arrived: Instant,
    /// Since when it is no longer in line, if it was.
    waited: Option<Instant>,
    /// Whether it went to the container.
    reached: bool,
    request_bytes: u64,
    /// What the caller was answered; `None` if it left before.
    status: Option<StatusCode>,
    /// Why the container did not answer, if it did not.
    failed: Option<&'static str>,
    /// What its line will tell, if it gets one.
    logged: Option<Box<Logged>>,
    /// Its spans, if requests are traced.
    traced: Option<Box<Traced>>,
    pub(crate) response_bytes: u64,
    pub(crate) broken: bool,
    /// Whether it came over TLS.
    tls: bool,
}

impl Measured {
    pub(crate) fn start(
        shared: &Shared,
        head: &Parts,
        body: &Incoming,
        caller: &Caller,
        arrived: Instant,
    ) -> Self {
        let lines = shared.lines.as_ref();
        let looked_at = shared.metrics.are_kept() || lines.is_some() || shared.tracer.is_some();
        if !looked_at {
            return Self::of_nothing(shared.user_addr, arrived);
        }
        let noted = Noted::of(&head.headers);
        let probe = noted.probe;
        let host = noted.host.cloned().or_else(|| headers::host(head));
        let tracer = shared.tracer.as_ref();
        let traced = tracer.map(|tracer| Traced::start(tracer, head, caller, &host, probe));
        Self {
            metrics: shared.metrics.clone(),
            container: shared.user_addr,
            probe: noted.probe,
            method: head.method.clone(),
            version: head.version,
            host,
            tag: noted.tag(),
            arrived,
            waited: None,
            reached: false,
            // Of a body without a length nobody counts the bytes.
            request_bytes: body.size_hint().exact().unwrap_or(0),
            status: None,
            failed: None,
            logged: lines.and_then(|lines| lines.remember(head, body, caller, arrived, probe)),
            traced,
            response_bytes: 0,
            broken: false,
            tls: caller.tls().is_some(),
        }
    }

    /// A request that nobody will be told of.
    fn of_nothing(container: SocketAddr, arrived: Instant) -> Self {
        Self {
            metrics: Metrics::none(),
            container,
            probe: false,
            method: Method::GET,
            version: Version::HTTP_11,
            host: None,
            tag: Tag::Disabled,
            arrived,
            waited: None,
            reached: false,
            request_bytes: 0,
            status: None,
            failed: None,
            logged: None,
            traced: None,
            response_bytes: 0,
            broken: false,
            tls: false,
        }
    }

    /// It goes on to the container, past the limit of `slots` unless it is a `bypass`: if requests
    /// are traced, its headers say so.
    pub(crate) fn goes_on(&mut self, head: &mut Parts, slots: Slots, bypass: bool) {
        if let Some(traced) = &mut self.traced {
            traced.goes_on(head, self.container, slots, bypass);
        }
    }

    /// It was in line, until `now`.
    pub(crate) fn waited(&mut self, now: Instant) {
        self.waited = Some(now);
    }

    /// It goes to the container.
    pub(crate) fn enters(&mut self) {
        self.reached = true;
        if let Some(traced) = &mut self.traced {
            traced.enters(self.waited.unwrap_or_else(Instant::now));
        }
    }

    /// The container's answer begins.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Its headers were changed to these before it goes to the container.
    pub(crate) fn has_headers(&mut self, headers: &HeaderMap) {
        if let Some(logged) = &mut self.logged {
            logged.has_headers(headers);
        }
    }

    /// Its line: what has no answer counts as 200, what broke off as 500, and an upgrade is not
    /// looked into (spec/queue-proxy.md §7.4, cases 25, 105, 123).
    fn write_line(&self, now: Instant) {
        let Some(logged) = &self.logged else {
            return;
        };
        let (code, size) = match self.status {
            _ if self.broken => (StatusCode::INTERNAL_SERVER_ERROR, 0),
            None | Some(StatusCode::SWITCHING_PROTOCOLS) => (StatusCode::OK, 0),
            Some(status) => (status, self.response_bytes),
        };
        logged.write(code.as_u16(), size, now);
    }

    /// Its spans, which end with it.
    fn tell_spans(&mut self, now: Instant) {
        if let Some(traced) = self.traced.take() {
            traced.tell(&Outcome {
                method: known_method(&self.method),
                version: self.version,
                tag: self.told_tag(),
                status: self.status,
                failed: self.failed,
                broken: self.broken,
                request_bytes: self.request_bytes,
                response_bytes: self.response_bytes,
                arrived: self.arrived,
                ended: now,
            });
        }
    }

    /// The tag under which it is told.
    fn told_tag(&self) -> Tag<&str> {
        match &self.tag {
            Tag::Named(tag) => tag.to_str().map_or(Tag::Undefined, Tag::Named),
            Tag::Disabled => Tag::Disabled,
            Tag::Default => Tag::Default,
            Tag::Undefined | Tag::Overflow => Tag::Undefined,
        }
    }

    /// It is answered in the container's place, with so many bytes.
    pub(crate) fn refused(&mut self, status: StatusCode, reason: &'static str, bytes: u64) {
        self.status = Some(status);
        self.response_bytes = bytes;
        self.failed = Some(reason);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let counted = self.metrics.are_kept() && (self.reached || !self.probe);
        if !counted && self.logged.is_none() && self.traced.is_none() {
            return;
        }
        let now = Instant::now();
        self.write_line(now);
        self.tell_spans(now);
        if !counted {
            return;
        }
        let host = match &self.host {
            // No series of these tells the host.
            _ if self.probe || self.broken => None,
            host => host.as_ref().and_then(|host| host.to_str().ok()),
        };
        let (status, failed) = match self.status {
            Some(status) => (status, self.failed),
            // A caller who left before there was an answer: 499 by custom, never seen outside.
            None => (
                StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
                Some("canceled"),
            ),
        };
        let labels = Labels {
            method: Some(known_method(&self.method)),
            version: self.version,
            status,
            failed,
            host: host.unwrap_or(""),
            tag: if self.probe {
                Tag::Disabled // not told
            } else {
                self.told_tag()
            },
            container: self.reached.then_some(self.container),
            probe: self.probe,
            broken: self.broken,
            tls: self.tls,
        };
        let whole = now.duration_since(self.arrived);
        let seen = Seen {
            whole,
            inside: self.waited.map_or(whole, |since| now.duration_since(since)),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        };
        self.metrics.count(&labels, seen);
    }
}

/// Whether metrics and lines leave a request out (spec/queue-proxy.md §3, `isProbe`).
pub(crate) fn is_probe(headers: &HeaderMap) -> bool {
    Noted::of(headers).probe
}

/// What the headers say of a request that its series tell. One pass finds all of it for less than
/// looking up one name costs.
#[derive(Debug, Default)]
struct Noted<'a> {
    /// Whether metrics leave it out (spec/queue-proxy.md §3, `isProbe`).
    probe: bool,
    /// The host that the caller had sent. An activator puts the pod's address in its place, which
    /// would make series of their own for each pod.
    host: Option<&'a HeaderValue>,
    tag: Option<&'a HeaderValue>,
    by_default: Option<&'a HeaderValue>,
}

impl<'a> Noted<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut noted = Self::default();
        for (name, value) in headers {
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                text::NETWORK_PROBE | text::KUBELET_PROBE => noted.probe = true,
                "user-agent" => {
                    let kubelet = header::KUBE_PROBE_AGENT.as_bytes();
                    noted.probe |= value.as_bytes().starts_with(kubelet);
                }
                text::ORIGINAL_HOST => noted.host = noted.host.or(Some(value)),
                text::SERVING_TAG => noted.tag = noted.tag.or(Some(value)),
                text::SERVING_DEFAULT_ROUTE => {
                    noted.by_default = noted.by_default.or(Some(value));
                }
                _ => {}
            }
        }
        noted
    }

    fn tag(&self) -> Tag<HeaderValue> {
        match (self.tag, self.by_default) {
            (None, None) => Tag::Disabled,
            (None, Some(_)) => Tag::Default,
            (Some(_), Some(by_default)) if by_default == "true" => Tag::Undefined,
            (Some(tag), _) => Tag::Named(tag.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cases_49_and_50_route_tags() {
        let table = [
            ("", "", Tag::Disabled),
            ("", "true", Tag::Default),
            ("", "false", Tag::Default),
            ("test-tag", "", Tag::Named("test-tag")),
            ("test-tag", "true", Tag::Undefined),
            ("x", "false", Tag::Named("x")),
        ];
        for (tag, by_default, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::SERVING_TAG, HeaderValue::from_static(tag));
            let by_default = HeaderValue::from_static(by_default);
            headers.insert(header::SERVING_DEFAULT_ROUTE, by_default);
            let want = match want {
                Tag::Named(tag) => Tag::Named(HeaderValue::from_static(tag)),
                Tag::Disabled => Tag::Disabled,
                Tag::Default => Tag::Default,
                Tag::Undefined | Tag::Overflow => Tag::Undefined,
            };
            assert_eq!(Noted::of(&headers).tag(), want);
        }
    }

    #[test]
    fn case_48_what_is_left_out_as_a_probe() {
        let table = [
            ("k-network-probe", "activator", true),
            ("k-kubelet-probe", "x", true),
            ("user-agent", "kube-probe/1.29", true),
            ("user-agent", "curl/8 kube-probe/1.29", false),
            ("k-network-probe", "", false),
            ("k-proxy-request", "activator", false),
        ];
        for (name, value, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(Noted::of(&headers).probe, want, "{name}: {value}");
        }
    }

    fn values() -> impl Strategy<Value = Option<HeaderValue>> {
        let bytes = prop_oneof![
            Just(b"true".to_vec()),
            prop::collection::vec(any::<u8>(), 0..5)
        ];
        prop::option::of(bytes.prop_filter_map("no value", |it| HeaderValue::from_bytes(&it).ok()))
    }

    proptest! {
        /// §3.2, of any bytes: what cannot be told as text is told as undefined.
        #[test]
        fn any_tag_and_default_make_one_label(tag in values(), by_default in values()) {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                (header::SERVING_TAG, &tag),
                (header::SERVING_DEFAULT_ROUTE, &by_default),
            ] {
                if let Some(value) = value {
                    headers.insert(name, value.clone());
                }
            }
            let given = |value: Option<HeaderValue>| value.filter(|value| !value.is_empty());
            let want = match (given(tag), given(by_default)) {
                (None, None) => Tag::Disabled,
                (None, Some(_)) => Tag::Default,
                (Some(_), Some(by_default)) if by_default.as_bytes() == b"true" => Tag::Undefined,
                (Some(tag), _) => Tag::Named(tag),
            };
            prop_assert_eq!(Noted::of(&headers).tag(), want);
        }
    }
}
