use super::*;

/// A second that a window can count from; any other does as well.
const T0: u64 = 1_000_000;

fn at(seconds: f64) -> Duration {
    Duration::from_secs(T0) + Duration::from_secs_f64(seconds)
}

fn linear(seconds: u64) -> Window {
    Window::new(Aggregation::Linear, Duration::from_secs(seconds), BUCKET)
}

fn weighted(seconds: u64) -> Window {
    Window::new(Aggregation::Weighted, Duration::from_secs(seconds), BUCKET)
}

/// A 5 s window with 1 to 5 in its five seconds.
fn one_to_five() -> Window {
    let mut window = linear(5);
    for second in 0..5 {
        window.record(at(f64::from(second)), f64::from(second + 1));
    }
    window
}

#[track_caller]
fn assert_near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-6, "{got} is not near {want}");
}

#[test]
fn figures_of_one_second_are_added_up() {
    let mut window = linear(5);
    window.record(at(0.0), 2.0);
    window.record(at(0.9), 3.0);
    assert_near(window.average(at(0.9)), 5.0);
    window.record(at(1.0), 1.0);
    assert_near(window.average(at(1.0)), 3.0);
}

#[test]
fn a_bucket_of_five_seconds_holds_the_seconds_0_to_4() {
    let (length, bucket) = (Duration::from_secs(10), Duration::from_secs(5));
    let mut window = Window::new(Aggregation::Linear, length, bucket);
    for second in 0..5 {
        window.record(at(f64::from(second)), 1.0);
    }
    assert_near(window.average(at(4.0)), 5.0);
    window.record(at(5.0), 1.0);
    assert_near(window.average(at(5.0)), 3.0);
}

#[test]
fn the_average_follows_the_clock_of_the_reader() {
    let table = [
        // what it shows, seconds since the first figure, average
        ("the window is full", 4.0, 3.0),
        ("the reader lags behind the newest figure", 3.6, 3.0),
        (
            "two figures have left, the silence does not count",
            6.0,
            4.0,
        ),
        ("all figures have left", 10.0, 0.0),
    ];
    for (case, second, want) in table {
        assert_eq!(one_to_five().average(at(second)), want, "{case}");
    }
}

#[test]
fn a_gap_inside_counts_as_zeros() {
    let mut window = one_to_five();
    window.record(at(6.0), 91.0);
    assert_near(
        window.average(at(6.0)),
        (3.0 + 4.0 + 5.0 + 0.0 + 91.0) / 5.0,
    );
}

#[test]
fn after_a_minute_of_silence_a_single_figure_is_the_average() {
    let mut window = one_to_five();
    window.record(at(64.0), 7.0);
    assert_near(window.average(at(64.0)), 7.0);
    window.record(at(61.0), 1.0);
    assert_near(window.average(at(64.0)), 8.0 / 4.0);
}

#[test]
fn a_figure_as_old_as_the_window_is_dropped() {
    for late in [5.0, 6.0] {
        let mut window = linear(5);
        window.record(at(10.0), 1.0);
        window.record(at(10.0 - late), 100.0);
        assert_near(window.average(at(10.0)), 1.0);
    }
}

#[test]
fn a_figure_one_window_later_starts_anew() {
    let mut window = one_to_five();
    window.record(at(9.0), 8.0);
    assert_near(window.average(at(9.0)), 8.0);
}

#[test]
fn order_does_not_matter_within_the_window() {
    let mut window = linear(5);
    for second in (0..5).rev() {
        window.record(at(f64::from(second)), f64::from(second + 1));
    }
    assert_near(window.average(at(4.0)), 3.0);
}

#[test]
fn weights_fall_with_age_and_are_not_scaled_up() {
    let k = smoothing(5);
    let mut window = weighted(5);
    window.record(at(0.0), 2.0);
    assert_near(window.average(at(0.0)), 2.0 * k);
    assert_near(window.average(at(1.0)), 2.0 * k * (1.0 - k));
    for second in 1..5 {
        window.record(at(f64::from(second)), f64::from(second + 2));
    }
    let want = (0..5)
        .map(|back| f64::from(6 - back) * k * (1.0 - k).powi(back))
        .sum();
    assert_near(window.average(at(4.0)), want);
    assert_near(window.average(at(10.0)), 0.0);
}

#[test]
fn the_newest_weight_depends_on_the_length_down_to_a_fifth() {
    let near = |count, want: f64| assert!((smoothing(count) - want).abs() < 1e-2, "{count}");
    near(6, 0.78);
    near(40, 0.206);
    near(60, 0.2);
    near(600, 0.2);
}

#[test]
fn a_window_that_grows_keeps_its_sum_and_its_average() {
    let mut window = one_to_five();
    window.resize(Duration::from_secs(10), at(4.0));
    assert_near(window.average(at(4.0)), 3.0);
    for second in 5..10 {
        window.record(at(f64::from(second)), 3.0);
    }
    assert_near(window.average(at(9.0)), 3.0);
}

#[test]
fn a_window_that_shrinks_drops_the_oldest() {
    let mut window = one_to_five();
    window.resize(Duration::from_secs(4), at(4.0));
    assert_near(window.average(at(4.0)), (2.0 + 3.0 + 4.0 + 5.0) / 4.0);
}

#[test]
fn the_same_size_changes_nothing() {
    let mut window = linear(5);
    window.record(at(0.0), 3.0);
    window.resize(Duration::from_secs(5), at(100.0));
    assert_near(window.average(at(0.0)), 3.0);
}

#[test]
fn a_resize_after_the_data_expired_forgets_it() {
    let mut window = one_to_five();
    window.resize(Duration::from_secs(60), at(12.0));
    assert!(
        !window.is_empty(at(12.0)),
        "the last figure is in the new window"
    );
    assert_near(window.average(at(12.0)), 0.0);
}

#[test]
fn at_exactly_its_length_a_window_is_not_empty_yet() {
    let mut window = linear(5);
    assert!(window.is_empty(at(0.0)));
    window.record(at(0.0), 1.0);
    assert!(!window.is_empty(at(5.0)));
    assert!(window.is_empty(at(6.0)));
}

#[test]
fn a_resize_of_a_window_that_is_not_full_keeps_its_average_unless_it_has_to_be_as_the_original() {
    for (compatible, want) in [(false, 60.0), (true, 60.0 * 3.0 / 60.0)] {
        let mut window = linear(60).compatible(compatible);
        for second in 0..3 {
            window.record(at(f64::from(second)), 60.0);
        }
        window.resize(Duration::from_secs(120), at(2.0));
        assert_near(window.average(at(2.0)), want);
        // What was cut off is not there either.
        window.resize(Duration::from_secs(2), at(2.0));
        window.resize(Duration::from_secs(90), at(2.0));
        assert_near(window.average(at(2.0)), 60.0);
    }
}
