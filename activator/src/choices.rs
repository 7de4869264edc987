//! What the owner of a revision chooses, in annotations of its template.
//!
//! | Annotation | |
//! |---|---|
//! | `penstock.dev/idle-streams` | a duration: an open stream on which nothing passes for so long is no demand |
//! | `penstock.dev/waiting-page` | `true` or a duration: a browser that has waited so long (1 s) sees a page |
//! | `penstock.dev/progress` | `true`: callers who ask for it are told how the wait goes on |
//!
//! What is no such value is told in the log, and counts as not set.

use std::time::Duration;

use penstock_runtime::vars::go;
use penstock_types::annotation::{Annotations, Rejected};

/// From the request to the page, unless the annotation says how long.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a browser waits before it is shown a page: `true` (1 s), `false` (it is shown none) or a
/// duration. The outer `None`: it is none of these.
pub fn waiting_page(text: &str) -> Option<Option<Duration>> {
    let switch = go::bool(text).map(|on| on.then_some(PATIENCE));
    switch.or_else(|| go::duration(text).map(Some))
}

/// What was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choices {
    /// How long a stream may stand still and count as demand; `None`: for ever.
    pub(crate) idle_streams: Option<Duration>,
    /// How long a browser waits before it is shown a page, or that it is shown none; `None`: as
    /// the activator has it.
    pub(crate) waiting_page: Option<Option<Duration>>,
    /// Whether callers may ask how their wait goes on.
    pub(crate) progress: bool,
}

/// The annotations that are read here.
pub const CHOICES: [&str; 3] = [
    "penstock.dev/idle-streams",
    "penstock.dev/waiting-page",
    "penstock.dev/progress",
];

/// What is wrong with them.
pub fn rejected(annotations: &Annotations) -> Vec<Rejected> {
    let mut rejected = Vec::new();
    Choices::read(annotations, |key, reason| {
        rejected.push(Rejected {
            keys: vec![key.to_owned()],
            reason: reason.to_owned(),
        });
    });
    rejected
}

impl Choices {
    /// What annotations say; `rejected` is told of each that is wrong.
    pub(crate) fn read(annotations: &Annotations, mut rejected: impl FnMut(&str, &str)) -> Self {
        let [streams, page, progress] = CHOICES;
        let mut read = |key, wanted, parse: fn(&str) -> Option<Option<Duration>>| {
            let text = annotations.get(key)?;
            let parsed = parse(text);
            if parsed.is_none() {
                rejected(key, &format!("{text:?} is not {wanted}"));
            }
            parsed
        };
        let switch = |text: &str| go::bool(text).map(|on| on.then_some(PATIENCE));
        let above = |text: &str| go::duration(text).filter(|it| !it.is_zero()).map(Some);
        Self {
            idle_streams: read(streams, "a duration above 0, such as 30s", above).flatten(),
            waiting_page: read(page, "true, false or a duration", waiting_page),
            progress: read(progress, "true or false", switch).flatten().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use penstock_types::annotation::OWN;

    use super::*;

    #[test]
    fn each_annotation_is_read_and_what_is_wrong_is_told() {
        let read = |entries: &[(&str, &str)]| {
            let owned = entries
                .iter()
                .map(|(name, value)| (format!("{OWN}{name}"), (*value).to_owned()));
            let mut told = Vec::new();
            let choices = Choices::read(&owned.collect(), |key, why| {
                told.push(format!("{key} {why}"))
            });
            (choices, told)
        };
        let none = Choices::default();
        assert_eq!(read(&[]), (none, vec![]));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let all = [
            ("idle-streams", "30s"),
            ("waiting-page", "true"),
            ("progress", "true"),
        ];
        let want = Choices {
            idle_streams: seconds(30),
            waiting_page: Some(seconds(1)),
            progress: true,
        };
        assert_eq!(read(&all), (want, vec![]));
        let page = |text| read(&[("waiting-page", text)]).0.waiting_page;
        assert_eq!(page("2s"), Some(seconds(2)));
        assert_eq!(page("false"), Some(None));
        assert_eq!(read(&[("progress", "F")]), (none, vec![]));
        let (choices, told) = read(&[
            ("idle-streams", "0s"),
            ("waiting-page", "x"),
            ("progress", "x"),
        ]);
        assert_eq!((choices, told.len()), (none, 3), "{told:?}");
        assert_eq!(
            told[0],
            "penstock.dev/idle-streams \"0s\" is not a duration above 0, such as 30s"
        );
    }
}
