//! Where spans go: what the platform's configuration says of tracing, and the variables of
//! OpenTelemetry, which win over it.
//!
//! Source: spec/queue-proxy.md §1, §1.1, §7.3; spec/activator.md §1.1, §1.3.

use super::Sampler;
#[cfg(feature = "otlp")]
use crate::otlp::Collector;
#[cfg(not(feature = "otlp"))]
use crate::otlp::WITHOUT_OTLP;
use crate::otlp::{Signal, Wanted};
use crate::vars::Vars;

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The protocol's name in the contract.
    pub protocol: String,
    /// The collector that takes them, if one does.
    pub wanted: Option<Wanted>,
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
    /// OTLP.
    #[cfg(feature = "otlp")]
    Collector(&'a Collector),
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
            wanted: Wanted::new(protocol, endpoint, Signal::Traces),
            sampler,
            unknown_sampler: None,
        }
    }

    /// What OpenTelemetry's variables change in it.
    pub fn read<G: Fn(&str) -> Option<String>>(&mut self, vars: &mut Vars<G>) {
        if let Some(wanted) = &mut self.wanted {
            wanted.read(Signal::Traces, vars);
        }
        if self.protocol == "stdout" {
            return; // all of them (§7.3)
        }
        let given = |name| vars.text(name).filter(|text| !text.is_empty());
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
        match &self.wanted {
            None if self.protocol == "stdout" => Way::Stdout,
            None => Way::None("http/protobuf, grpc and stdout there are"),
            #[cfg(feature = "otlp")]
            Some(wanted) => Way::Collector(&wanted.collector),
            #[cfg(not(feature = "otlp"))]
            Some(_) => Way::None(WITHOUT_OTLP),
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
        let sampler = self.unknown_sampler.iter();
        let sampler =
            sampler.map(|name| format!("the sampler {name:?} (the configured rate counts)"));
        let wanted = self.wanted.iter().flat_map(|wanted| wanted.missing.clone());
        let missing: Vec<String> = sampler.chain(wanted).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_the_sampler_wins_over_the_rate_but_not_on_standard_output() {
        let with = |protocol, name: &'static str| {
            let mut traces = Traces::new(protocol, "http://c", 0.5);
            traces.read(&mut Vars::new(|asked: &str| match asked {
                "OTEL_TRACES_SAMPLER" => Some(name.to_owned()),
                "OTEL_TRACES_SAMPLER_ARG" => Some("0.25".to_owned()),
                _ => None,
            }));
            traces
        };
        let quarter = Sampler::named("parentbased_traceidratio", "0.25");
        let table = [
            ("http/protobuf", "", Some(Sampler::of_rate(0.5))),
            ("http/protobuf", "always_on", Some(Sampler::ALWAYS)),
            ("grpc", "parentbased_traceidratio", quarter),
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
        let missing = |protocol| Traces::new(protocol, "", 1.0).missing();
        assert_eq!(missing("stdout"), None);
        let said = missing("zipkin").unwrap();
        assert!(said.starts_with("traces by zipkin ("), "{said}");
        for protocol in ["grpc", "http/protobuf"] {
            let said = missing(protocol);
            assert_eq!(said.is_none(), cfg!(feature = "otlp"), "{said:?}");
        }
        let mut unknown = Traces::new("stdout", "", 1.0);
        unknown.unknown_sampler = Some("xray".to_owned());
        let said = unknown.missing().unwrap();
        assert!(said.starts_with("the sampler \"xray\""), "{said}");
    }
}
