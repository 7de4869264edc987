//! The time of a log line, in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment, split into the parts of a calendar and a clock.
pub(crate) struct Moment {
    days: u64,
    second_of_day: u64,
    nanos: u32,
}

impl Moment {
    /// A moment before 1970 counts as 1970: only a clock that was never set shows one.
    pub(crate) fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            days: since.as_secs() / 86_400,
            second_of_day: since.as_secs() % 86_400,
            nanos: since.subsec_nanos(),
        }
    }

    /// `12:58:25.123`
    pub(super) fn write_clock(&self, to: &mut impl fmt::Write) -> fmt::Result {
        self.write_seconds(to)?;
        write!(to, ".{:03}", self.nanos / 1_000_000)
    }

    /// `2026-11-21T12:58:25.123456Z`, as RFC 3339 has it.
    pub(crate) fn write_rfc3339(&self, to: &mut impl fmt::Write) -> fmt::Result {
        let (year, month, day) = date(self.days);
        write!(to, "{year:04}-{month:02}-{day:02}T")?;
        self.write_seconds(to)?;
        write!(to, ".{:06}Z", self.nanos / 1000)
    }

    fn write_seconds(&self, to: &mut impl fmt::Write) -> fmt::Result {
        let second = self.second_of_day;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(to, "{hour:02}:{minute:02}:{:02}", second % 60)
    }
}

/// Year, month and day of the day that is `days` after 1970-01-01.
///
/// Counted in years that begin on 1 March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // 1970-01-01 is 719,468 days after 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_days_since_1970() {
        let table = [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (10_956, (1999, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_778, (2026, 11, 21)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ];
        for (days, want) in table {
            assert_eq!(date(days), want, "{days}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(date(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
