//! The configuration of zap, the original's logger, as far as it can be followed here: the level,
//! where lines go, and what the parts of a line are called.
//!
//! Source: spec/queue-proxy.md §1, §7.5; spec/activator.md §1.3, §8. A text that is not such a configuration counts as none.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Record, Words};

/// How the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Which lines, in the words of [`Filter`](super::Filter).
    pub level: &'static str,
    /// Where to, each line to all of them.
    pub outputs: Vec<Output>,
    /// What the parts of a line are called; what is constant in them is not in here.
    pub record: Record,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, at its end.
    File(PathBuf),
}

impl Logging {
    /// `config` as JSON, and the level that wins over that in it; either may be empty or wrong.
    /// Lines are those of `logger`.
    pub fn read(config: &str, level: &str, logger: &str) -> Self {
        let json: Value = serde_json::from_str(config).unwrap_or_default();
        let none = Map::new();
        let config = json.as_object().unwrap_or(&none);
        let text = |key: &str| get(config, key).and_then(Value::as_str);
        let level = filter(level)
            .or_else(|| filter(text("level")?))
            .unwrap_or("warn,penstock=info");
        let outputs: Vec<Output> = get(config, "outputPaths")
            .and_then(Value::as_array)
            .map(|paths| paths.iter().filter_map(output).collect())
            .unwrap_or_default();
        Self {
            level,
            outputs: match outputs.is_empty() {
                true => vec![Output::Stderr],
                false => outputs,
            },
            record: record(
                get(config, "encoderConfig").and_then(Value::as_object),
                logger,
            ),
        }
    }
}

/// As JSON is read by the original: the case of keys does not matter.
fn get<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    let like = || {
        object
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
    };
    let exact = object.get_key_value(key);
    exact.or_else(like).map(|(_, value)| value)
}

/// Our own modules at that level; of the libraries only what is wrong.
fn filter(level: &str) -> Option<&'static str> {
    Some(match level.to_ascii_lowercase().as_str() {
        "debug" => "warn,penstock=debug",
        "info" => "warn,penstock=info",
        "warn" => "warn",
        "error" => "error",
        // Above errors there is only the end of the process, which is told in any case.
        "dpanic" | "panic" | "fatal" => "off",
        _ => return None,
    })
}

fn output(path: &Value) -> Option<Output> {
    match path.as_str()? {
        "" => None,
        "stdout" => Some(Output::Stdout),
        "stderr" => Some(Output::Stderr),
        path => Some(Output::File(
            path.strip_prefix("file://").unwrap_or(path).into(),
        )),
    }
}

/// A name that is given wins, an empty one leaves its part out.
fn record(names: Option<&Map<String, Value>>, logger: &str) -> Record {
    let name = |key: &str, default: &str| {
        let given = names.and_then(|names| get(names, key)?.as_str());
        given.unwrap_or(default).to_owned()
    };
    Record {
        time: name("timeKey", "timestamp"),
        level: name("levelKey", "severity"),
        words: Words::Severity,
        logger: name("nameKey", "logger"),
        logger_is: Some(logger.to_owned()),
        caller: name("callerKey", "caller"),
        message: name("messageKey", "message"),
        constant: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{
        Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    use super::*;

    #[test]
    fn what_is_no_configuration_counts_as_none() {
        let default = Logging::read("", "", "own");
        assert_eq!(default.level, "warn,penstock=info");
        assert_eq!(default.outputs, [Output::Stderr]);
        assert_eq!(default.record.level, "severity");
        for none in ["{", "[]", "null", "7", r#"{"level":7,"outputPaths":"x"}"#] {
            assert_eq!(Logging::read(none, "loud", "own"), default, "{none}");
        }
    }

    #[test]
    fn the_level_of_the_variable_wins_over_that_of_the_configuration() {
        let table = [
            (r#"{"level":"error"}"#, "", "error"),
            (r#"{"level":"error"}"#, "debug", "warn,penstock=debug"),
            (r#"{"LEVEL":"warn"}"#, "nonsense", "warn"),
            ("", "WARN", "warn"),
            ("", "dpanic", "off"),
        ];
        for (config, level, want) in table {
            assert_eq!(
                Logging::read(config, level, "own").level,
                want,
                "{config} {level}"
            );
        }
    }

    #[test]
    fn names_and_outputs_are_taken_over() {
        let config = r#"{"level":"info","outputPaths":["stdout","/dev/stderr","file:///tmp/a",3],
            "encoderConfig":{"timeKey":"ts","levelKey":"lvl","nameKey":"","callerKey":"at",
            "messageKey":"msg"}}"#;
        let logging = Logging::read(config, "", "own");
        let file = |path: &str| Output::File(path.into());
        assert_eq!(
            logging.outputs,
            [Output::Stdout, file("/dev/stderr"), file("/tmp/a")]
        );
        let record = logging.record;
        let names = [
            record.time,
            record.level,
            record.logger,
            record.caller,
            record.message,
        ];
        assert_eq!(names, ["ts", "lvl", "", "at", "msg"]);
    }

    const LEVELS: [(&str, &str); 7] = [
        ("debug", "warn,penstock=debug"),
        ("info", "warn,penstock=info"),
        ("warn", "warn"),
        ("error", "error"),
        ("dpanic", "off"),
        ("panic", "off"),
        ("fatal", "off"),
    ];

    proptest! {
        #[test]
        fn a_configuration_that_is_written_is_followed(
            level in prop::sample::select(&LEVELS[..]),
            paths in prop::collection::vec("/[a-z/]{1,10}", 0..4),
            message in any::<String>(),
            upper: bool,
        ) {
            let mut config = serde_json::json!({
                "level": level.0,
                "encoderConfig": {"messageKey": message},
            });
            config[if upper { "OUTPUTPATHS" } else { "outputPaths" }] = paths.clone().into();
            let logging = Logging::read(&config.to_string(), "", "own");
            prop_assert_eq!(logging.level, level.1);
            prop_assert_eq!(logging.record.message, message);
            let files = paths.into_iter().map(|path| Output::File(path.into()));
            let want: Vec<Output> = files.collect();
            let want = if want.is_empty() { vec![Output::Stderr] } else { want };
            prop_assert_eq!(logging.outputs, want);
        }

        #[test]
        fn whatever_it_says_there_is_a_level_that_can_be_filtered_by_and_somewhere_to_log_to(
            config in prop_oneof![any::<String>(), "[{}\\[\\]\":,a-zA-Z0-9 ]*", texts()],
            level in any::<String>(),
        ) {
            let logging = Logging::read(&config, &level, "own");
            prop_assert!(logging.level.parse::<crate::log::Filter>().is_ok());
            prop_assert!(!logging.outputs.is_empty());
        }
    }

    /// Configurations whose parts are of any type.
    fn texts() -> impl Strategy<Value = String> {
        let value =
            || prop::sample::select(&["null", "7", "\"x\"", "[]", "[1,\"\"]", "{}", "true"][..]);
        (value(), value(), value()).prop_map(|(level, paths, encoder)| {
            format!(r#"{{"level":{level},"outputPaths":{paths},"encoderConfig":{encoder}}}"#)
        })
    }
}
