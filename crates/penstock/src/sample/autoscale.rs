//! `autoscale`: requests that take time, processor and memory, as much as their query says.
//!
//! The three are spent side by side; the answer has one line for each. Unlike the original, each
//! has an upper limit: a sample must not take the machine down.

use std::time::{Duration, Instant};

use http::StatusCode;

/// Longest sleep, in milliseconds: as long as a request may last.
const MAX_SLEEP: u64 = 600_000;
/// Highest bound of primes; the sieve takes a byte for each number.
const MAX_PRIME: u64 = 100_000_000;
/// Most memory, in MiB.
const MAX_BLOAT: u64 = 1_024;

/// What a request is to spend; 0 is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spend {
    /// Milliseconds to sleep.
    sleep: u64,
    /// Find the largest prime below this.
    prime: u64,
    /// MiB to allocate.
    bloat: u64,
}

impl Spend {
    /// Reads a query such as `sleep=100&prime=10000&bloat=5`. Other parameters are left alone; of
    /// one given twice, the first counts.
    ///
    /// # Errors
    ///
    /// A sentence that names the parameter, its text, and what it may be.
    fn of_query(query: &str) -> Result<Self, String> {
        let number = |name: &str, most: u64| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let text = pairs.into_iter().find(|(key, _)| *key == name);
            match text.map_or("", |(_, text)| text) {
                "" => Ok(0),
                text => {
                    let number = text.parse().ok().filter(|number| *number <= most);
                    number.ok_or_else(|| {
                        format!("{name}={text:?} is not a whole number from 0 to {most}\n")
                    })
                }
            }
        };
        Ok(Self {
            sleep: number("sleep", MAX_SLEEP)?,
            prime: number("prime", MAX_PRIME)?,
            bloat: number("bloat", MAX_BLOAT)?,
        })
    }
}

/// Spends what `query` says, and tells.
pub(super) async fn answer(query: &str) -> (StatusCode, String) {
    let spend = match Spend::of_query(query) {
        Ok(spend) => spend,
        Err(sentence) => return (StatusCode::BAD_REQUEST, sentence),
    };
    let (bloat, prime, sleep) = tokio::join!(
        beside(spend.bloat, allocate),
        beside(spend.prime, find_prime),
        sleep(spend.sleep)
    );
    (StatusCode::OK, format!("{bloat}{prime}{sleep}"))
}

/// Runs `work` on a thread of its own, so that the others are served meanwhile.
async fn beside(amount: u64, work: fn(u64) -> String) -> String {
    if amount == 0 {
        return String::new();
    }
    let done = tokio::task::spawn_blocking(move || work(amount)).await;
    done.unwrap_or_else(|failed| format!("{failed}\n"))
}

async fn sleep(millis: u64) -> String {
    if millis == 0 {
        return String::new();
    }
    let start = Instant::now();
    tokio::time::sleep(Duration::from_millis(millis)).await;
    let slept = start.elapsed().as_secs_f64() * 1000.0;
    format!("Slept for {slept:.2} milliseconds.\n")
}

fn allocate(mebibytes: u64) -> String {
    let bytes = usize::try_from(mebibytes << 20).unwrap_or(usize::MAX);
    let mut memory = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return format!("There is no memory for {mebibytes} Mb.\n");
    }
    // Memory counts once it is written to.
    memory.resize(bytes, 1_u8);
    drop(std::hint::black_box(memory));
    format!("Allocated {mebibytes} Mb of memory.\n")
}

fn find_prime(below: u64) -> String {
    largest_prime(below).map_or_else(
        || format!("There are no primes smaller than {below}.\n"),
        |prime| format!("The largest prime less than {below} is {prime}.\n"),
    )
}

/// The sieve of Eratosthenes: slow on purpose, since the time it takes is what it is for.
fn largest_prime(below: u64) -> Option<usize> {
    let below = usize::try_from(below).ok()?;
    let mut composite = vec![false; below];
    let mut number = 2;
    while number * number < below {
        if !composite[number] {
            for multiple in (number * number..below).step_by(number) {
                composite[multiple] = true;
            }
        }
        number += 1;
    }
    (2..below).rev().find(|number| !composite[*number])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_to_spend() {
        let table = [
            ("", (0, 0, 0)),
            ("sleep=100&prime=10000&bloat=5", (100, 10_000, 5)),
            ("bloat=5", (0, 0, 5)),
            ("sleep=&prime=0", (0, 0, 0)),
            ("sleep=1&sleep=2&x=y&z", (1, 0, 0)),
            ("sleep=600000", (600_000, 0, 0)),
        ];
        for (query, (sleep, prime, bloat)) in table {
            let want = Spend {
                sleep,
                prime,
                bloat,
            };
            assert_eq!(Spend::of_query(query), Ok(want), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_spent_is_named() {
        let table = [
            (
                "sleep=long",
                "sleep=\"long\" is not a whole number from 0 to 600000\n",
            ),
            (
                "sleep=600001",
                "sleep=\"600001\" is not a whole number from 0 to 600000\n",
            ),
            (
                "prime=-1",
                "prime=\"-1\" is not a whole number from 0 to 100000000\n",
            ),
            (
                "bloat=1025",
                "bloat=\"1025\" is not a whole number from 0 to 1024\n",
            ),
        ];
        for (query, want) in table {
            assert_eq!(Spend::of_query(query), Err(want.to_owned()), "{query}");
        }
    }

    #[test]
    fn primes_are_found() {
        let table = [
            (0, None),
            (2, None),
            (3, Some(2)),
            (10, Some(7)),
            (10_000, Some(9_973)),
        ];
        for (below, want) in table {
            assert_eq!(largest_prime(below), want, "{below}");
        }
        assert_eq!(find_prime(1), "There are no primes smaller than 1.\n");
    }

    #[tokio::test]
    async fn the_answer_has_a_line_for_each() {
        let (status, text) = answer("prime=10000&bloat=5").await;
        assert_eq!(status, StatusCode::OK);
        let want = "Allocated 5 Mb of memory.\nThe largest prime less than 10000 is 9973.\n";
        assert_eq!(text, want);
        let (_, text) = answer("sleep=1").await;
        assert!(
            text.starts_with("Slept for ") && text.ends_with(" milliseconds.\n"),
            "{text}"
        );
    }
}
