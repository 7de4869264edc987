//! Requests out of stretches.

use super::*;

const WORK: Time = Time::Fixed(Duration::from_millis(100));

fn traffic(spacing: Spacing, volumes: &[(u64, Volume)]) -> Traffic {
    let stretches = volumes.iter().map(|(until, volume)| Stretch {
        until: until * SECOND,
        volume: *volume,
        work: WORK,
    });
    Traffic {
        name: String::new(),
        stretches: stretches.collect(),
        spacing,
    }
}

fn arrivals(traffic: &Traffic) -> Vec<Micros> {
    let arrivals = Arrivals::new(traffic, Chance::new(1, 1));
    arrivals.map(|request| request.arrives).collect()
}

#[test]
fn even_requests_stand_in_the_middle_of_their_places() {
    let volumes = [
        (2, Volume::Rate(2.0)),
        (4, Volume::Rate(0.0)),
        (5, Volume::Count(2)),
    ];
    let times = arrivals(&traffic(Spacing::Even, &volumes));
    let want = [0.25, 0.75, 1.25, 1.75, 4.25, 4.75];
    assert_eq!(times, want.map(|at| (at * 1e6) as Micros));
}

#[test]
fn a_rate_of_less_than_one_adds_up_over_its_stretches() {
    let volumes: Vec<(u64, Volume)> = (1..=40).map(|end| (end, Volume::Rate(0.1))).collect();
    let times = arrivals(&traffic(Spacing::Even, &volumes));
    let seconds: Vec<Micros> = times.iter().map(|at| (at + 5) / SECOND).collect();
    assert_eq!(seconds, [5, 15, 25, 35]);
}

#[test]
fn random_requests_are_as_many_as_the_rate_says_and_exactly_the_count() {
    let volumes = [(100, Volume::Rate(100.0)), (160, Volume::Count(777))];
    let times = arrivals(&traffic(Spacing::Random, &volumes));
    assert!(times.is_sorted());
    let (rated, counted) = times.split_at(times.partition_point(|at| *at < 100 * SECOND));
    assert!((9_500..10_500).contains(&rated.len()), "{}", rated.len());
    assert_eq!(counted.len(), 777);
    assert!(counted.iter().all(|at| *at < 160 * SECOND));
    // The gaps of a Poisson process vary as much as they are long.
    let gaps: Vec<f64> = rated
        .windows(2)
        .map(|two| (two[1] - two[0]) as f64)
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.1);
}

#[test]
fn a_traffic_is_cut_within_a_stretch() {
    let volumes = [
        (10, Volume::Rate(1.0)),
        (70, Volume::Count(60)),
        (80, Volume::Count(9)),
    ];
    let mut cut = traffic(Spacing::Even, &volumes);
    cut.cut(40 * SECOND);
    assert_eq!(cut.end(), 40 * SECOND);
    assert_eq!(cut.stretches[1].volume, Volume::Count(30));
    assert_eq!(cut.stretches.len(), 2);
}
