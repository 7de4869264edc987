//! From a slot to the head of an answer: the request goes to the slot's pod, and to another one
//! while that took nothing of it, or cut it off and it may be repeated.
//!
//! Source: spec/activator.md §7; issue "The activator", point 5.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use penstock_relay::body::Relayed;
use penstock_relay::deadline::{Limits, TooLate};
use penstock_relay::forward::{ForwardError, Outgoing};
use penstock_relay::headers;
use penstock_relay::request_body::Replay;
use penstock_relay::serve::Caller;
use penstock_relay::tls::name_in;
use penstock_runtime::metrics::Outcome;
use penstock_types::{Protocol, header};
use tokio::time::Instant;

use super::{Active, App, Asking, Came, Onward};
use crate::aside::{self, Fault};
use crate::metrics::Measured;
use crate::refusal::{RequestError, is_cut_off, is_unreached};
use crate::revision::Place;
use crate::server_timing::Marks;

/// Most of a request's body that is kept to send it to another pod.
const REPLAY_LIMIT: usize = 64 * 1024;

/// Beside what the workload itself says there.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

impl App {
    /// Forwards, and waits for a slot elsewhere while nothing was sent to anybody.
    pub(super) async fn exchange(
        &self,
        asking: &Asking<'_>,
        came: Box<Came>,
        mut active: Active,
        measured: &mut Measured,
    ) -> Result<(Response<Relayed>, Active), RequestError> {
        let Asking {
            revision,
            caller,
            limits,
            ..
        } = *asking;
        let Came { head, body } = *came;
        let outgoing = self.prepare(head, caller, asking.onward, measured);
        let replay = Replay::new(body, REPLAY_LIMIT);
        // Its own, where nobody behind the pod's address puts it back.
        let host = measured.host().filter(|_| !asking.onward.queue_proxy);
        let host = host.cloned();
        let tells_timing = self.shared.server_timing && asking.waited;
        measured.enters();
        let mut repeated = false;
        loop {
            let place = active.slot.place().clone();
            let body = replay.attempt().ok_or_else(too_long_to_repeat)?;
            let sent = Instant::now();
            if sent >= limits.answer_due() {
                return Err(TooLate.into()); // nobody waits for it any more
            }
            let addr = place.dest(self.shared.pods.as_ref());
            measured.sent(addr);
            let secured = self.shared.pods.is_some();
            let secured = secured.then(|| self.relay.named(&name_in(revision.id.namespace())));
            let relay = secured.as_ref().unwrap_or(&self.relay);
            let host = host.as_ref().unwrap_or(place.host());
            let result = relay.forward(addr, host, &outgoing, body, caller).await;
            measured.attempt_ends_with(match &result {
                Ok(answer) => Outcome::Status(answer.status()),
                Err(error) => Outcome::Error(error.proxy_error()),
            });
            let Some(fault) = fault_of(&result) else {
                let mut answer = result?; // 502
                self.first_byte(&place, *limits);
                if !answer.status().is_server_error() {
                    active.slot.answers_well();
                }
                if tells_timing {
                    let arrived = limits.arrived().into_std();
                    let marks = Marks {
                        arrived,
                        pod: place.came_up_since(arrived),
                        sent: sent.into_std(),
                        first_byte: Instant::now().into_std(),
                    };
                    if let Some(timing) = marks.header() {
                        answer.headers_mut().append(SERVER_TIMING, timing);
                    }
                }
                return Ok((answer, active));
            };
            aside::hold_against(&self.shared, &revision.gate, &place, fault);
            let again = match fault {
                Fault::Refused => true,
                Fault::CutOff => {
                    let may = outgoing.is_repeatable() && !repeated;
                    let soon = sent.elapsed() < self.shared.repeat_within;
                    repeated = may && soon && revision.gate.has_another(&place);
                    repeated
                }
            };
            if !again || replay.attempt().is_none() {
                return Ok((result?, active)); // 502
            }
            tracing::debug!("{} failed a request: {fault:?}", place.name());
            // Its connection is not needed while the request waits.
            drop(result);
            measured.attempt_is_over();
            let admit = active.slot.elsewhere();
            active = self.wait(asking, admit).await?;
        }
    }

    /// The request as every pod gets it (spec/activator.md §7).
    fn prepare(
        &self,
        mut head: Parts,
        caller: &Caller,
        onward: Onward,
        measured: &Measured,
    ) -> Outgoing {
        headers::remove_routing(&mut head.headers);
        let mut outgoing = Outgoing::prepare(head, caller);
        // Last, so that no caller can name them in `Connection` and have them taken out.
        let headers = &mut outgoing.head().headers;
        if onward.queue_proxy
            && let Some(host) = measured.host()
            && !headers.contains_key(header::ORIGINAL_HOST)
        {
            headers.insert(header::ORIGINAL_HOST, host.clone());
        }
        let by = HeaderValue::from_static(header::PROBE_ACTIVATOR);
        headers.insert(header::PROXY_REQUEST, by);
        if self.shared.scout.how().passthrough {
            let passes = HeaderValue::from_static(header::PASSTHROUGH);
            headers.append(header::PASSTHROUGH_LB, passes);
        }
        measured.goes_on(headers);
        match onward.protocol {
            Some(Protocol::H2c) => outgoing.use_http2(),
            Some(Protocol::Http1) => outgoing.use_http1(),
            None => {}
        }
        outgoing
    }

    /// The pod has begun to answer.
    fn first_byte(&self, place: &Place, limits: Limits) {
        let arrived = limits.arrived().into_std();
        if let Some(pod) = place.served(arrived) {
            let first_byte = Instant::now().into_std();
            self.shared.metrics.cold.observe(arrived, pod, first_byte);
        }
    }
}

/// What a pod did wrong that says something of the pod, not just of this request.
fn fault_of(result: &Result<Response<Relayed>, ForwardError>) -> Option<Fault> {
    match result {
        Ok(answer) if is_unreached(answer) => Some(Fault::Refused),
        Ok(answer) if is_cut_off(answer) => Some(Fault::CutOff),
        Err(error) if error.nothing_sent() => Some(Fault::Refused),
        Err(ForwardError::Closed { .. }) => Some(Fault::CutOff),
        Ok(_) | Err(_) => None,
    }
}

/// A request whose body is too long to be kept, and whose first pod could not be reached.
fn too_long_to_repeat() -> RequestError {
    RequestError::Upstream(ForwardError::NotRepeatable)
}
