//! Answers that begin before there is a pod: a page for a browser, events for a program.
//!
//! Both stay open while their caller waits in line like any other, so that its demand is seen. Once
//! a pod has a slot for it, the answer ends with the word to ask again: the page by reloading
//! itself, the events by `ready`, after which an `EventSource` connects anew by itself. The slot
//! goes to whoever is next. Only a GET can be answered so: nothing of it is lost by asking twice.
//!
//! Who wants to know how it goes on and can only ask once gets interim answers: see [`Told`].
//!
//! Source: issue "The activator", point 8; the events are those of the HTML standard (§9.2).

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use penstock_gate::Admit;
use penstock_relay::body::{Body, Guard};
use penstock_types::{RevisionId, header};
use tokio::time::{Instant, sleep};

use crate::budget::Charge;
use crate::choices::Choices;
use crate::demand::Open;
use crate::metrics::Counted;
use crate::revision::{Entry, Place};

/// Time between two words about the wait.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// How a caller is told that it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// By a page, to a browser, once it has waited so long.
    Page(Duration),
    /// By events, to a program that asks for `text/event-stream`.
    Events,
    /// By interim answers (103) with the header `Penstock-Progress`, to a program that has sent
    /// that header.
    Interim,
}

impl Told {
    /// How the one who sent `head` is told, if the revision wants that; `page` is how long a
    /// browser waits for a page where the revision does not say.
    pub(crate) fn of(head: &Parts, choices: &Choices, page: Option<Duration>) -> Option<Self> {
        let accepts = |kind: &str| {
            let mut lines = head.headers.get_all(ACCEPT).iter();
            lines.any(|line| line.to_str().is_ok_and(|line| line.contains(kind)))
        };
        let may_ask_again = head.method == Method::GET && !head.headers.contains_key("upgrade");
        match choices.waiting_page.unwrap_or(page) {
            Some(patience) if may_ask_again && accepts("text/html") => {
                return Some(Self::Page(patience));
            }
            _ => {}
        }
        if !choices.progress {
            None
        } else if may_ask_again && accepts("text/event-stream") {
            Some(Self::Events)
        } else {
            let asks = head.headers.contains_key(header::PROGRESS);
            asks.then_some(Self::Interim)
        }
    }

    /// For how long it waits for the true answer before it is told.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::Page(patience) => patience,
            Self::Events | Self::Interim => Duration::ZERO,
        }
    }
}

/// Somebody who waits and is told so.
pub(crate) struct Waiting {
    pub(crate) told: Told,
    pub(crate) revision: Arc<Entry>,
    pub(crate) admit: Admit<Place>,
    /// Until when it may wait.
    pub(crate) due: Instant,
    pub(crate) since: Instant,
    /// What it holds meanwhile.
    pub(crate) _held: (Charge, Counted, Open),
}

impl Waiting {
    /// The answer that lasts as long as the wait.
    pub(crate) fn answer<G: Guard>(self) -> Response<Body<G>> {
        let told = self.told;
        let mut answer = Response::new(Body::told(self.words()));
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if told == Told::Events {
            let kind = HeaderValue::from_static("text/event-stream");
            headers.insert(CONTENT_TYPE, kind);
            return answer;
        }
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(CONTENT_TYPE, kind);
        let own = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(own));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        // To whoever is no browser it is no answer.
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer
    }

    fn words(self) -> Pin<Box<dyn Stream<Item = Bytes> + Send>> {
        let first = match self.told {
            Told::Events => event("waiting", &progress(&self.revision, self.since)),
            Told::Page(_) | Told::Interim => page(&self.revision.id),
        };
        Box::pin(unfold(Next::Say(first, Some(self)), |next| async {
            match next {
                Next::Say(words, then) => Some((words, then.map_or(Next::End, Next::Wait))),
                Next::Wait(waiting) => Some(waiting.next().await),
                Next::End => None,
            }
        }))
    }

    /// Waits until there is something to say.
    async fn next(mut self) -> (Bytes, Next) {
        let pause = EVERY.min(self.due.saturating_duration_since(Instant::now()));
        let admitted = tokio::select! {
            biased;
            admitted = &mut self.admit => Some(admitted.is_ok()),
            () = sleep(pause) => None,
        };
        let is_events = self.told == Told::Events;
        match admitted {
            // Its slot is free for the next one.
            Some(true) if is_events => (event("ready", "{}"), Next::End),
            Some(true) => (Bytes::from_static(RELOAD), Next::End),
            None if Instant::now() < self.due => {
                let words = match is_events {
                    true => event("waiting", &progress(&self.revision, self.since)),
                    // Whatever is in between sees that it goes on.
                    false => Bytes::from_static(b" "),
                };
                (words, Next::Wait(self))
            }
            Some(false) | None if is_events => (event("failed", "{}"), Next::End),
            Some(false) | None => (Bytes::from_static(FAILED), Next::End),
        }
    }
}

/// What comes next of an answer that lasts.
enum Next {
    Say(Bytes, Option<Waiting>),
    Wait(Waiting),
    End,
}

fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// How the wait stands, as JSON.
fn progress(revision: &Entry, since: Instant) -> String {
    let Counts {
        waiting,
        starting,
        ready,
    } = Counts::of(revision);
    let seconds = since.elapsed().as_secs();
    format!(
        r#"{{"seconds":{seconds},"waiting":{waiting},"podsStarting":{starting},"podsReady":{ready}}}"#
    )
}

/// The same as headers of an interim answer.
pub(crate) fn interim(revision: &Entry, since: Instant) -> HeaderMap {
    let Counts {
        waiting,
        starting,
        ready,
    } = Counts::of(revision);
    let seconds = since.elapsed().as_secs();
    let text = format!(
        "waiting; seconds={seconds}, line;count={waiting}, pods;starting={starting};ready={ready}"
    );
    let value = HeaderValue::try_from(text);
    let value = value.map(|value| (header::PROGRESS, value));
    value.into_iter().collect()
}

struct Counts {
    waiting: usize,
    starting: usize,
    ready: usize,
}

impl Counts {
    fn of(revision: &Entry) -> Self {
        let (starting, ready) = revision.pods();
        Self {
            waiting: revision.gate.waiting(),
            starting,
            ready,
        }
    }
}

/// Without scripts it is fetched anew every few seconds; each of these waits in its turn.
fn page(revision: &RevisionId) -> Bytes {
    let name = escaped(revision.name());
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><meta name=robots content=noindex>\
         <title>Starting {name}</title><noscript><meta http-equiv=refresh content=5></noscript>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;\
         padding:0 1rem}}@media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}}}\
         </style></head><body><h1>Starting {name}</h1><p role=status>It was asleep, and is being \
         woken for you. This page goes on by itself.</p>\n"
    )
    .into()
}

const RELOAD: &[u8] = b"<script>location.reload()</script></body></html>\n";
const FAILED: &[u8] = b"<p role=alert>It did not start in time. Please try again later.</p>\
                        </body></html>\n";

/// A text that means nothing in HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "&#{};", u32::from(char));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn told(method: &str, headers: &[(&str, &str)], choices: Choices) -> Option<Told> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Told::of(&request.body(()).unwrap().into_parts().0, &choices, None)
    }

    #[test]
    fn only_who_can_ask_again_and_asks_for_it_is_told_in_place_of_an_answer() {
        let all = Choices {
            waiting_page: Some(Some(EVERY)),
            progress: true,
            ..Choices::default()
        };
        let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        let events = ("accept", "text/event-stream");
        let progress = ("penstock-progress", "?1");
        let page = Some(Told::Page(EVERY));
        assert_eq!(told("GET", &[html], all), page);
        assert_eq!(told("GET", &[html], Choices::default()), None);
        assert_eq!(told("POST", &[html], all), None);
        assert_eq!(told("GET", &[html, ("upgrade", "websocket")], all), None);
        assert_eq!(told("GET", &[("accept", "*/*")], all), None);
        assert_eq!(told("GET", &[events], all), Some(Told::Events));
        assert_eq!(told("POST", &[events], all), None);
        assert_eq!(told("POST", &[events, progress], all), Some(Told::Interim));
        assert_eq!(told("GET", &[progress], Choices::default()), None);
    }

    #[test]
    fn a_page_has_nothing_from_elsewhere_and_no_name_means_anything_in_it() {
        let id = RevisionId::new("default", "<script src='x'>&\"");
        let text = String::from_utf8(page(&id).to_vec()).unwrap();
        assert!(text.contains("Starting &#60;script src=&#39;x&#39;&#62;&#38;&#34;<"));
        for sign in ["<script", "http:", "https:", "src=\"", "href"] {
            assert!(!text.contains(sign), "{sign} in {text}");
        }
    }
}
