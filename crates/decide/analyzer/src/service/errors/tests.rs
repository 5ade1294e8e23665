use super::*;

/// A second each: failed calls of 20.
fn cells(failed: &[f64]) -> Vec<Cell> {
    let second = |(n, failed): (usize, &f64)| Cell {
        from: At(n as u64 * 1_000_000),
        at: At((n as u64 + 1) * 1_000_000),
        failed: *failed,
        calls: 20.0,
    };
    failed.iter().enumerate().map(second).collect()
}

fn end(cells: &[Cell]) -> At {
    cells[cells.len() - 1].at
}

/// One in 20, evenly or in twos and threes.
fn one_in_twenty(seconds: usize) -> Vec<f64> {
    let counts = [1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0];
    counts.into_iter().cycle().take(seconds).collect()
}

#[test]
fn a_rate_that_does_not_change_is_no_burst_at_any_time() {
    let failed = one_in_twenty(96);
    for seconds in (1..24).chain([50, 96]) {
        let cells = cells(&failed[..seconds]);
        let (bursts, rest) = without_bursts(&cells);
        assert!(bursts.is_empty(), "after {seconds} s: {bursts:?}");
        let steady = Steady::of(&rest, end(&cells), false);
        assert_eq!(steady.is_some(), seconds >= 10, "after {seconds} s");
        if let Some(steady) = steady {
            assert!(steady.from_the_beginning, "after {seconds} s");
        }
    }
}

#[test]
fn calls_that_fail_last_when_no_more_are_made_are_no_burst() {
    let mut cells = cells(&one_in_twenty(40));
    // What times out is told late.
    for cell in &mut cells[32..] {
        cell.calls = cell.failed;
    }
    let (bursts, _) = without_bursts(&cells);
    assert!(bursts.is_empty(), "{bursts:?}");
}

#[test]
fn more_errors_from_some_time_on_are_a_burst() {
    let mut failed = vec![0.0; 30];
    failed.extend([10.0, 9.0]);
    let now = cells(&failed);
    let (bursts, rest) = without_bursts(&now);
    let [burst] = bursts[..] else {
        panic!("{bursts:?}");
    };
    assert_eq!(burst.since, At(30_000_000));
    assert!(lasts(&now, &burst, end(&now)));
    assert!(Steady::of(&rest, end(&now), false).is_none());
    // Ten seconds later it is over, and makes no rate of its own.
    failed.extend([0.0; 10]);
    let later = cells(&failed);
    let (bursts, rest) = without_bursts(&later);
    assert!(!lasts(&later, &bursts[0], end(&later)));
    assert!(Steady::of(&rest, end(&later), false).is_none());
}

#[test]
fn a_burst_on_top_of_a_rate_is_told_beside_it() {
    let mut failed = one_in_twenty(60);
    failed.extend([15.0, 18.0, 16.0]);
    let cells = cells(&failed);
    let (bursts, rest) = without_bursts(&cells);
    assert_eq!(bursts.len(), 1, "{bursts:?}");
    assert!(lasts(&cells, &bursts[0], end(&cells)));
    let steady = Steady::of(&rest, end(&cells), false).unwrap();
    assert!((steady.failed / steady.calls - 0.05).abs() < 0.01);
}

#[test]
fn at_the_end_few_failures_are_told_as_what_they_are() {
    let cells = cells(&[2.0, 0.0, 2.0, 1.0]);
    assert!(Steady::of(&cells, end(&cells), false).is_none());
    assert!(Steady::of(&cells, end(&cells), true).is_some());
}

#[test]
fn what_always_failed_is_told_as_that() {
    let cells = cells(&[20.0; 4]);
    let (bursts, rest) = without_bursts(&cells);
    assert!(bursts.is_empty(), "{bursts:?}");
    let steady = Steady::of(&rest, end(&cells), false).unwrap();
    assert!(steady.from_the_beginning && steady.failed >= steady.calls);
}

#[test]
fn a_few_errors_of_many_calls_are_nothing() {
    let cells = cells(&[1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert!(Steady::of(&cells, end(&cells), false).is_none());
}

#[test]
fn how_calls_fail_is_said_in_words() {
    let of = |ways: &[(&str, f64)]| {
        let how = ways.iter().map(|(way, n)| ((*way).to_owned(), *n));
        fail(&how.collect())
    };
    assert_eq!(of(&[("503", 4.0)]), "answer 503");
    assert_eq!(of(&[("timed out", 4.0)]), "get no answer (timed out)");
    let both = [("timed out", 2.0), ("503", 4.0)];
    assert_eq!(of(&both), "fail (503: 4, timed out: 2)");
    assert_eq!(of(&[]), "fail");
}

#[test]
fn hours_of_calls_take_bounded_room() {
    let mut series = Series::default();
    let window = cohort_model::EndpointWindow {
        calls: 20,
        classes: [0, 19, 0, 0, 1],
        ..cohort_model::EndpointWindow::default()
    };
    for second in 1..20_000u64 {
        for instance in 0..3 {
            let at = At(second * 1_000_000);
            series.add(at, cohort_model::InstanceId(instance), &window);
        }
    }
    let debug = format!("{series:?}").len();
    assert!(debug < 20_000, "{debug}");
}
