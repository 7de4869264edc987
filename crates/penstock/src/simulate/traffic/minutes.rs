//! Counts per minute, in the column layout of the Azure Functions trace:
//! `HashOwner,HashApp,HashFunction,Trigger,1,2,...,1440`.

use super::columns::{Row, Rows};
use super::{SECOND, Stretch, Volume};
use crate::simulate::chance::Time;

/// The columns before the counts.
const NAMES: [&str; 4] = ["HashOwner", "HashApp", "HashFunction", "Trigger"];
/// Which of them names the function.
const FUNCTION: usize = 2;
/// Minutes of a day.
const MINUTES: usize = 1440;
/// Most requests of a minute: their times are drawn together.
const MOST: u32 = 6_000_000;
/// Functions that are named when one has to be chosen.
const SHOWN: usize = 3;

/// Whether the first line of `text` is the head of such a file.
pub(crate) fn is_this(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with(NAMES[0])
}

/// Reads the row of `function` (the beginning of its hash is enough), or the only one.
///
/// # Errors
///
/// One sentence for each mistake, with line and column.
pub(crate) fn read(
    name: &str,
    text: &str,
    function: Option<&str>,
    work: Time,
) -> Result<Vec<Stretch>, Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut rows = Rows::new(name, text);
    if let Some(header) = rows.next() {
        check(&mut rows, &header);
    }
    let mut chosen: Vec<(u64, String)> = Vec::new();
    let mut known = 0_u64;
    let mut stretches = Vec::new();
    while let Some(row) = rows.next() {
        let hash = row.text(FUNCTION).unwrap_or_default();
        known += 1;
        if !function.is_none_or(|function| hash.starts_with(function)) {
            continue;
        }
        // Of several, only their names are needed.
        if chosen.is_empty() {
            stretches = counts(&mut rows, &row, work);
        }
        if chosen.len() <= SHOWN {
            chosen.push((row.line, hash));
        }
    }
    match (chosen.as_slice(), function) {
        ([], Some(function)) => {
            let mistake = format!("{name}: none of its {known} functions begins with {function:?}");
            return Err(vec![mistake]);
        }
        ([], None) => return Err(vec![format!("{name} has no function; a row must follow")]),
        ([_], _) => {}
        (several, _) => {
            let hashes: Vec<&str> = several.iter().map(|(_, hash)| hash.as_str()).collect();
            let shown = hashes[..hashes.len().min(SHOWN)].join(", ");
            let more = if hashes.len() > SHOWN { ", ..." } else { "" };
            return Err(vec![format!(
                "{name} has more than one function ({shown}{more}); name one with --function, \
                 by the beginning of its hash"
            )]);
        }
    }
    rows.mistakes.unless(name, stretches)
}

fn check(rows: &mut Rows<'_>, header: &Row) {
    for index in 0..NAMES.len() + MINUTES {
        let want = NAMES.get(index).map_or_else(
            || (index - NAMES.len() + 1).to_string(),
            |name| (*name).to_owned(),
        );
        match header.text(index) {
            Some(text) if text == want => {}
            Some(text) => rows.wrong(header.line, || {
                format!(", column {}: {text:?} is not {want}", index + 1)
            }),
            None => {
                rows.wrong(header.line, || {
                    format!(
                        " ends at column {}; the columns must be {}, and the minutes 1 to {MINUTES}",
                        header.len(),
                        NAMES.join(", ")
                    )
                });
                return;
            }
        }
    }
}

fn counts(rows: &mut Rows<'_>, row: &Row, work: Time) -> Vec<Stretch> {
    let count = |text: &str| text.parse().ok().filter(|count| *count <= MOST);
    (1..=MINUTES)
        .map_while(|minute| {
            let index = NAMES.len() + minute - 1;
            let right = "a whole number of requests from 0 to 6000000";
            let there = index < row.len();
            let count = rows.field(row, index, &format!("minute {minute}"), right, count);
            there.then_some(Stretch {
                until: minute as u64 * 60 * SECOND,
                volume: Volume::Count(count.unwrap_or(0)),
                work,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WORK: Time = Time::Fixed(Duration::from_millis(100));

    fn head() -> String {
        let minutes: Vec<String> = (1..=MINUTES).map(|minute| minute.to_string()).collect();
        format!("{},{}\n", NAMES.join(","), minutes.join(","))
    }

    fn row(hash: &str, counts: impl Fn(usize) -> String) -> String {
        let counts: Vec<String> = (1..=MINUTES).map(counts).collect();
        format!("o,a,{hash},http,{}\n", counts.join(","))
    }

    fn plain(hash: &str) -> String {
        row(hash, |minute| minute.to_string())
    }

    #[test]
    fn each_minute_has_exactly_its_count() {
        let text = head() + &plain("f1");
        assert!(is_this(&text));
        let stretches = read("a.csv", &text, None, WORK).unwrap();
        assert_eq!(stretches.len(), MINUTES);
        assert_eq!(stretches[0].until, 60 * SECOND);
        assert_eq!(stretches[1439].volume, Volume::Count(1440));
        assert_eq!(stretches[1439].until, 86_400 * SECOND);
    }

    #[test]
    fn one_function_of_several_is_chosen_by_the_beginning_of_its_hash() {
        let text = head() + &plain("abc") + &row("bcd", |_| "7".to_owned()) + &plain("bce");
        let stretches = read("a.csv", &text, Some("bcd"), WORK).unwrap();
        assert_eq!(stretches[0].volume, Volume::Count(7));
        let said = |function| read("a.csv", &text, function, WORK).unwrap_err().join("\n");
        assert_eq!(
            said(Some("x")),
            "a.csv: none of its 3 functions begins with \"x\""
        );
        assert_eq!(
            said(Some("bc")),
            "a.csv has more than one function (bcd, bce); name one with --function, \
             by the beginning of its hash"
        );
        let five = text.clone() + &plain("d") + &plain("e");
        let said = read("a.csv", &five, None, WORK).unwrap_err();
        assert!(said[0].contains("(abc, bcd, bce, ...)"), "{said:?}");
    }

    #[test]
    fn wrong_counts_short_rows_and_other_columns_are_said_with_line_and_column() {
        let odd = row("f", |minute| match minute {
            2 => "many".to_owned(),
            3 => "-1".to_owned(),
            _ => "0".to_owned(),
        });
        let said = read("a.csv", &(head() + &odd), None, WORK).unwrap_err();
        let want = [
            "a.csv, line 2, column 6 (minute 2): \"many\" is not a whole number of requests \
             from 0 to 6000000",
            "a.csv, line 2, column 7 (minute 3): \"-1\" is not a whole number of requests \
             from 0 to 6000000",
        ];
        assert_eq!(said, want);
        let short = head() + "o,a,f,http,1,2\n";
        let said = read("a.csv", &short, None, WORK).unwrap_err();
        let want = "a.csv, line 2: column 7 (minute 3) is missing; \
                    it must be a whole number of requests from 0 to 6000000";
        assert_eq!(said, [want]);
        let said = read(
            "a.csv",
            "HashOwner,App,HashFunction,Trigger,1\no,a,f,t,1\n",
            None,
            WORK,
        );
        let said = said.unwrap_err();
        assert_eq!(said[0], "a.csv, line 1, column 2: \"App\" is not HashApp");
        let want = "a.csv, line 1 ends at column 5; the columns must be HashOwner, HashApp, \
                    HashFunction, Trigger, and the minutes 1 to 1440";
        assert_eq!(said[1], want);
        let said = read("a.csv", &head(), None, WORK).unwrap_err();
        assert_eq!(said, ["a.csv has no function; a row must follow"]);
    }
}
