//! Which span of which trace, and how a request carries it.
//!
//! Source: W3C Trace Context, §2 (version 00) and §4 (what to do with other versions).

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00: `00-{32 digits}-{16 digits}-{2 digits}`.
const LENGTH: usize = 55;
/// The flag that says that the trace is told.
const SAMPLED: u8 = 1;

/// One span of one trace. Neither number is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl Context {
    /// What the headers of a request say; `None` if they say nothing that counts.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        match (lines.next(), lines.next()) {
            (Some(one), None) => Self::parse(one.as_bytes()),
            _ => None,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let version = hex(head.get(..2)?)?;
        let known = match version {
            0 => rest.is_empty(),
            0xff => false,
            // A later version may say more behind a further dash.
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let dashes = [2, 35, 52].iter().all(|&at| head.get(at) == Some(&b'-'));
        let trace = hex(head.get(3..35)?)?;
        let span = u64::try_from(hex(head.get(36..52)?)?).ok()?;
        let flags = u8::try_from(hex(head.get(53..)?)?).ok()?;
        (known && dashes && trace != 0 && span != 0).then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }

    /// Makes a request say this. `goes_on`: whether the trace is the one that it came with; what
    /// others have noted of another trace is taken out.
    pub fn put(&self, headers: &mut HeaderMap, goes_on: bool) {
        // All of its characters may be in a header.
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
        if !goes_on {
            headers.remove(TRACESTATE);
        }
    }

    /// The first span of a new trace, not to be told unless somebody says so.
    pub(crate) fn root() -> Self {
        let trace = u128::from(random()) << 64 | u128::from(random());
        Self {
            trace,
            span: random(),
            sampled: false,
        }
    }

    /// Another span of the same trace, told if this one is.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span: random(),
            ..*self
        }
    }

    pub(super) fn sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }

    /// Whether the trace is told.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's number.
    pub fn trace(&self) -> u128 {
        self.trace
    }

    /// The span's number.
    pub fn span(&self) -> u64 {
        self.span
    }
}

/// As `traceparent` has it.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

/// Digits as W3C has them, none of them a capital.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// A number that nobody has had before, and never 0: a count on each thread, hashed by a key
/// that the system has drawn for the thread.
fn random() -> u64 {
    thread_local! {
        static DRAWN: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
    }
    DRAWN.with(|(key, count)| {
        count.set(count.get().wrapping_add(1));
        key.hash_one(count.get()).max(1)
    })
}
