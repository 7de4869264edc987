//! The pace of attempts, on a paused clock: attempts that take no time, or all of theirs.
//!
//! Pauses too short for the runtime's timer are real ones here, and cost no paused time.

use std::sync::Mutex;

use super::*;

const AGGRESSIVE: Rules = Rules {
    attempt: ATTEMPT_LIMIT,
    whole: Some(ROUND_LIMIT),
    successes: 1,
};

/// Attempts that pass or fail as told, the last outcome for ever; and the limits they were given.
struct Script {
    outcomes: Vec<bool>,
    limits: Mutex<Vec<Duration>>,
}

impl Script {
    fn of(outcomes: &[bool]) -> Self {
        Self {
            outcomes: outcomes.to_vec(),
            limits: Mutex::default(),
        }
    }

    async fn attempt(&self, limit: Duration) -> Result<(), Failure> {
        let mut limits = self.limits.lock().unwrap();
        let passes = *self
            .outcomes
            .get(limits.len())
            .or(self.outcomes.last())
            .unwrap();
        limits.push(limit);
        if passes {
            Ok(())
        } else {
            Err(Failure::Nothing)
        }
    }

    fn attempts(&self) -> usize {
        self.limits.lock().unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn cases_71_to_73_and_78_attempts_go_on_until_enough_successes_in_a_row() {
    let table: [(&str, u32, &[bool]); 5] = [
        ("at once", 1, &[true]),
        (
            "case 66, failing three times",
            1,
            &[false, false, false, true],
        ),
        ("case 71, failing once", 1, &[false, true]),
        ("case 72", 3, &[true, true, true]),
        ("case 73", 3, &[true, false, true, true, true]),
    ];
    for (case, successes, outcomes) in table {
        let (row, script) = (Successes::default(), Script::of(outcomes));
        let rules = Rules {
            successes,
            ..AGGRESSIVE
        };
        row.reach(rules, |limit| script.attempt(limit))
            .await
            .unwrap();
        assert_eq!(script.attempts(), outcomes.len(), "{case}");
        // Case 78: the row is remembered, so that one more suffices.
        let again = Script::of(&[true]);
        row.reach(rules, |limit| again.attempt(limit))
            .await
            .unwrap();
        assert_eq!(again.attempts(), 1, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn case_75_a_failure_takes_the_row_away() {
    let row = Successes::default();
    let rules = Rules {
        successes: 3,
        ..AGGRESSIVE
    };
    assert_eq!(row.count(&Ok(())), 1);
    assert_eq!(row.count(&Err(Failure::Nothing)), 0);
    let script = Script::of(&[true]);
    row.reach(rules, |limit| script.attempt(limit))
        .await
        .unwrap();
    assert_eq!(script.attempts(), 3);
}

/// The peer makes one attempt each 50 ms, 200 in all. Ours come quicker, most of all at first.
#[tokio::test(start_paused = true)]
async fn case_77_refusals_end_after_ten_seconds() {
    let (row, script) = (Successes::default(), Script::of(&[false]));
    let start = Instant::now();
    let failure = row.reach(AGGRESSIVE, |limit| script.attempt(limit)).await;
    assert_eq!(start.elapsed(), ROUND_LIMIT);
    let attempts = script.attempts();
    assert!((500..600).contains(&attempts), "{attempts}");
    let want = format!("probe failed {attempts} times: no probe found");
    assert_eq!(failure.unwrap_err().to_string(), want);
}

#[tokio::test(start_paused = true)]
async fn case_74_a_container_that_is_slower_than_an_attempt_is_not_ready_after_ten_seconds() {
    let row = Successes::default();
    let limits = Mutex::new(Vec::new());
    let start = Instant::now();
    let failure = row.reach(AGGRESSIVE, |limit| {
        limits.lock().unwrap().push(limit);
        async move {
            tokio::time::sleep(limit).await;
            Err(Failure::TimedOut { limit })
        }
    });
    let failure = failure.await.unwrap_err();
    assert!(start.elapsed() <= ROUND_LIMIT + Duration::from_millis(1));
    let limits = limits.into_inner().unwrap();
    let (last, others) = limits.split_last().unwrap();
    assert!(others.iter().all(|limit| *limit == ATTEMPT_LIMIT));
    assert!(*last <= ATTEMPT_LIMIT);
    // At the longest pause there are 120 ms to each.
    assert!(limits.len() >= 10_000 / 120, "{}", limits.len());
    assert_eq!(failure.attempts as usize, limits.len());
}

#[tokio::test(start_paused = true)]
async fn too_few_successes_in_a_row_are_told_as_such() {
    let row = Successes::default();
    let rules = Rules {
        successes: u32::MAX,
        ..AGGRESSIVE
    };
    let script = Script::of(&[true]);
    let failure = row
        .reach(rules, |limit| script.attempt(limit))
        .await
        .unwrap_err();
    let row = script.attempts();
    assert_eq!(
        failure.last,
        format!("{row} of 4294967295 successes in a row")
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_of_the_whole_it_goes_on() {
    let (row, start) = (Successes::default(), Instant::now());
    let rules = Rules {
        whole: None,
        ..AGGRESSIVE
    };
    let passing = |_| async move {
        if start.elapsed() > ROUND_LIMIT * 6 {
            Ok(())
        } else {
            Err(Failure::Nothing)
        }
    };
    row.reach(rules, passing).await.unwrap();
}
