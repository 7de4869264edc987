//! What manifests say, defaulted and checked.

use std::fmt;
use std::sync::Arc;

use penstock_types::annotation::Annotations;
use penstock_types::probe::Probe;
use penstock_types::{Protocol, Slots, Timeouts};

use crate::Problem;

/// Everything that a set of files asks for. A Service is one configuration and one route.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// What runs, ordered as written.
    pub configurations: Vec<Configuration>,
    /// Who is led there, ordered as written.
    pub routes: Vec<Route>,
    /// What was understood, but not honoured.
    pub warnings: Vec<Problem>,
}

/// Key of an object within its kind. Shown as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, as the caller gave it.
    pub file: Arc<str>,
    /// Number of the document in it, from 1.
    pub document: usize,
    /// Line in the file, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            document,
            line,
        } = self;
        write!(f, "{file}, document {document}, line {line}")
    }
}

/// A workload that changes over time; each of its versions is a revision.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its key.
    pub key: ObjectKey,
    /// The Service it came from, if any.
    pub service: Option<String>,
    /// What its next revision is made of.
    pub template: RevisionTemplate,
    /// Where the template was written.
    pub place: Place,
    /// Where its image was written; `None` if it has none.
    pub image_at: Option<Mark>,
}

/// Where a field was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// File, document and line.
    pub place: Place,
    /// Its path there, such as `spec.template.spec.containers[0].image`.
    pub path: String,
}

/// What a revision is made of. Two that are equal are the same revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionTemplate {
    /// Name that the revision is to have; `None` has one made from the configuration's.
    pub name: Option<String>,
    /// Its annotations, checked.
    pub annotations: Annotations,
    /// What runs.
    pub container: Container,
    /// Requests that one pod takes at once (`containerConcurrency`).
    pub slots: Slots,
    /// Time limits of each request.
    pub timeouts: Timeouts,
    /// When it may get requests.
    pub readiness: Probe,
    /// Until this passes once, the other two are not asked.
    pub startup: Option<Probe>,
    /// When it has to be restarted.
    pub liveness: Option<Probe>,
}

/// The program of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Image to run; `None` only where `command` says what to run.
    pub image: Option<String>,
    /// Program and first arguments, in place of the image's; `$(VAR)` is left as it stands.
    pub command: Vec<String>,
    /// Further arguments; `$(VAR)` is left as it stands.
    pub args: Vec<String>,
    /// Variables, in order; a later one of the same name wins.
    pub env: Vec<(String, String)>,
    /// Directory to run in.
    pub working_dir: Option<String>,
    /// Port it says it listens on; `None` leaves the choice to whoever starts it.
    pub port: Option<u16>,
    /// What it speaks there.
    pub protocol: Protocol,
}

/// A name under which requests come, and how they are split.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its key.
    pub key: ObjectKey,
    /// The Service it came from, if any.
    pub service: Option<String>,
    /// Shares of the traffic; their percents add up to 100.
    pub traffic: Vec<TrafficTarget>,
    /// Where it was written.
    pub place: Place,
}

/// One share of a route's traffic.
#[derive(Clone, Debug)]
pub struct TrafficTarget {
    /// Who gets it.
    pub upon: Upon,
    /// How much of the main host's traffic, in hundredths; 0 for a tag that only has its own host.
    pub percent: u8,
    /// Tag under which it has a host of its own.
    pub tag: Option<String>,
    /// Where it was written.
    pub place: Place,
    /// Its path there, such as `spec.traffic[0]`.
    pub path: String,
}

/// Whom a share of traffic is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upon {
    /// The newest revision of this configuration that has been ready (`latestRevision: true`).
    Latest(String),
    /// This revision, and no other (`revisionName`).
    Revision(String),
}
