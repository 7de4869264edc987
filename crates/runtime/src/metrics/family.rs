//! From figures to what is scraped: series with their labels, added up where labels are equal.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prometheus::Opts;
use prometheus::core::{Desc, Describer as _};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::tally::Tally;

/// Labels of one series: names with their values.
pub type LabelSet = Vec<(&'static str, String)>;

/// The series of what has no room of its own, as OpenTelemetry marks it.
pub const OVERFLOW: [(&str, &str); 1] = [("otel_metric_overflow", "true")];

/// A metric family whose series are made when it is scraped.
#[derive(Debug)]
pub struct FamilyOf {
    desc: Desc,
    kind: MetricType,
    constant: Vec<(String, String)>,
}

/// Series of a [`FamilyOf`] by their labels.
type Series<F> = BTreeMap<LabelSet, F>;

impl FamilyOf {
    /// A family with labels that are on each of its series.
    ///
    /// # Errors
    ///
    /// A name is not valid.
    pub fn new(
        name: &str,
        help: &str,
        kind: MetricType,
        constant: &[(String, String)],
    ) -> prometheus::Result<Self> {
        let opts = Opts::new(name, help).const_labels(constant.iter().cloned().collect());
        Ok(Self {
            desc: opts.describe()?,
            kind,
            constant: constant.to_vec(),
        })
    }

    /// What a collector has to tell of it.
    pub fn desc(&self) -> &Desc {
        &self.desc
    }

    /// Histograms; those with equal labels become one.
    pub fn histograms<'a, const N: usize>(
        &self,
        bounds: &[f64; N],
        all: impl Iterator<Item = (LabelSet, &'a Tally<N>)>,
    ) -> MetricFamily {
        let mut series: Series<Tally<N>> = BTreeMap::new();
        for (labels, tally) in all {
            series.entry(labels).or_default().add(tally);
        }
        self.family(series, |tally| tally.metric(bounds))
    }

    /// Counters; those with equal labels become one.
    pub fn counters(&self, all: impl Iterator<Item = (LabelSet, u64)>) -> MetricFamily {
        let mut series: Series<u64> = BTreeMap::new();
        for (labels, count) in all {
            match series.entry(labels) {
                Entry::Occupied(mut sum) => *sum.get_mut() += count,
                Entry::Vacant(place) => {
                    place.insert(count);
                }
            }
        }
        self.family(series, |&count| {
            let mut counter = Counter::default();
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
            counter.set_value(count as f64);
            let mut metric = Metric::default();
            metric.set_counter(counter);
            metric
        })
    }

    fn family<F>(&self, series: Series<F>, metric: impl Fn(&F) -> Metric) -> MetricFamily {
        let metrics = series.into_iter().map(|(labels, figures)| {
            let mut metric = metric(&figures);
            metric.set_label(self.pairs(labels));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(metrics.collect());
        family
    }

    /// Sorted by name, as the text format has them; a series' own label wins.
    fn pairs(&self, labels: LabelSet) -> Vec<LabelPair> {
        let mut all: BTreeMap<String, String> = self.constant.iter().cloned().collect();
        all.extend(
            labels
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        let pair = |(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name);
            pair.set_value(value);
            pair
        };
        all.into_iter().map(pair).collect()
    }
}
