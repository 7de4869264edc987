//! Events: what `kubectl describe` shows of a workload.
//!
//! Best effort and rate-limited: what nobody can write down is lost, the same sentence is told
//! again only after a while, and one object gets a handful a minute. Nobody waits for them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, PostParams};
use penstock_cluster::Change;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Key;
use crate::object::{cut, timestamp};
use crate::picture::Tasks;
use crate::reflect::{Complaints, Permission};

/// Events that may wait to be written.
const BACKLOG: usize = 256;
/// Time for which the same sentence about the same object is not told again.
const AGAIN: Duration = Duration::from_secs(600);
/// Events about one object in a row, and the time that brings one more.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(10);
/// Objects whose rates are known. Beyond that, those that had nothing to tell lately are forgotten.
const OBJECTS: usize = 10_000;

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Normal,
    Warning,
}

/// An object that something is to be told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) api_version: &'static str,
    pub(crate) kind: String,
    pub(crate) key: Key,
    pub(crate) uid: String,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) about: Subject,
    pub(crate) tone: Tone,
    /// One word in CamelCase, by which a program tells Events apart.
    pub(crate) reason: &'static str,
    pub(crate) note: String,
}

impl News {
    /// That the number of pods was changed, and why.
    pub(crate) fn scaled(about: Subject, change: Change<'_>) -> Self {
        let Change { from, to, why } = change;
        Self {
            about,
            tone: Tone::Normal,
            reason: match to {
                0 => "ScaledToZero",
                _ if to > from => "ScaledUp",
                _ => "ScaledDown",
            },
            note: format!("from {from} to {to} pods: {why}"),
        }
    }
}

/// Where Events are told. Clones tell the same writer.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: mpsc::Sender<News>,
}

impl Events {
    /// Writes Events in the name of `component` from a task of its own.
    pub(crate) fn start(
        client: &Client,
        component: &'static str,
        complaints: &Complaints,
        tasks: &Tasks,
    ) -> Self {
        let (sender, mut news) = mpsc::channel(BACKLOG);
        let writer = Writer {
            client: client.clone(),
            component,
            complaints: complaints.clone(),
        };
        tasks.spawn(async move {
            let mut rates = Rates::default();
            while let Some(news) = news.recv().await {
                if rates.admit(&news, Instant::now()) {
                    writer.write(&news).await;
                }
            }
        });
        Self { sender }
    }

    /// Tells it, without waiting.
    pub(crate) fn tell(&self, news: News) {
        tracing::debug!(about = %news.about.key, reason = news.reason, "{}", news.note);
        // A swarm that nobody can write down is not worth waiting for.
        let _ = self.sender.try_send(news);
    }

    /// Tells nobody.
    pub(crate) fn nowhere() -> Self {
        Self {
            sender: mpsc::channel(1).0,
        }
    }
}

struct Writer {
    client: Client,
    component: &'static str,
    complaints: Complaints,
}

impl Writer {
    async fn write(&self, news: &News) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &news.about.key.namespace);
        let resource = Permission::named("", "events");
        let event = self.event(news);
        let params = PostParams::default();
        let made = events.create(&params, &event);
        match tokio::time::timeout(Duration::from_secs(5), made).await {
            Ok(Ok(_)) => self.complaints.works("create", &resource),
            // Its namespace is going, and so is whoever would read it.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => {
                self.complaints.failed("create", &resource, &error);
            }
            Err(_) => {}
        }
    }

    fn event(&self, news: &News) -> Event {
        let now = timestamp(SystemTime::now());
        let about = &news.about;
        Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}.", short(&about.key.name))),
                namespace: Some(about.key.namespace.to_string()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(about.api_version.to_owned()),
                kind: Some(about.kind.clone()),
                namespace: Some(about.key.namespace.to_string()),
                name: Some(about.key.name.to_string()),
                uid: Some(about.uid.clone()),
                ..ObjectReference::default()
            },
            type_: Some(
                match news.tone {
                    Tone::Normal => "Normal",
                    Tone::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(news.reason.to_owned()),
            message: Some(cut(&news.note).to_owned()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            source: Some(EventSource {
                component: Some(self.component.to_owned()),
                host: None,
            }),
            reporting_component: Some(format!("penstock.dev/{}", self.component)),
            reporting_instance: Some(self.component.to_owned()),
            ..Event::default()
        }
    }
}

/// The start of a name that leaves room for what the server adds.
fn short(name: &str) -> &str {
    let end = name
        .char_indices()
        .nth(200)
        .map_or(name.len(), |(at, _)| at);
    name[..end].trim_end_matches(['.', '-'])
}

/// How much may be told of whom.
#[derive(Default)]
struct Rates {
    objects: HashMap<String, Rate>,
}

struct Rate {
    left: u32,
    refilled: Instant,
    /// What was told, and when.
    told: Vec<(&'static str, String, Instant)>,
}

impl Rates {
    fn admit(&mut self, news: &News, now: Instant) -> bool {
        if self.objects.len() >= OBJECTS {
            self.objects
                .retain(|_, rate| now.duration_since(rate.refilled) < AGAIN);
        }
        if self.objects.len() >= OBJECTS && !self.objects.contains_key(&news.about.uid) {
            return false;
        }
        let rate = self.objects.entry(news.about.uid.clone()).or_insert(Rate {
            left: BURST,
            refilled: now,
            told: Vec::new(),
        });
        rate.told.retain(|(.., at)| now.duration_since(*at) < AGAIN);
        // A decision is news each time; a complaint only once in a while.
        let same = news.tone == Tone::Warning
            && rate
                .told
                .iter()
                .any(|(reason, note, _)| *reason == news.reason && *note == news.note);
        let since = now.duration_since(rate.refilled);
        let more = u32::try_from(since.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        if more > 0 {
            rate.left = rate.left.saturating_add(more).min(BURST);
            rate.refilled = now;
        }
        if same || rate.left == 0 {
            return false;
        }
        rate.left -= 1;
        if news.tone == Tone::Warning {
            rate.told.push((news.reason, news.note.clone(), now));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(tone: Tone, note: &str) -> News {
        News {
            about: Subject {
                api_version: "apps/v1",
                kind: "Deployment".to_owned(),
                key: Key::new("default", "hello"),
                uid: "u".to_owned(),
            },
            tone,
            reason: "Scaled",
            note: note.to_owned(),
        }
    }

    #[test]
    fn a_complaint_is_told_again_only_after_a_while() {
        let mut rates = Rates::default();
        let start = Instant::now();
        let wrong = news(Tone::Warning, "wrong");
        assert!(rates.admit(&wrong, start));
        assert!(!rates.admit(&wrong, start + Duration::from_secs(300)));
        assert!(rates.admit(&news(Tone::Warning, "other"), start));
        assert!(rates.admit(&wrong, start + AGAIN));
    }

    #[test]
    fn decisions_are_told_a_handful_in_a_row_and_then_slowly() {
        let mut rates = Rates::default();
        let start = Instant::now();
        let scaled = news(Tone::Normal, "from 1 to 2");
        let told = (0..100).filter(|_| rates.admit(&scaled, start)).count();
        assert_eq!(told, BURST as usize);
        assert!(!rates.admit(&scaled, start + REFILL / 2));
        assert!(rates.admit(&scaled, start + REFILL * 3 / 2));
        assert!(!rates.admit(&scaled, start + REFILL * 3 / 2));
    }
}
