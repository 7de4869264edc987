use http::{Method, StatusCode, Version};
use opentelemetry_proto::tonic::common::v1::any_value;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::*;
use crate::metrics::{
    Exchange, HTTP_SCOPE, HttpLabels, HttpSeries, Outcome, Peer, SIZE_BUCKETS, Scheme, Side,
};
use crate::otlp::message::{attribute, words};

const TIMES: Times = Times { since: 5, now: 7 };

fn pushed(registry: Registry) -> Vec<ScopeMetrics> {
    let gather = Gather::default();
    gather.add(registry);
    all_of(gather.families(), TIMES)
}

#[test]
fn a_histogram_has_the_names_units_and_attributes_of_opentelemetry() {
    let registry = Registry::new();
    let series = HttpSeries::register(&registry, HTTP_SCOPE, Side::Server, &[]).unwrap();
    for bytes in [0, 7, 1_000_000] {
        let labels = HttpLabels {
            method: &Method::GET,
            outcome: Outcome::Status(StatusCode::NOT_FOUND),
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            peer: Peer::Host("shop.example:8080"),
            further: &[("kn_route_tag", "blue")],
        };
        series.observe(
            labels,
            Exchange {
                duration: Duration::from_millis(20),
                request_bytes: bytes,
                response_bytes: 0,
            },
        );
    }
    let scopes = pushed(registry);
    let [scope] = &scopes[..] else {
        panic!("{scopes:?}");
    };
    let told = scope.scope.as_ref().unwrap();
    assert_eq!(
        (&*told.name, &*told.version),
        (HTTP_SCOPE.name, HTTP_SCOPE.version)
    );
    let names: Vec<_> = scope
        .metrics
        .iter()
        .map(|metric| (&*metric.name, &*metric.unit))
        .collect();
    let want = [
        ("http.server.request.body.size", "By"),
        ("http.server.request.duration", "s"),
        ("http.server.response.body.size", "By"),
    ];
    assert_eq!(names, want);
    let Some(Data::Histogram(sizes)) = &scope.metrics[0].data else {
        panic!("{scope:?}");
    };
    assert_eq!(
        sizes.aggregation_temporality,
        i32::from(AggregationTemporality::Cumulative)
    );
    let [point] = &sizes.data_points[..] else {
        panic!("{sizes:?}");
    };
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 7));
    assert_eq!((point.count, point.sum), (3, Some(1_000_007.0)));
    assert_eq!(point.explicit_bounds, SIZE_BUCKETS);
    let mut counts = [0; SIZE_BUCKETS.len() + 1];
    (counts[0], counts[2], counts[15]) = (1, 1, 1);
    assert_eq!(point.bucket_counts, counts);
    let attributes: Vec<_> = point
        .attributes
        .iter()
        .map(|one| {
            let value = one.value.as_ref().unwrap().value.clone().unwrap();
            (&*one.key, value)
        })
        .collect();
    let text = |text: &str| any_value::Value::StringValue(text.to_owned());
    let want = [
        ("http.request.method", text("GET")),
        ("http.response.status_code", any_value::Value::IntValue(404)),
        ("kn.route.tag", text("blue")),
        ("network.protocol.name", text("http")),
        ("network.protocol.version", text("1.1")),
        ("server.address", text("shop.example")),
        ("server.port", any_value::Value::IntValue(8080)),
        ("url.scheme", text("http")),
    ];
    assert_eq!(attributes, want);
}

#[test]
fn counters_grow_and_gauges_do_not_and_names_that_nobody_knows_stay() {
    let registry = Registry::new();
    let depth = IntGauge::new("kn_serving_queue_depth", "Depth").unwrap();
    depth.set(11);
    let opts = Opts::new("own_total", "Own").const_label("otel_scope_name", "a");
    let own = IntCounterVec::new(opts, &["server_port"]).unwrap();
    // What is no number stays a text.
    own.with_label_values(&["none"]).inc_by(3);
    registry.register(Box::new(depth)).unwrap();
    registry.register(Box::new(own)).unwrap();
    let scopes = pushed(registry);
    let [none, a] = &scopes[..] else {
        panic!("{scopes:?}");
    };
    let name = |scope: &ScopeMetrics| scope.scope.clone().unwrap().name;
    assert_eq!((name(none), name(a)), (String::new(), "a".to_owned()));
    let depth = &none.metrics[0];
    assert_eq!(
        (&*depth.name, &*depth.unit),
        ("kn.serving.queue.depth", "{request}")
    );
    let Some(Data::Gauge(gauge)) = &depth.data else {
        panic!("{depth:?}");
    };
    assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(11.0)));
    let Some(Data::Sum(sum)) = &a.metrics[0].data else {
        panic!("{a:?}");
    };
    assert!(sum.is_monotonic);
    assert_eq!(a.metrics[0].name, "own_total");
    let point = &sum.data_points[0];
    assert_eq!(point.value, Some(Value::AsDouble(3.0)));
    assert_eq!(point.attributes.len(), 1);
    assert_eq!(point.attributes[0], attribute("server.port", words("none")));
}
