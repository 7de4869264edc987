//! Where spans go: what the platform's configuration says of tracing, and the variables of
//! OpenTelemetry, which win over it.
//!
//! Source: spec/queue-proxy.md §1, §1.1, §7.3; spec/activator.md §1.1, §1.3.

use super::Sampler;
use crate::vars::Vars;

/// Where a collector takes spans, unless something else is said.
const COLLECTOR: &str = "http://localhost:4318";
/// Where on a collector.
const PATH: &str = "/v1/traces";

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The protocol's name in the contract.
    pub protocol: String,
    /// Where to; may be empty.
    pub endpoint: String,
    /// Which traces are told.
    pub sampler: Sampler,
    /// A sampler that was asked for by a name that nobody here knows.
    unknown_sampler: Option<String>,
}

/// How spans get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// Lines on standard output.
    Stdout,
    /// OTLP over HTTP, to this URL.
    #[cfg(feature = "otlp")]
    Collector(&'a str),
    /// Not at all, for this reason.
    None(&'a str),
}

impl Traces {
    /// By `protocol` to `endpoint`, which may be empty; of traces that nobody has decided on, a share
    /// of `rate`.
    pub fn new(protocol: &str, endpoint: &str, rate: f64) -> Self {
        let sampler = match protocol {
            "stdout" => Sampler::ALWAYS,
            _ => Sampler::of_rate(rate),
        };
        Self {
            protocol: protocol.to_owned(),
            endpoint: endpoint.to_owned(),
            sampler,
            unknown_sampler: None,
        }
    }

    /// What OpenTelemetry's variables change in it.
    pub fn read<G: Fn(&str) -> Option<String>>(&mut self, vars: &mut Vars<G>) {
        let given = |name| vars.text(name).filter(|text| !text.is_empty());
        let whole = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let base = given("OTEL_EXPORTER_OTLP_ENDPOINT");
        self.endpoint = match (whole, base, &*self.endpoint) {
            (Some(whole), ..) => whole,
            (None, Some(base), _) => format!("{}{PATH}", base.trim_end_matches('/')),
            (None, None, "") => format!("{COLLECTOR}{PATH}"),
            (None, None, endpoint) => with_path(endpoint),
        };
        if self.protocol == "stdout" {
            return; // all of them (§7.3)
        }
        if let Some(name) = given("OTEL_TRACES_SAMPLER") {
            let argument = given("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
            match Sampler::named(&name, &argument) {
                Some(sampler) => self.sampler = sampler,
                None => self.unknown_sampler = Some(name),
            }
        }
    }

    /// How they get there, as far as this program has a way.
    pub fn way(&self) -> Way<'_> {
        match &*self.protocol {
            "stdout" => Way::Stdout,
            #[cfg(feature = "otlp")]
            "http/protobuf" if self.endpoint.starts_with("http://") => {
                Way::Collector(&self.endpoint)
            }
            #[cfg(feature = "otlp")]
            "http/protobuf" => Way::None("a collector is reached by http:// only"),
            #[cfg(not(feature = "otlp"))]
            "http/protobuf" => Way::None("this program was built without the feature otlp"),
            _ => Way::None("http/protobuf and stdout there are"),
        }
    }

    /// What of it was asked for and is not there.
    pub fn missing(&self) -> Option<String> {
        if let Way::None(why) = self.way() {
            return Some(format!(
                "traces by {} ({why}; the headers of callers' traces are passed on)",
                self.protocol
            ));
        }
        let name = self.unknown_sampler.as_deref()?;
        Some(format!("the sampler {name:?} (the configured rate counts)"))
    }
}

/// With the usual path, where there is none.
fn with_path(endpoint: &str) -> String {
    let behind = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, behind)| behind);
    match behind.split_once('/') {
        None => format!("{endpoint}{PATH}"),
        Some((_, "")) => format!("{}{PATH}", endpoint.trim_end_matches('/')),
        Some(_) => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut traces: Traces, vars: &[(&str, &str)]) -> Traces {
        let get = |name: &str| {
            let found = vars.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        traces.read(&mut Vars::new(get));
        traces
    }

    #[test]
    fn the_variables_of_the_endpoint_win_over_the_configured_one() {
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let table = [
            // configured, for traces, for all, what counts
            ("", "", "", "http://localhost:4318/v1/traces"),
            ("http://c:4318", "", "", "http://c:4318/v1/traces"),
            ("http://c:4318/", "", "", "http://c:4318/v1/traces"),
            ("http://c:4318/own", "", "", "http://c:4318/own"),
            ("http://c", "", "http://all/", "http://all/v1/traces"),
            ("http://c", "http://t/own", "http://all", "http://t/own"),
            ("http://c", "http://t", "", "http://t"),
        ];
        for (configured, traces, all, want) in table {
            let made = Traces::new("http/protobuf", configured, 1.0);
            let got = read(made, &[(TRACES, traces), (ALL, all)]);
            assert_eq!(got.endpoint, want);
        }
    }

    #[test]
    fn the_variable_of_the_sampler_wins_over_the_rate_but_not_on_standard_output() {
        let with = |protocol, name| {
            let vars = [
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ];
            read(Traces::new(protocol, "http://c", 0.5), &vars)
        };
        let quarter = Sampler::named("parentbased_traceidratio", "0.25");
        let table = [
            ("http/protobuf", "", Some(Sampler::of_rate(0.5))),
            ("http/protobuf", "always_on", Some(Sampler::ALWAYS)),
            ("http/protobuf", "parentbased_traceidratio", quarter),
            ("http/protobuf", "xray", Some(Sampler::of_rate(0.5))),
            ("stdout", "", Some(Sampler::ALWAYS)),
            ("stdout", "always_off", Some(Sampler::ALWAYS)),
        ];
        for (protocol, name, want) in table {
            assert_eq!(
                Some(with(protocol, name).sampler),
                want,
                "{protocol} {name}"
            );
        }
    }

    #[test]
    fn what_there_is_no_way_for_is_said() {
        let missing = |protocol, endpoint| Traces::new(protocol, endpoint, 1.0).missing();
        assert_eq!(missing("stdout", ""), None);
        for (protocol, endpoint) in [
            ("grpc", "http://c:4317"),
            ("zipkin", "http://z"),
            ("http/protobuf", "https://c"),
        ] {
            let said = missing(protocol, endpoint).unwrap();
            assert!(
                said.starts_with(&format!("traces by {protocol} (")),
                "{said}"
            );
        }
        let plain = missing("http/protobuf", "http://c");
        assert_eq!(plain.is_none(), cfg!(feature = "otlp"), "{plain:?}");
        let mut traces = Traces::new("stdout", "", 1.0);
        traces.unknown_sampler = Some("xray".to_owned());
        let said = traces.missing().unwrap();
        assert!(said.starts_with("the sampler \"xray\""), "{said}");
    }
}
