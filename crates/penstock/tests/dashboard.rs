//! The dashboard shows nothing that nobody exports.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use penstock_autoscaler::{Autoscaler, Names, PolicyKind, Scraper, Scraping, Targets};
use penstock_cluster::{Leases, Revision};
use penstock_scaling::config::Config;
use penstock_scaling::scrape::Mesh;
use penstock_testkit::cluster::ScriptedCluster;
use prometheus::{Gauge, Opts, Registry};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

/// A registry with all that the programs register.
fn everything() -> Registry {
    let registry = Registry::new();
    penstock_activator::Metrics::register(&registry).unwrap();
    penstock_activator::report::LinkMetrics::register(&registry).unwrap();
    penstock_runtime::metrics::register_process(&registry).unwrap();
    let (_, config) = watch::channel(Arc::new(Config::default()));
    let (_, leases) = watch::channel(Arc::new(Leases::alone()));
    let cluster = ScriptedCluster::new(Vec::<Revision>::new());
    Autoscaler::new(cluster, config.clone(), PolicyKind::Demand, &registry).unwrap();
    let scraping = Scraping {
        targets: Arc::new(Nowhere),
        mesh: Mesh::Auto,
        passthrough: false,
        seed: 1,
    };
    let (to, _) = mpsc::channel(1);
    Scraper::new(scraping, config, leases, to, &registry, Names::Current).unwrap();
    registry
}

/// The queue-proxy exports some families of the activator's names: it has a registry of its own.
fn queue_proxy() -> Registry {
    let registry = Registry::new();
    penstock_queue_proxy::Metrics::register(&registry, &[]).unwrap();
    registry
}

struct Nowhere;

impl Targets for Nowhere {
    fn service(&self, _: &Revision) -> Option<String> {
        None
    }
}

/// Whether the registry has a family of that name: it then takes no other one.
fn has(registry: &Registry, name: &str) -> bool {
    let other = Gauge::with_opts(Opts::new(name, "Nobody's help"));
    registry.register(Box::new(other.unwrap())).is_err()
}

/// All texts of the fields `expr` and `query`, however deep.
fn questions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "expr" || name == "query" => found.push(text.to_owned()),
                    _ => questions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| questions(value, found)),
        _ => {}
    }
}

/// Names of series: in this dashboard each has its selector behind it, be it an empty one.
fn names(question: &str) -> impl Iterator<Item = &str> {
    let before = question.split('{').rev().skip(1);
    before.filter_map(|text| {
        let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        text.rsplit(end).next().filter(|name| !name.is_empty())
    })
}

#[test]
fn every_series_of_the_dashboard_is_exported_by_one_of_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana/penstock.json");
    let dashboard = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    questions(&serde_json::from_str(&dashboard).unwrap(), &mut found);
    let mut all = BTreeSet::new();
    for question in found.iter().filter(|question| *question != "prometheus") {
        assert!(names(question).count() > 0, "no series in {question}");
        all.extend(names(question));
    }
    assert!(all.len() > 20, "{all:?}");
    let unknown: Vec<&&str> = all
        .iter()
        .filter(|name| {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            ![everything(), queue_proxy()]
                .iter()
                .any(|it| has(it, family))
        })
        .collect();
    assert!(unknown.is_empty(), "nobody exports {unknown:?}");
    assert!(!has(&everything(), "kn_revision_pods_imagined"));
}
