//! The parts that every JSON line has, and what they are called.

use tracing::Level;

/// How a JSON line is laid out. The default is this project's own; a process that takes the place
/// of another program's takes over its names.
///
/// A name that is empty leaves its part out, but for the message's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name of the time (RFC 3339, UTC).
    pub time: String,
    /// Name of the level.
    pub level: String,
    /// What the levels are called.
    pub words: Words,
    /// Name of what logs.
    pub logger: String,
    /// What logs; `None` is the module of the event.
    pub logger_is: Option<String>,
    /// Name of the place in the source.
    pub caller: String,
    /// Name of the message.
    pub message: String,
    /// What each line says of the process, in this order.
    pub constant: Vec<(String, String)>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            time: "time".to_owned(),
            level: "level".to_owned(),
            words: Words::Plain,
            logger: "target".to_owned(),
            logger_is: None,
            caller: String::new(),
            message: "message".to_owned(),
            constant: Vec::new(),
        }
    }
}

impl Record {
    pub(super) fn reserves(&self, name: &str) -> bool {
        let parts = [
            &self.time,
            &self.level,
            &self.logger,
            &self.caller,
            &self.message,
        ];
        parts.into_iter().any(|part| part == name)
            || self.constant.iter().any(|(constant, _)| constant == name)
    }
}

/// What the levels are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Words {
    /// `WARN`, as everywhere else here.
    #[default]
    Plain,
    /// `WARNING`, as cloud loggers sort it.
    Severity,
}

impl Words {
    pub(super) fn word(self, level: Level) -> &'static str {
        match (self, level) {
            (Self::Plain, level) => level.as_str(),
            (Self::Severity, Level::ERROR) => "ERROR",
            (Self::Severity, Level::WARN) => "WARNING",
            (Self::Severity, Level::INFO) => "INFO",
            (Self::Severity, _) => "DEBUG",
        }
    }
}
