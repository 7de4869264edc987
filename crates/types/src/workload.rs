//! Values of the annotations `penstock.dev/*` of an ordinary workload, which more than one program
//! reads.

use std::time::Duration;

/// Most seconds of a request: a day, far beyond what any proxy on the way allows.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `penstock.dev/port`: where the container takes requests.
///
/// # Errors
///
/// What would be right.
pub fn port(text: &str) -> Result<u16, &'static str> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or("a port from 1 to 65535")
}

/// `penstock.dev/container-concurrency`: requests that one pod takes at once, 0 for no limit.
///
/// # Errors
///
/// What would be right.
pub fn concurrency(text: &str) -> Result<u32, &'static str> {
    let limit = text.parse().ok().filter(|limit| *limit <= 1000);
    limit.ok_or("a count from 0 (no limit) to 1000")
}

/// `penstock.dev/timeout`: the time for a whole request, in seconds or as a duration.
///
/// # Errors
///
/// What would be right.
pub fn timeout(text: &str) -> Result<Duration, &'static str> {
    let time = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => duration(text),
    };
    let time = time.filter(|time| !time.is_zero() && *time <= LONGEST);
    time.ok_or("a number of seconds, or a duration such as 1m30s, up to 24h")
}

/// Numbers with units from the largest to the smallest, `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut whole = Duration::ZERO;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, left) = rest.split_at_checked(letters)?;
        rest = left;
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        whole = whole.checked_add(Duration::from_millis(number.checked_mul(*millis)?))?;
    }
    (!text.is_empty()).then_some(whole)
}
