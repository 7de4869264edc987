//! `OBSERVABILITY_CONFIG`: a JSON object laid over defaults. Installations before 1.19 have a set of
//! single variables in its place, and dashboards for the classic names of the series.
//!
//! Source: spec/queue-proxy.md §1.1, §10.

use std::time::Duration;

use penstock_runtime::otlp::{Collector, Signal, Wanted};
#[cfg(not(feature = "otlp"))]
use penstock_runtime::otlp::{Protocol, WITHOUT_OTLP};
use penstock_runtime::trace::{Traces, Way};
use penstock_runtime::vars::{Vars, go, parsed};

use crate::json::{self, Field, Mistakes, Object};
use crate::metrics::Names;

const VARIABLE: &str = "OBSERVABILITY_CONFIG";

/// What is measured and logged of requests, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Observability {
    /// Where metrics can be read, if they can.
    pub prometheus: Option<Prometheus>,
    /// Lines about requests, if there are any.
    pub request_log: Option<RequestLog>,
    /// Where metrics are pushed to.
    pub push: Option<Push>,
    /// Where spans go.
    pub traces: Option<Traces>,
    /// Whether the port for profiles is to be opened.
    pub profiling: bool,
}

/// The listener that metrics are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Name or address; empty for all addresses.
    pub host: String,
    /// Port; 0 for any.
    pub port: u16,
    /// Names of the series.
    pub names: Names,
}

/// Lines about requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLog {
    /// Their template; `None` is the contract's own.
    pub template: Option<String>,
    /// Whether probes are logged, too.
    pub probes: bool,
}

/// Where metrics are pushed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// By OTLP.
    Otlp {
        /// The collector.
        wanted: Wanted,
        /// Time between two pushes, which is not 0.
        interval: Duration,
    },
    /// As installations before 1.19 could have it, which there is no way for.
    OpenCensus,
}

/// The port of the metrics, unless something else is said.
const METRICS_PORT: u16 = 9091;
/// Time between two pushes, unless something else is said.
const PUSH_INTERVAL: Duration = Duration::from_secs(60);

impl Observability {
    pub(super) fn read<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Self {
        let given = vars.text(VARIABLE).filter(|text| !text.is_empty());
        let older = vars.text("SERVING_REQUEST_METRICS_BACKEND").is_some();
        let mut this = match given {
            Some(text) => Self::from_json(vars, &text),
            None if older => Self::from_older(vars),
            None => Self::none(),
        };
        if let Some(prometheus) = &mut this.prometheus {
            prometheus.read(vars);
        }
        if let Some(traces) = &mut this.traces {
            traces.read(vars);
        }
        if let Some(push) = &mut this.push {
            push.read(vars);
        }
        this
    }

    fn none() -> Self {
        Self {
            prometheus: None,
            request_log: None,
            push: None,
            traces: None,
            profiling: false,
        }
    }

    fn from_json<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>, text: &str) -> Self {
        let mut bad = Mistakes::default();
        let read = json::read(VARIABLE, text).map(|json| {
            let root = Field::root(VARIABLE, &json);
            let root = root.object("an object", &mut bad);
            root.map_or_else(Self::none, |root| Self::from_object(&root, &mut bad))
        });
        match read.and_then(|this| bad.none_or(this)) {
            Ok(this) => this,
            Err(bad) => {
                vars.reject_all(bad);
                Self::none()
            }
        }
    }

    fn from_object(root: &Object<'_>, bad: &mut Mistakes) -> Self {
        let mut this = Self::none();
        if let Some(metrics) = part(root, "requestMetrics", bad) {
            this.read_metrics(&metrics, bad);
        }
        if let Some(tracing) = part(root, "tracing", bad) {
            let wanted = "none, http/protobuf, grpc or stdout";
            let protocol = protocol(&tracing, &["http/protobuf", "grpc", "stdout"], wanted, bad);
            let rate = tracing.get("samplingRate");
            let rate = rate.and_then(|field| field.share(bad)).unwrap_or(0.0);
            this.traces = protocol.map(|protocol| {
                let endpoint = endpoint(&tracing, protocol, Signal::Traces, bad);
                Traces::new(protocol, &endpoint, rate)
            });
        }
        if let Some(runtime) = part(root, "runtime", bad) {
            let word = |text: &str| match text {
                "enabled" => Some(true),
                "disabled" | "" => Some(false),
                _ => None,
            };
            let profiling = runtime.get("profiling");
            let profiling = profiling.and_then(|it| it.word(word, "enabled or disabled", bad));
            this.profiling = profiling.unwrap_or(false);
        }
        let mut switch = |name| {
            let switch = root.get(name).and_then(|field| field.switch(bad));
            switch.unwrap_or(false)
        };
        let (on, probes) = (switch("enableRequestLog"), switch("enableProbeRequestLog"));
        let template = root.get("requestLogTemplate");
        let template = template.and_then(|field| field.string(bad));
        this.request_log = on.then_some(RequestLog { template, probes });
        this
    }

    fn read_metrics(&mut self, metrics: &Object<'_>, bad: &mut Mistakes) {
        let wanted = "none, prometheus, http/protobuf or grpc";
        let known = ["prometheus", "http/protobuf", "grpc"];
        match protocol(metrics, &known, wanted, bad) {
            Some("prometheus") => {
                let endpoint = metrics.get("endpoint");
                let place = endpoint.and_then(|field| {
                    let wanted = "host:port, or empty for all addresses and 9091";
                    field.word(place, wanted, bad)
                });
                let (host, port) = place.unwrap_or((String::new(), METRICS_PORT));
                self.prometheus = Some(Prometheus {
                    host,
                    port,
                    names: Names::Current,
                });
            }
            other => self.push = other.and_then(|protocol| Push::from(metrics, protocol, bad)),
        }
    }

    /// The variables of installations before 1.19.
    fn from_older<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Self {
        let mut this = Self::none();
        let mut switch = |name| vars.read(name, false, "true or false", go::bool);
        let on = switch("SERVING_ENABLE_REQUEST_LOG");
        let probes = switch("SERVING_ENABLE_PROBE_REQUEST_LOG");
        this.profiling = switch("ENABLE_PROFILING");
        let given = |name| vars.text(name).unwrap_or_default();
        this.request_log = on.then(|| RequestLog {
            template: Some(given("SERVING_REQUEST_LOG_TEMPLATE")),
            probes,
        });
        if given("TRACING_CONFIG_BACKEND") == "zipkin" {
            this.traces = Some(Traces::new("zipkin", "", 0.0));
        }
        match given("SERVING_REQUEST_METRICS_BACKEND").as_str() {
            "prometheus" => {
                this.prometheus = Some(Prometheus {
                    host: String::new(),
                    port: METRICS_PORT,
                    names: Names::Classic,
                });
            }
            "opencensus" => this.push = Some(Push::OpenCensus),
            "" | "none" => {}
            other => vars.reject(
                "SERVING_REQUEST_METRICS_BACKEND",
                Some(other.to_owned()),
                "prometheus, opencensus, none or empty",
            ),
        }
        this
    }

    /// Whether lines go to standard output.
    pub(crate) fn writes_lines(&self) -> bool {
        let spans = self.traces.as_ref().map(Traces::way);
        self.request_log.is_some() || spans == Some(Way::Stdout)
    }

    /// What was asked for and is not there, each with what there is in its place.
    pub fn missing(&self) -> Vec<String> {
        let push = self.push.iter().flat_map(Push::missing);
        let traces = self.traces.iter().filter_map(Traces::missing);
        let mut missing: Vec<String> = push.chain(traces).collect();
        if self.profiling {
            let instead = "its port tells of threads and memory; perf can sample from the node";
            missing.push(format!("sampled profiles ({instead})"));
        }
        missing
    }
}

impl Push {
    fn from(part: &Object<'_>, protocol: &str, bad: &mut Mistakes) -> Option<Self> {
        let endpoint = endpoint(part, protocol, Signal::Metrics, bad);
        let interval = part.get("exportInterval");
        let interval = interval.and_then(|field| field.nanos(bad));
        Some(Self::Otlp {
            wanted: Wanted::new(protocol, &endpoint, Signal::Metrics)?,
            interval: interval.filter(|it| !it.is_zero()).unwrap_or(PUSH_INTERVAL),
        })
    }

    /// What OpenTelemetry's variables change in it.
    fn read<G: Fn(&str) -> Option<String>>(&mut self, vars: &Vars<G>) {
        const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
        const SUMS: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let Self::Otlp { wanted, interval } = self else {
            return;
        };
        wanted.read(Signal::Metrics, vars);
        let given = |name| vars.text(name).filter(|text| !text.is_empty());
        if let Some(text) = given(INTERVAL) {
            match parsed(&text).filter(|millis| *millis > 0) {
                Some(millis) => *interval = Duration::from_millis(millis),
                None => wanted.ignores(INTERVAL, &text),
            }
        }
        // Sums since the start are all that there is, and the default.
        if let Some(text) = given(SUMS).filter(|text| !text.eq_ignore_ascii_case("cumulative")) {
            wanted.ignores(SUMS, &text);
        }
    }

    /// What of it was asked for and is not there.
    fn missing(&self) -> Vec<String> {
        match self {
            Self::OpenCensus => vec![not_pushed("opencensus", "there is OTLP")],
            #[cfg(feature = "otlp")]
            Self::Otlp { wanted, .. } => wanted.missing.clone(),
            #[cfg(not(feature = "otlp"))]
            Self::Otlp { wanted, .. } => {
                let protocol = match wanted.collector.protocol {
                    Protocol::Http => "http/protobuf",
                    Protocol::Grpc => "grpc",
                };
                vec![not_pushed(protocol, WITHOUT_OTLP)]
            }
        }
    }
}

fn not_pushed(protocol: &str, why: &str) -> String {
    format!(
        "pushing metrics by {protocol} ({why}; they can be scraped, with the protocol prometheus)"
    )
}

impl Prometheus {
    /// What single variables change in it.
    fn read<G: Fn(&str) -> Option<String>>(&mut self, vars: &mut Vars<G>) {
        let host = vars.text("METRICS_PROMETHEUS_HOST");
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            self.host = host;
        }
        let port = vars.read(
            "METRICS_PROMETHEUS_PORT",
            None,
            "a port from 1024 to 65535, or empty",
            |text| match text {
                "" => Some(None),
                port => parsed(port).filter(|port: &u16| *port >= 1024).map(Some),
            },
        );
        let own = vars.optional("PENSTOCK_METRICS_PORT", "a port from 0 to 65535", parsed);
        self.port = own.or(port).unwrap_or(self.port);
        let names = "current or classic";
        self.names = vars.read("PENSTOCK_METRICS_NAMES", self.names, names, super::names);
    }
}

fn part<'v>(root: &Object<'v>, name: &str, bad: &mut Mistakes) -> Option<Object<'v>> {
    root.get(name)?.object("an object", bad)
}

/// The protocol, if it is one of `known`; nothing, an empty one and `none` are none.
fn protocol(
    part: &Object<'_>,
    known: &[&'static str],
    wanted: &'static str,
    bad: &mut Mistakes,
) -> Option<&'static str> {
    let word = |text: &str| match text {
        "" | "none" => Some(None),
        text => known.iter().find(|word| **word == text).map(|it| Some(*it)),
    };
    part.get("protocol")?.word(word, wanted, bad)?
}

/// Where a collector is, if that is said and the protocol has one.
fn endpoint(part: &Object<'_>, protocol: &str, signal: Signal, bad: &mut Mistakes) -> String {
    let wanted = "an http:// or https:// URL, or name:port, which is reached by https";
    let url = |text: &str| match text {
        "" => Some(String::new()),
        text => Collector::url(text, signal),
    };
    let field = part.get("endpoint").filter(|_| protocol != "stdout");
    let url = field.and_then(|field| field.word(url, wanted, bad));
    url.unwrap_or_default()
}

/// `host:port`, `[v6]:port` or `:port`; empty is all addresses and the usual port.
fn place(text: &str) -> Option<(String, u16)> {
    if text.is_empty() {
        return Some((String::new(), METRICS_PORT));
    }
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(v6) => v6,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = parsed(port).filter(|port: &u16| *port > 0)?;
    Some((host.to_owned(), port))
}
