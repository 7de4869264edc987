//! A trace of rates: `seconds,rps[,duration_ms]`.
//!
//! Each row says what holds from its second on, until the next row; the last row holds as long
//! as the one before it. Columns may stand in any order, beside others.

use std::time::Duration;

use super::columns::{Row, Rows};
use super::{MOST_RPS, MOST_SECONDS, Micros, SECOND, Stretch, Volume};
use crate::simulate::chance::Time;

/// What the columns are called, and what may stand in them.
const SECONDS: (&str, &str) = ("seconds", "a number of seconds from 0 to 2678400");
const RPS: (&str, &str) = ("rps", "a number of requests per second from 0 to 1000000");
const DURATION: (&str, &str) = ("duration_ms", "a number of milliseconds from 0 to 3600000");
/// Longest request, in milliseconds.
const MOST_MILLIS: f64 = 3_600_000.0;

/// Rows, and whether they say how long requests take.
#[derive(Debug, PartialEq)]
pub(crate) struct Rates {
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) timed: bool,
}

/// Where the columns are.
struct Columns {
    seconds: usize,
    rps: usize,
    duration: Option<usize>,
}

/// Reads `text`. Requests take `work` where the file does not say it.
///
/// # Errors
///
/// One sentence for each mistake, with line and column.
pub(crate) fn read(name: &str, text: &str, work: Time) -> Result<Rates, Vec<String>> {
    let mut rows = Rows::new(name, text);
    let Some(header) = rows.next() else {
        return Err(vec![format!(
            "{name} is empty; it must begin with a line seconds,rps or seconds,rps,duration_ms"
        )]);
    };
    let Some(columns) = columns(&mut rows, &header) else {
        return rows.mistakes.unless(
            name,
            Rates {
                stretches: Vec::new(),
                timed: false,
            },
        );
    };
    let mut points: Vec<(Micros, f64, Time)> = Vec::new();
    let mut newest: Option<(u64, f64)> = None;
    while let Some(row) = rows.next() {
        let number = |most: f64| {
            move |text: &str| -> Option<f64> {
                let number: f64 = text.parse().ok()?;
                (0.0..=most).contains(&number).then_some(number)
            }
        };
        let most_seconds = MOST_SECONDS as f64;
        let seconds = rows.field(
            &row,
            columns.seconds,
            SECONDS.0,
            SECONDS.1,
            number(most_seconds),
        );
        let rps = rows.field(&row, columns.rps, RPS.0, RPS.1, number(MOST_RPS));
        let work = match columns.duration {
            None => Some(work),
            Some(index) => rows
                .field(&row, index, DURATION.0, DURATION.1, number(MOST_MILLIS))
                .map(|millis| Time::Fixed(Duration::from_secs_f64(millis / 1000.0))),
        };
        if let Some(seconds) = seconds {
            match newest {
                Some((line, before)) if seconds <= before => rows.wrong(row.line, || {
                    format!(
                        ", column {} (seconds): {seconds} is not after {before} in line {line}; \
                         sort the rows by seconds",
                        columns.seconds + 1
                    )
                }),
                _ => newest = Some((row.line, seconds)),
            }
            if let (Some(rps), Some(work)) = (rps, work) {
                points.push(((seconds * SECOND as f64) as Micros, rps, work));
            }
        }
    }
    let stretches = stretches(&points);
    if newest.is_none() {
        rows.wrong(header.line, || {
            " is the only one; at least one row of figures must follow".to_owned()
        });
    }
    rows.mistakes.unless(
        name,
        Rates {
            stretches,
            timed: columns.duration.is_some(),
        },
    )
}

fn columns(rows: &mut Rows<'_>, header: &Row) -> Option<Columns> {
    let names: Vec<String> = (0..header.len())
        .filter_map(|index| header.text(index))
        .map(|name| name.trim_start_matches('\u{feff}').to_ascii_lowercase())
        .collect();
    let mut find = |wanted: &str| {
        let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
        let first = found.next().map(|(index, _)| index);
        if let Some((second, _)) = found.next() {
            rows.wrong(header.line, || {
                format!(", column {}: {wanted} is there twice; keep one", second + 1)
            });
        }
        first
    };
    let (seconds, rps, duration) = (find(SECONDS.0), find(RPS.0), find(DURATION.0));
    for (column, found) in [(SECONDS.0, seconds), (RPS.0, rps)] {
        if found.is_none() {
            rows.wrong(header.line, || {
                format!(
                    ": there is no column {column} in {:?}; the columns must be seconds, rps \
                     and, if wanted, duration_ms",
                    names.join(",")
                )
            });
        }
    }
    Some(Columns {
        seconds: seconds?,
        rps: rps?,
        duration,
    })
}

/// From points to stretches; what is before the first point is quiet.
fn stretches(points: &[(Micros, f64, Time)]) -> Vec<Stretch> {
    let mut stretches = Vec::with_capacity(points.len() + 1);
    if let Some((first, _, work)) = points.first()
        && *first > 0
    {
        stretches.push(Stretch {
            until: *first,
            volume: Volume::Rate(0.0),
            work: *work,
        });
    }
    for (index, (at, rps, work)) in points.iter().enumerate() {
        let until = match points.get(index + 1) {
            Some((next, ..)) => *next,
            // One row alone is a minute.
            None if index == 0 => at + 60 * SECOND,
            None => at + (at - points[index - 1].0),
        };
        stretches.push(Stretch {
            until,
            volume: Volume::Rate(*rps),
            work: *work,
        });
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Time = Time::Fixed(Duration::from_millis(100));

    fn mistakes(text: &str) -> Vec<String> {
        read("t.csv", text, WORK).unwrap_err()
    }

    #[test]
    fn a_row_holds_until_the_next_and_the_last_as_long_as_the_one_before() {
        let rates = read("t.csv", "seconds,rps\n10,5\n30,7.5\n", WORK).unwrap();
        let want = [(10, 0.0), (30, 5.0), (50, 7.5)].map(|(until, rps)| Stretch {
            until: until * SECOND,
            volume: Volume::Rate(rps),
            work: WORK,
        });
        assert_eq!(rates.stretches, want);
        assert!(!rates.timed);
    }

    #[test]
    fn columns_may_stand_in_any_order_beside_others() {
        let text = "\u{feff}note, RPS ,duration_ms,seconds\n# a remark\n\"a, b\",3,250,0\n";
        let rates = read("t.csv", text, WORK).unwrap();
        let want = Stretch {
            until: 60 * SECOND,
            volume: Volume::Rate(3.0),
            work: Time::Fixed(Duration::from_millis(250)),
        };
        assert_eq!(rates.stretches, [want]);
        assert!(rates.timed);
    }

    #[test]
    fn every_mistake_is_said_with_its_line_and_column() {
        let text = "seconds,rps,duration_ms\n0,5,10\n5,many,10\n4,5,10\n6,-1,1e9\nnan,1\n";
        let want = [
            "t.csv, line 3, column 2 (rps): \"many\" is not a number of requests per second \
             from 0 to 1000000",
            "t.csv, line 4, column 1 (seconds): 4 is not after 5 in line 3; \
             sort the rows by seconds",
            "t.csv, line 5, column 2 (rps): \"-1\" is not a number of requests per second \
             from 0 to 1000000",
            "t.csv, line 5, column 3 (duration_ms): \"1e9\" is not a number of milliseconds \
             from 0 to 3600000",
            "t.csv, line 6, column 1 (seconds): \"nan\" is not a number of seconds \
             from 0 to 2678400",
            "t.csv, line 6: column 3 (duration_ms) is missing; it must be a number of \
             milliseconds from 0 to 3600000",
        ];
        assert_eq!(mistakes(text), want);
    }

    #[test]
    fn missing_columns_and_rows_are_said_too() {
        let names = "the columns must be seconds, rps and, if wanted, duration_ms";
        let want = [
            format!("t.csv, line 1: there is no column seconds in \"time,load\"; {names}"),
            format!("t.csv, line 1: there is no column rps in \"time,load\"; {names}"),
        ];
        assert_eq!(mistakes("time,load\n1,2\n"), want);
        let want = "t.csv, line 1 is the only one; at least one row of figures must follow";
        assert_eq!(mistakes("seconds,rps\n"), [want]);
        let want = "t.csv is empty; it must begin with a line seconds,rps or \
                    seconds,rps,duration_ms";
        assert_eq!(mistakes(""), [want]);
        let want = "t.csv, line 1, column 3: rps is there twice; keep one";
        assert_eq!(mistakes("seconds,rps,rps\n0,1,2\n"), [want]);
    }

    #[test]
    fn of_many_mistakes_the_first_are_told_and_the_others_counted() {
        let text = format!("seconds,rps\n{}", "x,1\n".repeat(1000));
        let said = mistakes(&text);
        // None of the rows has a time: that there is no row is told as well.
        assert_eq!(said.len(), 21);
        assert_eq!(said[20], "t.csv: 981 more such mistakes");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_read_is_in_order_or_refused(text in "(seconds,rps\n)?[0-9a.,\"#\n-]{0,80}") {
            if let Ok(rates) = read("t.csv", &text, WORK) {
                proptest::prop_assert!(!rates.stretches.is_empty());
                proptest::prop_assert!(rates.stretches.is_sorted_by_key(|s| s.until));
            }
        }
    }
}
