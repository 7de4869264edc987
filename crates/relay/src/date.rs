//! The `Date` of an answer, made once a second for each thread.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

thread_local! {
    static LATEST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The value of a `Date` header that says now (RFC 9110 §6.6.1).
pub(crate) fn now() -> Option<HeaderValue> {
    at(SystemTime::now())
}

fn at(time: SystemTime) -> Option<HeaderValue> {
    let second = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    LATEST.with_borrow_mut(|latest| match latest {
        Some((made, value)) if *made == second => Some(value.clone()),
        _ => {
            let whole = UNIX_EPOCH + Duration::from_secs(second);
            let value = HeaderValue::try_from(httpdate::fmt_http_date(whole)).ok()?;
            *latest = Some((second, value.clone()));
            Some(value)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_clock() {
        for (seconds, want) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999);
            assert_eq!(at(time).unwrap(), want);
        }
    }
}
