//! What goes wrong between us and the API server: said once, and once more when it is over.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::core::Status;
use tokio::sync::watch;

use super::Shape;

/// A kind of object, as a role names it: `pods`, or `revisions.serving.knative.dev`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Permission {
    group: String,
    plural: String,
}

impl Permission {
    pub(crate) fn of<K: Shape>() -> Self {
        Self {
            group: K::group(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
        }
    }

    pub(crate) fn named(group: &str, plural: &str) -> Self {
        Self {
            group: group.to_owned(),
            plural: plural.to_owned(),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() {
            return Ok(());
        }
        write!(f, ".{}", self.group)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether what is watched can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The last attempt of every watch worked: what is known is what is, but for moments.
    Fresh,
    /// Some watch does not work now: what is known may be old.
    Stale,
}

/// Says each trouble once. Clones share what was said.
#[derive(Clone)]
pub(crate) struct Complaints(Arc<Inner>);

struct Inner {
    /// What was last said, by kind of object and verb.
    said: Mutex<Said>,
    reach: watch::Sender<Reach>,
}

type Said = HashMap<(Permission, &'static str), String>;

impl Complaints {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            said: Mutex::default(),
            reach: watch::Sender::new(Reach::Fresh),
        }))
    }

    /// Whether all watches work.
    pub(crate) fn reach(&self) -> watch::Receiver<Reach> {
        self.0.reach.subscribe()
    }

    /// A request of ours with this verb failed. Returns the time that the server asked to wait.
    pub(crate) fn failed(
        &self,
        verb: &'static str,
        resource: &Permission,
        error: &kube::Error,
    ) -> Option<Duration> {
        let kube::Error::Api(status) = error else {
            self.told(verb, resource, &chain(error));
            return None;
        };
        self.refused(verb, resource, status)
    }

    /// The server refused it. Returns the time that it asked to wait.
    pub(crate) fn refused(
        &self,
        verb: &'static str,
        resource: &Permission,
        status: &Status,
    ) -> Option<Duration> {
        self.say(resource, verb, sentence(verb, resource, status));
        retry_after(status)
    }

    /// It failed for this reason.
    pub(crate) fn told(&self, verb: &'static str, resource: &Permission, why: &str) {
        self.say(resource, verb, format!("cannot {verb} {resource}: {why}"));
    }

    /// Objects of this kind are seen, or seen again.
    pub(crate) fn seen(&self, resource: &Permission) {
        self.works("list", resource);
        self.works("watch", resource);
    }

    /// Requests with this verb work, or work again.
    pub(crate) fn works(&self, verb: &'static str, resource: &Permission) {
        let mut said = self.said();
        // Most have nothing to forget, and this is asked for each object.
        if !said.is_empty() && said.remove(&(resource.clone(), verb)).is_some() {
            tracing::info!(%resource, verb, "works again");
            self.show(&said);
        }
    }

    fn say(&self, resource: &Permission, verb: &'static str, text: String) {
        let mut said = self.said();
        let key = (resource.clone(), verb);
        if said.get(&key) != Some(&text) {
            tracing::warn!(%resource, verb, "{text}");
            said.insert(key, text);
        }
        self.show(&said);
    }

    fn show(&self, said: &Said) {
        let blind = said
            .keys()
            .any(|(_, verb)| matches!(*verb, "list" | "watch"));
        let now = if blind { Reach::Stale } else { Reach::Fresh };
        self.0.reach.send_if_modified(|reach| {
            let changed = *reach != now;
            *reach = now;
            changed
        });
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a refusal means for whoever runs this.
fn sentence(verb: &str, resource: &Permission, status: &Status) -> String {
    match status.code {
        401 => format!(
            "the API server does not know who asks to {verb} {resource} (401): the token or \
             certificate is wrong or has run out"
        ),
        403 => format!(
            "may not {verb} {resource} (403): a role has to allow the verb {verb:?} on \
             {:?} of the API group {:?}",
            resource.plural, resource.group
        ),
        404 => format!("cannot {verb} {resource} (404): the API server does not serve them"),
        code => format!("cannot {verb} {resource} ({code}): {}", status.message),
    }
}

/// How long the server asked to wait (429, 503).
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

/// An error and all that it came from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
