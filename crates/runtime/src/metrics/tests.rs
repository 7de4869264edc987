use prometheus::{Counter, CounterVec, Histogram, HistogramOpts, IntGauge};

use super::*;

fn counters(help: &str, values: &[(&str, f64)]) -> Registry {
    let registry = Registry::new();
    let counters = CounterVec::new(Opts::new("answered_total", help), &["code"]).unwrap();
    for &(code, value) in values {
        counters.with_label_values(&[code]).inc_by(value);
    }
    registry.register(Box::new(counters)).unwrap();
    registry
}

#[test]
fn families_of_one_name_become_one_family_sorted_by_labels() {
    let gather = Gather::default();
    gather.add(counters("Answers sent", &[("503", 1.0), ("200", 3.0)]));
    let _b = gather.attach(counters("Answers sent", &[("200", 5.0)]), &[("pod", "b")]);
    let _a = gather.attach(counters("Answers sent", &[("200", 4.0)]), &[("pod", "a")]);
    let other = Registry::new();
    let wait = HistogramOpts::new("a_wait_seconds", "Arrival to slot").buckets(vec![0.5, 1.0]);
    let wait = Histogram::with_opts(wait).unwrap();
    wait.observe(0.7);
    other.register(Box::new(wait)).unwrap();
    gather.add(other);
    assert_eq!(
        gather.text(),
        r#"# HELP a_wait_seconds Arrival to slot
# TYPE a_wait_seconds histogram
a_wait_seconds_bucket{le="0.5"} 0
a_wait_seconds_bucket{le="1"} 1
a_wait_seconds_bucket{le="+Inf"} 1
a_wait_seconds_sum 0.7
a_wait_seconds_count 1
# HELP answered_total Answers sent
# TYPE answered_total counter
answered_total{code="200"} 3
answered_total{code="200",pod="a"} 4
answered_total{code="200",pod="b"} 5
answered_total{code="503"} 1
"#
    );
}

#[test]
fn a_part_is_scraped_only_while_it_is_attached() {
    let gather = Gather::default();
    let part = gather.attach(counters("Answers sent", &[("200", 1.0)]), &[("pod", "a")]);
    assert!(gather.clone().text().contains(r#"pod="a""#));
    drop(part);
    assert_eq!(gather.text(), "");
}

#[test]
fn of_two_equal_series_the_first_added_speaks() {
    let gather = Gather::default();
    gather.add(counters("Answers sent", &[("200", 1.0)]));
    gather.add(counters("Answers sent", &[("200", 2.0)]));
    let samples: Vec<String> = gather
        .text()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert_eq!(samples, [r#"answered_total{code="200"} 1"#]);
}

#[test]
fn a_second_type_for_a_name_is_left_out() {
    let gather = Gather::default();
    gather.add(counters("Answers sent", &[("200", 1.0)]));
    let registry = Registry::new();
    let gauge = IntGauge::new("answered_total", "Not a counter").unwrap();
    registry.register(Box::new(gauge)).unwrap();
    gather.add(registry);
    assert_eq!(
        gather.text(),
        "# HELP answered_total Answers sent\n# TYPE answered_total counter\n\
         answered_total{code=\"200\"} 1\n"
    );
}

#[test]
fn a_series_keeps_its_own_label_against_that_of_its_part() {
    let gather = Gather::default();
    let labels = [("code", "999"), ("pod", "a")];
    let _part = gather.attach(counters("Answers sent", &[("200", 1.0)]), &labels);
    assert!(
        gather
            .text()
            .contains(r#"answered_total{code="200",pod="a"} 1"#)
    );
}

#[test]
fn evil_label_values_stay_inside_their_quotes() {
    let gather = Gather::default();
    let evil = "a\"} 1\nfake_total{x=\"\\";
    let registry = counters("Help with \\ and\nnewline", &[(evil, 1.0)]);
    let _part = gather.attach(registry, &[("pod", evil)]);
    let escaped = r#"a\"} 1\nfake_total{x=\"\\"#;
    assert_eq!(
        gather.text(),
        format!(
            "# HELP answered_total Help with \\\\ and\\nnewline\n# TYPE answered_total counter\n\
             answered_total{{code=\"{escaped}\",pod=\"{escaped}\"}} 1\n"
        )
    );
}

#[test]
fn an_empty_registry_and_a_vector_without_series_say_nothing() {
    let gather = Gather::default();
    gather.add(Registry::new());
    gather.add(counters("Answers sent", &[]));
    assert_eq!(gather.text(), "");
}

#[test]
fn a_collector_may_change_the_gather_that_it_is_scraped_by() {
    struct Nosy(Gather, Counter);
    impl prometheus::core::Collector for Nosy {
        fn desc(&self) -> Vec<&prometheus::core::Desc> {
            self.1.desc()
        }
        fn collect(&self) -> Vec<MetricFamily> {
            self.0.add(Registry::new());
            self.1.collect()
        }
    }
    let gather = Gather::default();
    let registry = Registry::new();
    let counter = Counter::new("asked_total", "Times asked").unwrap();
    registry
        .register(Box::new(Nosy(gather.clone(), counter)))
        .unwrap();
    gather.add(registry);
    assert!(gather.text().contains("asked_total 0"));
}

#[test]
fn the_version_that_runs_is_a_label() {
    let registry = Registry::new();
    register_build_info(&registry, "1.2.3").unwrap();
    assert!(register_build_info(&registry, "1.2.3").is_err());
    let gather = Gather::default();
    gather.add(registry);
    assert!(
        gather
            .text()
            .ends_with("penstock_build_info{version=\"1.2.3\"} 1\n")
    );
}

#[test]
fn the_target_tells_what_it_is_under_prometheus_names() {
    let registry = Registry::new();
    let resource = [
        ("k8s.pod.name", "hello-1"),
        ("kn.service.name", ""),
        ("container.name", "queue-proxy"),
        // An operator's own: the same label again, and what no label is called.
        ("container_name", "other"),
        ("1/team", "a b"),
    ];
    register_target_info(&registry, &resource).unwrap();
    let gather = Gather::default();
    gather.add(registry);
    assert_eq!(
        gather.text(),
        "# HELP target_info Target metadata\n# TYPE target_info gauge\n\
         target_info{_1_team=\"a b\",container_name=\"queue-proxy\",k8s_pod_name=\"hello-1\"} 1\n"
    );
}

/// One family that is in a registry as well, one of its own, and one without series.
#[derive(Debug)]
struct Made;

impl Families for Made {
    fn names(&self) -> Vec<&'static str> {
        vec!["answered_total", "zeros", "abandoned"]
    }

    fn family(&self, place: usize) -> MetricFamily {
        let registry = match place {
            0 => counters("Answers sent", &[("200", 7.0), ("404", 2.0)]),
            1 => {
                let registry = Registry::new();
                let gauge = IntGauge::new("zeros", "Pods").unwrap();
                registry.register(Box::new(gauge)).unwrap();
                registry
            }
            _ => return MetricFamily::default(),
        };
        registry.gather().remove(0)
    }
}

#[test]
fn families_that_are_made_one_by_one_stand_among_the_others() {
    let gather = Gather::default();
    gather.add(counters("Answers sent", &[("200", 1.0)]));
    gather.add_families(Arc::new(Made));
    let want = "# HELP answered_total Answers sent\n# TYPE answered_total counter\n\
                answered_total{code=\"200\"} 1\nanswered_total{code=\"404\"} 2\n\
                # HELP zeros Pods\n# TYPE zeros gauge\nzeros 0\n";
    for _ in 0..2 {
        assert_eq!(gather.text(), want);
    }
}
