//! The path of requests: a Service and its EndpointSlices, which lead to activators or to pods.
//!
//! A flip is acknowledged: the slices that lead the new way are written, and seen to be there,
//! before the others go. So at every moment one of the two is in place, wherever they are looked
//! at: slices are told to every node in the order in which they changed.
//!
//! Two things bring it about. [`Arranger::settle`] is told how a revision is to stand. [`work`]
//! follows pods and activators that come and go, and lets go of what is not managed any more.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_cluster::{Snapshot, Standing, Way, Wish};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::desk::{Desk, Filed, Path};
use super::picture::Change;
use super::services::{self, SeenService};
use super::slices::{self, To, Wanted};
use super::standing::{self, Notes};
use crate::Key;
use crate::event::{Events, News, Tone};
use crate::object::{EndpointSlice, ServiceObject, SliceObject, Version};
use crate::picture::Complete;
use crate::write::{Unwritten, Writer};

/// Revisions that are arranged at the same time.
const AT_ONCE: usize = 16;
/// Time in which a slice that was written has to be seen.
const SEEN: Duration = Duration::from_secs(10);
/// Time until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether a Service that was somebody else's is still there.
const TAKEN: Duration = Duration::from_secs(60);
/// Annotation of a Service: how many activators were to be in the path.
const ACTIVATORS: &str = "penstock.dev/activators";

/// Arranges the paths of all revisions.
pub(crate) struct Arranger {
    pub(crate) desk: Arc<Desk>,
    pub(crate) writer: Writer,
    pub(crate) events: Events,
    pub(crate) pictures: watch::Receiver<Arc<Snapshot>>,
    pub(crate) changes: mpsc::Sender<Change>,
}

impl Arranger {
    /// Makes a revision stand as `wish` says. The error is a sentence.
    pub(crate) async fn settle(&self, filed: &Filed, wish: &Wish) -> Result<(), String> {
        if !self.desk.knows_paths() {
            return Err("it is not known yet where Services lead, and where activators are".into());
        }
        let id = filed.key.revision();
        let path = Path {
            proxied: wish.proxied,
            activators: wish.activators,
        };
        self.desk.set_path(&id, path);
        let turn = self.desk.turn(&filed.key);
        let _turn = turn.lock().await;
        let before = self.standing(filed);
        let known = before.way.as_ref().and_then(|way| way.proxied_since);
        let mut standing = Standing {
            since: if before.activity == wish.activity {
                before.since
            } else {
                SystemTime::now()
            },
            activity: wish.activity,
            initialized: wish.initialized,
            way: Some(Way {
                proxied: wish.proxied,
                proxied_since: known,
                public: None,
            }),
            stale: false,
        };
        if self.desk.service(&filed.service_key()).is_none() {
            self.ensure(filed, &notes(&standing, path)).await?;
        }
        let proxied = self.arrange(filed, path).await?;
        if let Some(way) = &mut standing.way {
            way.proxied_since = proxied.then(|| known.unwrap_or_else(SystemTime::now));
        }
        self.ensure(filed, &notes(&standing, path)).await?;
        self.remove_others(filed).await
    }

    /// How it stands, as far as that is written down.
    fn standing(&self, filed: &Filed) -> Standing {
        let service = self.desk.service(&filed.service_key());
        let annotations = service.map(|service| service.annotations);
        standing::read(&annotations.unwrap_or_default(), None, None)
    }

    /// Sees to it that the Service is there, and says what it has to.
    async fn ensure(&self, filed: &Filed, notes: &Notes) -> Result<SeenService, String> {
        let key = filed.service_key();
        if let Some(seen) = self.desk.service(&key) {
            return self.mend(filed, seen, notes).await;
        }
        let object = services::new(filed, notes);
        let made = self
            .writer
            .create::<ServiceObject>(&key.namespace, &object)
            .await;
        match made {
            Ok(made) => self.keep(filed, made),
            Err(Unwritten::Conflict) => {
                let there = self.writer.get(&key.namespace, &key.name).await;
                let there = there.map_err(|error| unwritten("Service", &key, &error))?;
                let seen = self.keep(filed, there)?;
                self.mend(filed, seen, notes).await
            }
            Err(error) => Err(unwritten("Service", &key, &error)),
        }
    }

    /// Takes note of a Service as the server told it, if it is this workload's.
    fn keep(&self, filed: &Filed, there: ServiceObject) -> Result<SeenService, String> {
        let key = filed.service_key();
        match services::seen(there) {
            Some(seen) if seen.owner_uid == filed.uid => {
                self.desk.put_service(seen.clone());
                Ok(seen)
            }
            Some(seen) if seen.owner == filed.key => Err(format!(
                "the Service {key} belongs to an earlier {} {}, and is not deleted yet",
                filed.kind, filed.key
            )),
            _ => Err(self.taken(filed)),
        }
    }

    async fn mend(
        &self,
        filed: &Filed,
        seen: SeenService,
        notes: &Notes,
    ) -> Result<SeenService, String> {
        if seen.owner_uid != filed.uid {
            // What was seen of it may be old.
            let there = self.writer.get(&seen.key.namespace, &seen.key.name).await;
            return match there {
                Ok(there) => self.keep(filed, there),
                Err(error) => Err(unwritten("Service", &seen.key, &error)),
            };
        }
        let Some(patch) = services::mended(&seen, filed, notes) else {
            return Ok(seen);
        };
        let (namespace, name) = (&seen.key.namespace, &seen.key.name);
        let there = self.writer.patch(namespace, name, &patch).await;
        match there {
            Ok(there) => self.keep(filed, there),
            Err(error) => {
                if matches!(error, Unwritten::Absent) {
                    self.desk.remove_service(&seen.key);
                }
                Err(unwritten("Service", &seen.key, &error))
            }
        }
    }

    /// The Service of that name is somebody else's: it stays as it is.
    fn taken(&self, filed: &Filed) -> String {
        let key = filed.service_key();
        let text = format!(
            "the Service {key} is somebody else's and is left as it is: name another one by the \
             annotation penstock.dev/service; until then requests reach this {} by its hosts only, \
             by activators",
            filed.kind
        );
        self.desk.call_foreign(&key);
        self.events.tell(News {
            about: filed.subject(),
            tone: Tone::Warning,
            reason: "ServiceTaken",
            note: text.clone(),
        });
        // The painter does not wait for us; if it is busy, the next change shows it.
        let _ = self.changes.try_send(Change::Again(filed.key.clone()));
        text
    }

    /// Deletes Services of ours that this workload had under other names.
    async fn remove_others(&self, filed: &Filed) -> Result<(), String> {
        let name = filed.service_key();
        for service in self.desk.services_of(&filed.key) {
            if service.key != name && service.owner_uid == filed.uid {
                let (namespace, name) = (&service.key.namespace, &service.key.name);
                let deleted = self.writer.delete::<ServiceObject>(namespace, name).await;
                deleted.map_err(|error| unwritten("Service", &service.key, &error))?;
            }
        }
        Ok(())
    }

    /// Brings the slices to where they have to be. Returns whether activators are in the path now,
    /// and nobody else.
    async fn arrange(&self, filed: &Filed, path: Path) -> Result<bool, String> {
        let key = filed.service_key();
        let Some(service) = self.desk.service(&key) else {
            return Ok(false);
        };
        let Some(way) = self.way(filed, path) else {
            return Ok(false);
        };
        let have = self.desk.slices_of(&key);
        let mut written = Vec::new();
        for wanted in &way.slices {
            let seen = have.iter().find(|seen| *seen.key.name == *wanted.name);
            if seen.is_some_and(|seen| wanted.is(seen, filed.port_name())) {
                continue;
            }
            let slice = self.write(filed, &service, wanted, seen.is_some()).await?;
            written.push((slice.key, slice.version));
        }
        let old: Vec<&EndpointSlice> = have
            .iter()
            .filter(|seen| {
                way.slices
                    .iter()
                    .all(|wanted| *wanted.name != *seen.key.name)
            })
            .collect();
        if old.is_empty() {
            return Ok(way.to == To::Activators);
        }
        self.until_seen(written).await?;
        for slice in old {
            let (namespace, name) = (&slice.key.namespace, &slice.key.name);
            let deleted = self.writer.delete::<SliceObject>(namespace, name).await;
            deleted.map_err(|error| unwritten("EndpointSlice", &slice.key, &error))?;
        }
        Ok(way.to == To::Activators)
    }

    /// Who is to take the requests, by what is seen now; `None` if the revision is not.
    fn way(&self, filed: &Filed, path: Path) -> Option<slices::Way> {
        let picture = self.pictures.borrow();
        let revision = picture.revisions.get(&filed.key.revision())?;
        let ready: BTreeSet<(IpAddr, u16)> = revision
            .ready()
            .map(|pod| (pod.addr.ip(), pod.addr.port()))
            .collect();
        drop(picture);
        let activators = self.desk.activators(filed.port_name());
        Some(slices::way(filed, path, &ready, &activators))
    }

    async fn write(
        &self,
        filed: &Filed,
        service: &SeenService,
        wanted: &Wanted,
        exists: bool,
    ) -> Result<EndpointSlice, String> {
        let namespace = &service.key.namespace;
        let key = Key::new(Arc::clone(namespace), wanted.name.as_str());
        let failed = |error: Unwritten| unwritten("EndpointSlice", &key, &error);
        if !exists {
            let object = wanted.object(filed, service);
            match self.writer.create::<SliceObject>(namespace, &object).await {
                Ok(slice) => return Ok(slice.seen()),
                // It is there, and was not seen yet.
                Err(Unwritten::Conflict) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let patch = wanted.patch(filed);
        let patched = self.writer.patch(namespace, &wanted.name, &patch).await;
        patched.map(SliceObject::seen).map_err(failed)
    }

    /// Waits until these are seen to be there, in these versions or later ones.
    async fn until_seen(&self, mut written: Vec<(Key, Version)>) -> Result<(), String> {
        let limit = Instant::now() + SEEN;
        let mut changes = self.desk.slices_change();
        loop {
            changes.borrow_and_update();
            written.retain(|(key, version)| {
                let seen = self.desk.slice_version(key);
                seen.is_none_or(|seen| seen.is_before(*version))
            });
            let Some((key, _)) = written.first() else {
                return Ok(());
            };
            match timeout_at(limit, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => {
                    return Err(format!(
                        "the EndpointSlice {key} was written, and is not seen to be there"
                    ));
                }
            }
        }
    }

    /// Looks at what is to be done for one workload that has changed.
    async fn look(&self, key: &Key) -> Result<(), String> {
        let id = key.revision();
        if !self.desk.is_ours(&id) {
            return Ok(());
        }
        let turn = self.desk.turn(key);
        let _turn = turn.lock().await;
        let Some(filed) = self.desk.filed(&id) else {
            return self.let_go(key).await;
        };
        let Some(path) = self.path(&filed) else {
            return Ok(());
        };
        let proxied = self.arrange(&filed, path).await?;
        self.note(&filed, path, proxied).await
    }

    /// Whether there is anything to do for it. Most changes change no path.
    fn is_due(&self, key: &Key) -> bool {
        let Some(filed) = self.desk.filed(&key.revision()) else {
            return !self.desk.services_of(key).is_empty();
        };
        let way = self.path(&filed).and_then(|path| self.way(&filed, path));
        let Some(way) = way else {
            return false;
        };
        let have = self.desk.slices_of(&filed.service_key());
        have.len() != way.slices.len()
            || way.slices.iter().any(|wanted| {
                let seen = have.iter().find(|seen| *seen.key.name == *wanted.name);
                !seen.is_some_and(|seen| wanted.is(seen, filed.port_name()))
            })
    }

    /// How its path is meant to be: as it was told, or else as it was written down.
    fn path(&self, filed: &Filed) -> Option<Path> {
        let service = self.desk.service(&filed.service_key())?;
        self.desk.path(&filed.key.revision()).or_else(|| {
            let way = standing::read(&service.annotations, None, None).way?;
            let activators = service.annotations.get(ACTIVATORS);
            Some(Path {
                proxied: way.proxied,
                activators: activators.and_then(|count| count.parse().ok()).unwrap_or(0),
            })
        })
    }

    /// Writes down since when activators are in the path, if that has changed.
    async fn note(&self, filed: &Filed, path: Path, proxied: bool) -> Result<(), String> {
        let mut standing = self.standing(filed);
        let Some(way) = &mut standing.way else {
            return Ok(());
        };
        if way.proxied_since.is_some() == proxied {
            return Ok(());
        }
        way.proxied_since = proxied.then(SystemTime::now);
        let notes = notes(&standing, path);
        self.ensure(filed, &notes).await.map(drop)
    }
}

fn notes(standing: &Standing, path: Path) -> Notes {
    let mut notes = standing::notes(standing);
    notes.insert(ACTIVATORS, Some(path.activators.to_string()));
    notes
}

pub(crate) fn unwritten(kind: &str, key: &Key, error: &Unwritten) -> String {
    format!("the {kind} {key} could not be written: {error}")
}

/// Follows what changes, for ever, once there is a whole picture.
pub(crate) async fn work(arranger: Arc<Arranger>, mut complete: Complete) {
    if complete.wait_for(|complete| *complete).await.is_err() {
        return;
    }
    arranger.desk.until_paths_known().await;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    loop {
        let changed = tokio::select! {
            changed = arranger.desk.next_changed() => changed,
            Some(_) = running.join_next(), if !running.is_empty() => continue,
            () = sleep(TAKEN) => {
                look_for_taken(&arranger).await;
                continue;
            }
        };
        for key in changed {
            if !arranger.is_due(&key) {
                continue;
            }
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let arranger = Arc::clone(&arranger);
            running.spawn(async move {
                let looked = arranger.look(&key).await;
                drop(place);
                if let Err(why) = looked {
                    tracing::warn!(%key, "{why}; it is tried again");
                    sleep(AGAIN).await;
                    arranger.desk.changed([&key]);
                }
            });
        }
    }
}

/// Looks whether Services that were somebody else's are there still.
async fn look_for_taken(arranger: &Arranger) {
    for (service, owner) in arranger.desk.foreign() {
        let (namespace, name) = (&service.namespace, &service.name);
        let there = arranger.writer.get::<ServiceObject>(namespace, name).await;
        if matches!(there, Err(Unwritten::Absent)) {
            arranger.desk.recall_foreign(&service);
            let _ = arranger.changes.send(Change::Again(owner)).await;
        }
    }
}
