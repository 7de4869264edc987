//! One thing that is wrong.

use std::fmt;

use serde::Serialize;

/// How bad it is; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It works, but perhaps not as it is meant to.
    Warning,
    /// Something does not work.
    Error,
}

/// What is wrong with which object, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// `Deployment shop/web`, or what else it is about.
    pub(crate) object: String,
    pub(crate) wrong: String,
    pub(crate) mend: String,
}

impl Finding {
    pub(crate) fn error(
        object: impl Into<String>,
        wrong: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            object: object.into(),
            wrong: wrong.into(),
            mend: mend.into(),
        }
    }

    pub(crate) fn warning(
        object: impl Into<String>,
        wrong: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(object, wrong, mend)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARN ",
        };
        let Self {
            object,
            wrong,
            mend,
            ..
        } = self;
        writeln!(f, "{severity} {object}: {wrong}\n      {mend}")
    }
}
