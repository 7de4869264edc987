//! What is scraped: families gathered from several registries, as Prometheus text.
//!
//! A test makes its own [`Registry`] and reads its own numbers; a process adds its registries
//! to one [`Gather`]. A part may come and go while the process runs (a pod of `penstock up`).

mod family;
mod http_series;
mod process;
mod rows;
mod tally;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Gauge, Opts, Registry, TextEncoder};

pub use family::{FamilyOf, LabelSet, OVERFLOW};
pub use http_series::{
    DURATION_BUCKETS, Exchange, HTTP_SCOPE, HttpLabels, HttpSeries, MAX_LABEL_SETS,
    MAX_LABEL_VALUE, Outcome, Peer, SIZE_BUCKETS, Scheme, Scope, Side, address_and_port,
    address_labels, bytes, exchange_labels, known_method, version_name,
};
pub use process::register as register_process;
pub use rows::{Figures, Labels, Rows};
pub use tally::Tally;

/// Content type of [`Gather::text`].
///
/// Source: spec/queue-proxy.md §7.1.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// The registries of a process, scraped together. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Gather {
    parts: Arc<Mutex<Parts>>,
}

#[derive(Debug, Default)]
struct Parts {
    next_id: u64,
    by_id: BTreeMap<u64, Part>,
    made: Vec<Arc<dyn Families>>,
    /// Bytes of the last text.
    length: usize,
}

/// Families that are made one after the other while they are written: thousands of series of each
/// would take much memory all at once.
pub trait Families: fmt::Debug + Send + Sync {
    /// Their names.
    fn names(&self) -> Vec<&'static str>;

    /// The family at `place` among the names, as it is now. It may be without series.
    fn family(&self, place: usize) -> MetricFamily;
}

#[derive(Clone, Debug)]
struct Part {
    registry: Registry,
    labels: Vec<(String, String)>,
}

impl Gather {
    /// Adds `registry` for as long as the process lives.
    pub fn add(&self, registry: Registry) {
        self.insert(registry, &[]);
    }

    /// Adds families that are made one after the other, for as long as the process lives.
    pub fn add_families(&self, families: Arc<dyn Families>) {
        self.lock().made.push(families);
    }

    /// Adds `registry` until the answer is dropped. Each of its series also gets `labels`;
    /// a label that a series has itself stays as it is.
    pub fn attach(&self, registry: Registry, labels: &[(&str, &str)]) -> Attached {
        Attached {
            id: self.insert(registry, labels),
            gather: self.clone(),
        }
    }

    /// All series in the text format 0.0.4 ([`CONTENT_TYPE`]): one family per name, sorted by
    /// name and then by labels.
    ///
    /// Where two parts have the same series, the part that was added first speaks. A family
    /// whose type differs from that of an earlier part is left out, and said so in the log.
    pub fn text(&self) -> String {
        // Long texts are nearly as long as the last time; growing would need twice the room.
        let mut text = String::with_capacity(self.lock().length);
        for family in self.families() {
            // Encoded one by one, so that a family that cannot be encoded costs only itself.
            if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
                tracing::warn!(%error, "a metric family was left out");
            }
        }
        self.lock().length = text.len() + text.len() / 16;
        text
    }

    /// All series, by the name of their family.
    pub(crate) fn families(&self) -> impl Iterator<Item = MetricFamily> {
        // Gathered from a copy: collectors run code of their own, which must not run under the lock.
        let (parts, made) = {
            let parts = self.lock();
            let all: Vec<Part> = parts.by_id.values().cloned().collect();
            (all, parts.made.clone())
        };
        let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
        for part in &parts {
            for mut family in part.registry.gather() {
                for metric in family.mut_metric() {
                    add_labels(metric, &part.labels);
                }
                merge(&mut families, family);
            }
        }
        let mut names: BTreeMap<String, Vec<(usize, usize)>> = families
            .keys()
            .map(|name| (name.clone(), Vec::new()))
            .collect();
        for (source, made) in made.iter().enumerate() {
            for (place, name) in made.names().into_iter().enumerate() {
                let makers = names.entry(name.to_owned()).or_default();
                makers.push((source, place));
            }
        }
        let families = names.into_iter().filter_map(move |(name, makers)| {
            for (source, place) in makers {
                merge(&mut families, made[source].family(place));
            }
            families.remove(&name)
        });
        families.filter_map(|mut family| {
            let metrics = family.mut_metric();
            // Stable, so that of two equal series the one of the older part stays.
            metrics.sort_by(|a, b| pairs(a).cmp(pairs(b)));
            metrics.dedup_by(|later, earlier| later.get_label() == earlier.get_label());
            (!metrics.is_empty()).then_some(family)
        })
    }

    fn insert(&self, registry: Registry, labels: &[(&str, &str)]) -> u64 {
        let labels = labels
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut parts = self.lock();
        let id = parts.next_id;
        parts.next_id += 1;
        parts.by_id.insert(id, Part { registry, labels });
        id
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // A map of parts is whole at every step, so a panic elsewhere does not spoil it.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a registry in its [`Gather`].
#[derive(Debug)]
#[must_use = "the registry is scraped only while this is held"]
pub struct Attached {
    gather: Gather,
    id: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.gather.lock().by_id.remove(&self.id);
    }
}

/// Registers `penstock_build_info`, which is always 1 and says which `version` runs.
///
/// # Errors
///
/// The registry has it already.
pub fn register_build_info(registry: &Registry, version: &str) -> prometheus::Result<()> {
    let opts = Opts::new("penstock_build_info", "Version that runs, always 1")
        .const_label("version", version);
    let gauge = Gauge::with_opts(opts)?;
    gauge.set(1.0);
    registry.register(Box::new(gauge))
}

/// Registers `target_info`, which is always 1 and says what is measured: the `resource`
/// attributes with their OpenTelemetry names, such as `k8s.pod.name`. Empty ones are left out; of
/// names that are the same as labels the first counts.
///
/// Source: spec/queue-proxy.md §7.1, §7.2; spec/activator.md §8.
///
/// # Errors
///
/// The registry has it already.
pub fn register_target_info(
    registry: &Registry,
    resource: &[(&str, &str)],
) -> prometheus::Result<()> {
    let told = resource.iter().filter(|(_, value)| !value.is_empty());
    let mut labels = HashMap::new();
    for (name, value) in told {
        let label = labels.entry(label_name(name));
        label.or_insert_with(|| (*value).to_owned());
    }
    let opts = Opts::new("target_info", "Target metadata").const_labels(labels);
    let gauge = Gauge::with_opts(opts)?;
    gauge.set(1.0);
    registry.register(Box::new(gauge))
}

/// With a `_` for all that no label's name has.
fn label_name(name: &str) -> String {
    let lead = if name.starts_with(|first: char| first.is_ascii_digit()) {
        "_"
    } else {
        ""
    };
    let rest = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("{lead}{rest}")
}

fn merge(families: &mut BTreeMap<String, MetricFamily>, mut family: MetricFamily) {
    // The encoder has no text for this type, and no collector of ours makes it.
    if family.get_field_type() == MetricType::UNTYPED {
        tracing::warn!(
            name = family.name(),
            "an untyped metric family was left out"
        );
        return;
    }
    match families.entry(family.name().to_owned()) {
        Entry::Vacant(place) => {
            place.insert(family);
        }
        Entry::Occupied(mut first) => {
            let first = first.get_mut();
            if first.get_field_type() == family.get_field_type() {
                first.mut_metric().append(family.mut_metric());
            } else {
                tracing::warn!(
                    name = family.name(),
                    first = ?first.get_field_type(),
                    later = ?family.get_field_type(),
                    "two registries give one metric two types; the later one was left out"
                );
            }
        }
    }
}

fn add_labels(metric: &mut Metric, labels: &[(String, String)]) {
    if labels.is_empty() {
        return;
    }
    let mut all = metric.take_label();
    for (name, value) in labels {
        if all.iter().any(|label| label.name() == name) {
            continue;
        }
        let mut label = LabelPair::default();
        label.set_name(name.clone());
        label.set_value(value.clone());
        all.push(label);
    }
    all.sort_by(|a, b| a.name().cmp(b.name()));
    metric.set_label(all);
}

fn pairs(metric: &Metric) -> impl Iterator<Item = (&str, &str)> {
    metric
        .get_label()
        .iter()
        .map(|label| (label.name(), label.value()))
}

#[cfg(test)]
mod tests;
