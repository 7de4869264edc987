//! List, then watch, for ever: what is heard from the server, in order.
//!
//! Not the watcher of `kube::runtime`: that one does not tell when a watch works again before
//! something changes, waits without end for a server that does not answer, and logs each refusal.

use std::time::Duration;

use futures_util::StreamExt;
use kube::Resource;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::{DeserializeGuard, Status};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Backoff, Complaints, Permission, Rhythm, Selection, Shape, chance};

/// Time in which a list, page by page, and the start of a watch have to be answered.
const ANSWER: Duration = Duration::from_secs(30);
/// Silence beyond the end of a watch after which it has ended without a word.
const MARGIN: Duration = Duration::from_secs(5);
/// Longest watch that the client asks for.
const LONGEST: Duration = Duration::from_secs(290);
/// A watch that ends sooner, and told nothing, is as good as one that failed.
const BRIEF: Duration = Duration::from_secs(1);

/// What is heard.
pub(super) enum Heard<K> {
    /// All is about to be told anew.
    ListBegins,
    /// One of the list.
    Listed(DeserializeGuard<K>),
    /// That was all.
    ListEnds,
    /// It is new, or has changed.
    Is(DeserializeGuard<K>),
    /// It is gone; this is how it was.
    Gone(DeserializeGuard<K>),
}

/// Why hearing stopped for a moment.
enum Stopped {
    /// Nobody listens any more.
    Unheard,
    /// The server has forgotten the place where the watch was: all has to be listed anew.
    Forgotten,
    /// It is tried again from the same place, after the time that the server asked for.
    Failed(Option<Duration>),
}

/// One ear.
pub(super) struct Ear<K> {
    api: Api<DeserializeGuard<K>>,
    resource: Permission,
    selection: Selection,
    rhythm: Rhythm,
    complaints: Complaints,
    to: mpsc::Sender<Heard<K>>,
}

impl<K: Shape> Ear<K> {
    pub(super) fn new(
        api: Api<DeserializeGuard<K>>,
        selection: Selection,
        rhythm: Rhythm,
        complaints: Complaints,
        to: mpsc::Sender<Heard<K>>,
    ) -> Self {
        Self {
            api,
            resource: Permission::of::<K>(),
            selection,
            rhythm,
            complaints,
            to,
        }
    }

    /// Hears as long as anybody listens.
    pub(super) async fn hear(self) {
        let mut backoff = Backoff::new(self.rhythm.longest_wait);
        let mut place: Option<String> = None;
        loop {
            let stopped = match &mut place {
                None => match self.list().await {
                    Ok(version) => {
                        backoff.reset();
                        place = Some(version);
                        continue;
                    }
                    Err(stopped) => stopped,
                },
                Some(version) => match self.watch(version).await {
                    Ok(()) => {
                        backoff.reset();
                        continue;
                    }
                    Err(stopped) => stopped,
                },
            };
            match stopped {
                Stopped::Unheard => return,
                Stopped::Forgotten => {
                    place = None;
                    tokio::time::sleep(backoff.next(None)).await;
                }
                Stopped::Failed(asked) => tokio::time::sleep(backoff.next(asked)).await,
            }
        }
    }

    /// Lists all, page by page. Returns the version of it.
    async fn list(&self) -> Result<String, Stopped> {
        self.tell(Heard::ListBegins).await?;
        let mut params = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            limit: Some(self.rhythm.page),
            ..ListParams::default()
        };
        loop {
            let page = timeout(ANSWER, self.api.list(&params));
            let page = match page.await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => return Err(self.failed("list", &error)),
                Err(_) => return Err(self.silent("list")),
            };
            self.complaints.works("list", &self.resource);
            for object in page.items {
                self.tell(Heard::Listed(object)).await?;
            }
            let next = page.metadata.continue_.filter(|next| !next.is_empty());
            if next.is_none() {
                self.tell(Heard::ListEnds).await?;
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
            params.continue_token = next;
        }
    }

    /// Watches from `version` on, and keeps it up to date. It ends well when its time is over.
    async fn watch(&self, version: &mut String) -> Result<(), Stopped> {
        let time = self.time();
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)),
            bookmarks: true,
            send_initial_events: false,
        };
        let begun = Instant::now();
        let mut events = match timeout(ANSWER, self.api.watch(&params, version)).await {
            Ok(Ok(events)) => std::pin::pin!(events),
            Ok(Err(error)) => return Err(self.failed("watch", &error)),
            Err(_) => return Err(self.silent("watch")),
        };
        self.complaints.seen(&self.resource);
        let mut told = false;
        loop {
            let event = match timeout(time + MARGIN, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Err(self.failed("watch", &error)),
                Ok(None) if !told && begun.elapsed() < BRIEF => return Err(Stopped::Failed(None)),
                Ok(None) | Err(_) => return Ok(()),
            };
            told = true;
            let object = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => Heard::Is(object),
                WatchEvent::Deleted(object) => Heard::Gone(object),
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(self.refused("watch", &status)),
            };
            let (Heard::Is(known) | Heard::Gone(known)) = &object else {
                continue;
            };
            if let Some(seen) = &known.meta().resource_version {
                version.clone_from(seen);
            }
            self.tell(object).await?;
        }
    }

    /// How long the next watch is. All of them end at times of their own.
    fn time(&self) -> Duration {
        let eighth = self.rhythm.watch / 8;
        let time = self.rhythm.watch - eighth + (eighth * 2).mul_f64(chance());
        time.min(LONGEST)
    }

    async fn tell(&self, heard: Heard<K>) -> Result<(), Stopped> {
        self.to.send(heard).await.map_err(|_| Stopped::Unheard)
    }

    fn failed(&self, verb: &'static str, error: &kube::Error) -> Stopped {
        if let kube::Error::Api(status) = error {
            return self.refused(verb, status);
        }
        Stopped::Failed(self.complaints.failed(verb, &self.resource, error))
    }

    fn refused(&self, verb: &'static str, status: &Status) -> Stopped {
        match status.code {
            // Nothing is amiss: what was seen last is older than what the server remembers.
            410 => Stopped::Forgotten,
            _ => Stopped::Failed(self.complaints.refused(verb, &self.resource, status)),
        }
    }

    fn silent(&self, verb: &'static str) -> Stopped {
        let text = format!("no answer within {ANSWER:?}");
        self.complaints.told(verb, &self.resource, &text);
        Stopped::Failed(None)
    }
}
