//! Watches: a stream of changes, one JSON document on a line.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::Answer;
use super::call::Call;
use super::kinds::Kind;
use super::lists::version_of;
use super::refusal::Refusal;
use super::select::Selector;
use super::shared::Shared;
use super::store::{Change, Store};
use super::view::View;

/// How long a watch lasts that does not say.
const LONGEST: Duration = Duration::from_secs(1800);

/// How a script spoils a watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spoilt {
    /// Events to tell before the connection is cut.
    pub(super) cut_after: Option<usize>,
    /// How long each event is held back.
    pub(super) slow: Option<Duration>,
    /// Nothing is told, and it never ends.
    pub(super) half_open: bool,
}

/// One open watch.
struct Watch {
    shared: Arc<Shared>,
    kind: &'static Kind,
    namespace: String,
    selector: Selector,
    view: View,
    bookmarks: bool,
    /// Told up to this version.
    version: u64,
    /// Events to be told.
    ready: VecDeque<Value>,
    told: usize,
    ends: Instant,
    over: bool,
    spoilt: Spoilt,
    versions: watch::Receiver<u64>,
    bookmark: watch::Receiver<u64>,
    cut: watch::Receiver<u64>,
    _open: Open,
}

/// Counts one open watch while it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open_watches.send_modify(|open| *open += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_watches.send_modify(|open| *open -= 1);
    }
}

/// Answers a watch.
pub(super) fn watch(
    shared: &Arc<Shared>,
    kind: &'static Kind,
    call: &Call,
    view: View,
    spoilt: Spoilt,
) -> Result<Response<Answer>, Refusal> {
    let selector = Selector::parse(
        &call.parameter("labelSelector"),
        &call.parameter("fieldSelector"),
    )?;
    let asked = version_of(call)?;
    let lasts = match call.parameter("timeoutSeconds").parse() {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => LONGEST,
    };
    // Subscribed before the store is read, so that no change falls between.
    let versions = shared.versions.subscribe();
    let mut watch = Watch {
        shared: Arc::clone(shared),
        kind,
        namespace: call.namespace.clone(),
        selector,
        view,
        bookmarks: call.flag("allowWatchBookmarks"),
        version: 0,
        ready: VecDeque::new(),
        told: 0,
        ends: Instant::now() + lasts,
        over: false,
        spoilt,
        versions,
        bookmark: shared.bookmark.subscribe(),
        cut: shared.cut.subscribe(),
        _open: Open::new(shared),
    };
    watch.begin(asked, call.flag("sendInitialEvents"));
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line.map(Frame::data), watch))
    });
    let mut answer = Response::new(StreamBody::new(lines).boxed_unsync());
    *answer.status_mut() = StatusCode::OK;
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(answer)
}

impl Watch {
    /// Finds where to begin: at a version, or with all there is.
    fn begin(&mut self, asked: Option<u64>, initial: bool) {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        match asked {
            Some(version) if version != 0 && !initial => {
                self.version = version;
                if version < store.oldest() {
                    self.expire(version, &store);
                }
            }
            _ => {
                self.version = store.version();
                for (_, object) in store.objects(self.kind, &self.namespace) {
                    if self.selector.matches(object) {
                        self.ready.push_back(self.event("ADDED", object));
                    }
                }
                if initial {
                    let mut mark = self.bookmark_event();
                    mark["object"]["metadata"]["annotations"] =
                        json!({ "k8s.io/initial-events-end": "true" });
                    self.ready.push_back(mark);
                }
            }
        }
    }

    /// The next line; `None` at the end, an error to cut the connection.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.spoilt.half_open || self.shared.is_silent() {
                self.be_silent().await;
                if self.is_cut() {
                    return Some(Err(io::Error::other("cut by a test")));
                }
            }
            if self
                .spoilt
                .cut_after
                .is_some_and(|after| self.told >= after)
            {
                tokio::task::yield_now().await; // what was told leaves before the cut
                return Some(Err(io::Error::other("cut by script")));
            }
            if let Some(event) = self.ready.pop_front() {
                if let Some(pause) = self.spoilt.slow {
                    sleep(pause).await;
                }
                self.told += 1;
                return Some(Ok(line(&event)));
            }
            if self.over {
                return None;
            }
            self.read();
            if !self.ready.is_empty() || self.over {
                continue;
            }
            tokio::select! {
                changed = self.versions.changed() => if changed.is_err() { return None },
                changed = self.bookmark.changed() => {
                    changed.ok()?;
                    if self.bookmarks {
                        self.read();
                        self.ready.push_back(self.bookmark_event());
                    }
                }
                _ = self.cut.changed() => {
                    return Some(Err(io::Error::other("cut by a test")));
                }
                () = sleep_until(self.ends) => {
                    self.read();
                    self.over = true;
                    if self.bookmarks {
                        self.ready.push_back(self.bookmark_event());
                    }
                }
            }
        }
    }

    /// Tells nothing: for ever if a script says so for this one, else until the server speaks;
    /// in either case until it is cut.
    async fn be_silent(&mut self) {
        let half_open = self.spoilt.half_open;
        let mut silent = self.shared.silent.subscribe();
        let mut cut = self.cut.clone();
        tokio::select! {
            _ = silent.wait_for(|silent| !silent && !half_open) => {}
            _ = cut.changed() => {}
        }
    }

    fn is_cut(&self) -> bool {
        self.cut.has_changed().unwrap_or(true)
    }

    /// Makes events of the changes since the last that was told.
    fn read(&mut self) {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        self.versions.mark_unchanged();
        if self.version < store.oldest() {
            return self.expire(self.version, &store);
        }
        for change in store.since(self.version) {
            if change.concerns(self.kind, &self.namespace)
                && let Some(event) = self.event_of(change)
            {
                self.ready.push_back(event);
            }
        }
        self.version = self.version.max(store.version());
    }

    /// The changes it would have to tell are forgotten.
    fn expire(&mut self, version: u64, store: &Store) {
        let status = Refusal::too_old(version, store.oldest()).status();
        self.ready
            .push_back(json!({ "type": "ERROR", "object": status }));
        self.over = true;
    }

    /// A change as it looks through the selector: what comes into view is added, what leaves
    /// it is deleted.
    fn event_of(&self, change: &Change) -> Option<Value> {
        let seen = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .is_some_and(|object| self.selector.matches(object))
        };
        match (seen(&change.before), seen(&change.after)) {
            (false, false) => None,
            (false, true) => Some(self.event("ADDED", &change.told)),
            (true, true) => Some(self.event("MODIFIED", &change.told)),
            (true, false) => {
                // Its last state that was in view, with the version of this change.
                let mut last = change.before.as_ref().map(|it| Value::clone(it))?;
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                Some(self.event("DELETED", &last))
            }
        }
    }

    fn event(&self, what: &str, object: &Value) -> Value {
        json!({ "type": what, "object": self.view.one(object) })
    }

    fn bookmark_event(&self) -> Value {
        let (api_version, kind) = match self.view {
            View::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
            View::Whole | View::Table => (self.kind.api_version(), self.kind.kind),
        };
        json!({
            "type": "BOOKMARK",
            "object": {
                "kind": kind,
                "apiVersion": api_version,
                "metadata": {
                    "resourceVersion": self.version.to_string(),
                    "creationTimestamp": null,
                },
            },
        })
    }
}

fn line(event: &Value) -> Bytes {
    let mut line = event.to_string();
    line.push('\n');
    line.into()
}
