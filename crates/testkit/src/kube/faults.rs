//! Faults by script: which requests, what happens to them, how often.

use std::fmt;
use std::time::Duration;

use regex_lite::Regex;

use super::call::Call;

/// Which requests a fault is for. All that is said has to hold.
#[derive(Default)]
pub struct Matcher {
    method: Option<String>,
    verb: Option<String>,
    resource: Option<String>,
    path: Option<Regex>,
    when: Option<Condition>,
}

type Condition = Box<dyn Fn(&Call) -> bool + Send + Sync>;

impl Matcher {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Only this method: `PATCH`.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only this verb, as RBAC names it: `watch`.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Only this resource, with its subresource if it has one: `deployments/scale`.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Only paths in which this regular expression is found.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn path(mut self, expression: &str) -> Self {
        self.path = Some(Regex::new(expression).expect("a regular expression"));
        self
    }

    /// Only those that `condition` holds for.
    #[must_use]
    pub fn when(mut self, condition: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Box::new(condition));
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|it| it == is);
        same(&self.method, call.method.as_str())
            && same(&self.verb, call.verb)
            && same(&self.resource, &call.resource_path())
            && self
                .path
                .as_ref()
                .is_none_or(|path| path.is_match(&call.path))
            && self.when.as_ref().is_none_or(|when| when(call))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("method", &self.method)
            .field("verb", &self.verb)
            .field("resource", &self.resource)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, with the Status object that a real server sends with this status.
    Status(u16),
    /// The same, with `retry-after` in seconds: 429 or 503, and the status comes first.
    RetryAfter(u16, u64),
    /// It is done after this time.
    Delay(Duration),
    /// It is never answered, and not done.
    Hang,
    /// It is done, and its answer is lost: the connection is closed instead.
    LoseAnswer,
    /// The connection is closed without an answer, and it is not done.
    RefuseConnections,
    /// A watch is cut off after this many events; a request that is no watch is left alone, as
    /// with all that follow.
    CutWatchAfter(usize),
    /// Each event of a watch comes this much later.
    SlowWatch(Duration),
    /// A watch is begun, and nothing is ever told in it, not even its end.
    HalfOpen,
    /// A watch is begun, and ends with an error of this status in its stream.
    WatchError(u16),
}

/// A fault that waits for its requests.
#[derive(Debug)]
struct Planned {
    matcher: Matcher,
    fault: Fault,
    left: usize,
}

/// All that are planned.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Planned>,
}

impl Faults {
    pub(super) fn plan(&mut self, matcher: Matcher, fault: Fault, times: usize) {
        self.planned.push(Planned {
            matcher,
            fault,
            left: times,
        });
    }

    pub(super) fn forget(&mut self) {
        self.planned.clear();
    }

    /// How often faults are still due.
    pub(super) fn left(&self) -> usize {
        let left = self.planned.iter().map(|planned| planned.left);
        left.fold(0, usize::saturating_add)
    }

    /// The fault for a request: the first that was planned and is still due.
    pub(super) fn take(&mut self, call: &Call) -> Option<Fault> {
        let planned = self
            .planned
            .iter_mut()
            .find(|planned| planned.left > 0 && planned.fits(call))?;
        if planned.left != usize::MAX {
            planned.left -= 1;
        }
        Some(planned.fault)
    }
}

impl Planned {
    fn fits(&self, call: &Call) -> bool {
        let of_watches = matches!(
            self.fault,
            Fault::CutWatchAfter(_) | Fault::SlowWatch(_) | Fault::HalfOpen | Fault::WatchError(_)
        );
        (!of_watches || call.verb == "watch") && self.matcher.matches(call)
    }
}
