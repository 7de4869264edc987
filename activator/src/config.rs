//! What three ConfigMaps say: `config-network`, `config-logging`, `config-observability`.
//!
//! | Map | Read at the start | Live |
//! |---|---|---|
//! | network | all of it, as in the original | |
//! | logging | where lines go, what their parts are called | the level |
//! | observability | how metrics and spans leave | whether and how requests are logged |
//!
//! A change that is wrong is told, and what was before stays.
//!
//! Source: spec/activator.md §1.3.

use std::collections::BTreeMap;

use penstock_runtime::log::Logging;
pub use penstock_runtime::observability::Observability;
use penstock_runtime::request_log::STOCK_TEMPLATE;
use penstock_runtime::vars::{BadVars, Vars, go, parsed};

use crate::discovery::Mesh;

/// The entries of one ConfigMap.
pub type Map = BTreeMap<String, String>;

/// The three of them at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMaps {
    /// `config-network`.
    pub network: Map,
    /// `config-logging`, or as it is called.
    pub logging: Map,
    /// `config-observability`, or as it is called.
    pub observability: Map,
}

/// How pods are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Whether a mesh routes by the host, so that pods are reached by their Service's name.
    pub passthrough: bool,
    /// Whether pods may be reachable only together.
    pub mesh: Mesh,
    /// Whether pods are spoken to over TLS.
    pub internal_tls: bool,
}

impl ConfigMaps {
    /// How pods are reached.
    ///
    /// # Errors
    ///
    /// All entries that are wrong.
    pub fn network(&self) -> Result<Network, BadVars> {
        let mut vars = within(&self.network);
        let switch = |text: &str| match text.to_ascii_lowercase().as_str() {
            "" => Some(None),
            "enabled" => Some(Some(true)),
            "disabled" => Some(Some(false)),
            _ => None,
        };
        let word = "enabled or disabled";
        let tls = vars.read("config-network system-internal-tls", None, word, switch);
        // The name that it had before; only what is on counts for anything.
        let older = vars.read(
            "config-network internal-encryption",
            false,
            "true or false",
            bool,
        );
        let network = Network {
            passthrough: vars.read(
                "config-network enable-mesh-pod-addressability",
                false,
                "true or false",
                bool,
            ),
            mesh: match self.network.get("mesh-compatibility-mode") {
                Some(mode) if mode.eq_ignore_ascii_case("enabled") => Mesh::Enabled,
                Some(mode) if mode.eq_ignore_ascii_case("disabled") => Mesh::Disabled,
                _ => Mesh::Auto,
            },
            internal_tls: tls.unwrap_or(false) || older,
        };
        let rollout = "whole seconds from 0";
        let seconds = |text: &str| parsed::<u64>(text).map(Some);
        vars.read("config-network rollout-duration", None, rollout, seconds);
        vars.finish(network)
    }

    /// How the process logs. What is no such configuration counts as none.
    pub fn logging(&self) -> Logging {
        let text = |key| self.logging.get(key).map_or("", String::as_str);
        let (config, level) = (text("zap-logger-config"), text("loglevel.activator"));
        Logging::read(config, level, "activator")
    }

    /// How the process tells of itself; `otel` are OpenTelemetry's variables, which win.
    ///
    /// # Errors
    ///
    /// All entries that are wrong.
    pub fn observability(
        &self,
        otel: &BTreeMap<&'static str, String>,
    ) -> Result<Observability, BadVars> {
        Observability::read(&self.observability, otel)
    }

    /// The template of lines about requests; empty: there are none.
    ///
    /// # Errors
    ///
    /// The switch is none.
    pub fn request_log_template(&self) -> Result<&str, BadVars> {
        let mut vars = within(&self.observability);
        let name = "config-observability logging.enable-request-log";
        let on = vars.read(name, false, "true or false", bool);
        let template = self.observability.get("logging.request-log-template");
        let template = template.map_or(STOCK_TEMPLATE, String::as_str);
        vars.finish(if on { template } else { "" })
    }
}

/// The entries of a map by their names, which the map's own goes before.
fn within(map: &Map) -> Vars<impl Fn(&str) -> Option<String>> {
    Vars::new(|name: &str| map.get(name.split_once(' ')?.1).cloned())
}

/// As the original reads a switch of a ConfigMap: in any case.
fn bool(text: &str) -> Option<bool> {
    if text.is_empty() {
        return Some(false);
    }
    go::bool(&text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn map(entries: &[(&str, &str)]) -> Map {
        let owned = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    #[test]
    fn the_network_is_direct_and_plain_unless_it_says_otherwise() {
        let mesh = |mode| Network {
            mesh: mode,
            ..Network::default()
        };
        let tls = Network {
            internal_tls: true,
            ..Network::default()
        };
        let table = [
            (vec![], Network::default()),
            (
                vec![("mesh-compatibility-mode", "Enabled")],
                mesh(Mesh::Enabled),
            ),
            (
                vec![("mesh-compatibility-mode", "disabled")],
                mesh(Mesh::Disabled),
            ),
            (
                vec![("mesh-compatibility-mode", "whatever")],
                mesh(Mesh::Auto),
            ),
            (vec![("system-internal-tls", "Enabled")], tls),
            (vec![("internal-encryption", "true")], tls),
            (
                vec![
                    ("system-internal-tls", "disabled"),
                    ("internal-encryption", "True"),
                ],
                tls,
            ),
            (
                vec![
                    ("enable-mesh-pod-addressability", "true"),
                    ("_example", "x: ["),
                ],
                Network {
                    passthrough: true,
                    ..Network::default()
                },
            ),
        ];
        for (entries, want) in table {
            let maps = ConfigMaps {
                network: map(&entries),
                ..ConfigMaps::default()
            };
            assert_eq!(maps.network().unwrap(), want, "{entries:?}");
        }
    }

    #[test]
    fn wrong_entries_are_all_told_with_their_map() {
        let maps = ConfigMaps {
            network: map(&[
                ("system-internal-tls", "yes"),
                ("enable-mesh-pod-addressability", "maybe"),
                ("rollout-duration", "-1"),
            ]),
            observability: map(&[
                ("metrics-protocol", "statsd"),
                ("tracing-protocol", "zipkin"),
                ("tracing-sampling-rate", "2"),
                ("runtime-profiling", "true"),
                ("logging.enable-request-log", "on"),
            ]),
            ..ConfigMaps::default()
        };
        let told = maps.network().unwrap_err().to_string();
        assert_eq!(told.lines().count(), 3, "{told}");
        let want = "config-network system-internal-tls=\"yes\" is not enabled or disabled";
        assert!(told.contains(want), "{told}");
        let told = maps.observability(&BTreeMap::new()).unwrap_err();
        assert_eq!(told.0.len(), 4, "{told}");
        assert!(maps.request_log_template().is_err());
    }

    #[test]
    fn telemetry_is_off_until_it_is_asked_for_and_variables_win() {
        let none = ConfigMaps::default().observability(&BTreeMap::new());
        assert_eq!(none.unwrap(), Observability::default());
        let maps = ConfigMaps {
            observability: map(&[
                ("metrics-protocol", "prometheus"),
                ("tracing-protocol", "http/protobuf"),
                ("tracing-endpoint", "http://one:4318"),
            ]),
            ..ConfigMaps::default()
        };
        let otel = BTreeMap::from([(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://two:4318/t".to_owned(),
        )]);
        let all = maps.observability(&otel).unwrap();
        assert!(all.prometheus && all.push.is_none());
        let collector = all.traces.unwrap().wanted.unwrap().collector;
        assert_eq!(collector.url, "http://two:4318/t");
    }

    #[test]
    fn metrics_are_pushed_where_and_as_often_as_it_says() {
        let maps = ConfigMaps {
            observability: map(&[
                ("metrics-protocol", "grpc"),
                ("metrics-endpoint", "http://one:4317"),
                ("metrics-export-interval", "5s"),
            ]),
            ..ConfigMaps::default()
        };
        let (wanted, interval) = maps.observability(&BTreeMap::new()).unwrap().push.unwrap();
        assert!(wanted.collector.url.contains("one:4317"), "{wanted:?}");
        assert_eq!(interval, Duration::from_secs(5));
        let otel = BTreeMap::from([("OTEL_METRIC_EXPORT_INTERVAL", "250".to_owned())]);
        let (_, interval) = maps.observability(&otel).unwrap().push.unwrap();
        assert_eq!(interval, Duration::from_millis(250));
    }

    #[test]
    fn case_116_lines_are_off_by_default_and_by_an_empty_template() {
        let on = ("logging.enable-request-log", "true");
        let own = ("logging.request-log-template", "one");
        let table = [
            (vec![], ""),
            (vec![own], ""),
            (vec![on], STOCK_TEMPLATE),
            (vec![on, own], "one"),
            (vec![on, ("logging.request-log-template", "")], ""),
        ];
        for (entries, want) in table {
            let maps = ConfigMaps {
                observability: map(&entries),
                ..ConfigMaps::default()
            };
            assert_eq!(maps.request_log_template().unwrap(), want, "{entries:?}");
        }
    }
}
