//! The replicator on bugs as they are in real suites: what tries cost there, rates of a few percent, a busy host.

#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/bugs.rs"]
mod bugs;
#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/real.rs"]
mod real;
#[allow(dead_code, reason = "shared with the example")]
#[path = "../examples/campaign/world.rs"]
mod world;

use real::{Real, Row, measure};

fn all(of: impl Fn(&Real) -> bool, seconds: f64, stress: bool) -> Row {
    let mut sum = Row::default();
    for bug in real::all().iter().filter(|bug| of(bug)) {
        let row = measure(bug, 1, 3, seconds, stress);
        sum.campaigns += row.campaigns;
        sum.reproduced += row.reproduced;
        sum.right += row.right;
        sum.wrong += row.wrong;
        sum.always += row.always;
    }
    sum
}

#[test]
fn most_causes_are_named_in_twenty_seconds_and_hardly_any_wrongly() {
    for stress in [true, false] {
        let row = all(|bug| !bug.right.is_empty(), 20.0, stress);
        let share = |part: u32| f64::from(part) / f64::from(row.campaigns);
        assert!(share(row.reproduced) > 0.9, "reproduced: {row:?}");
        assert!(share(row.right) > 0.7, "right: {row:?}");
        assert!(share(row.wrong) < 0.05, "wrong: {row:?}");
    }
}

#[test]
fn a_flake_has_no_cause_and_is_not_said_to_fail_always() {
    let row = all(|bug| bug.name.starts_with("a flake"), 20.0, false);
    assert!(row.wrong <= 1 && row.always == 0, "{row:?}");
}

#[test]
fn a_seed_that_fails_is_repeated_and_named_within_seconds() {
    let row = all(|bug| bug.name == "a seed of 0.8 %", 10.0, true);
    assert_eq!((row.right, row.wrong), (row.campaigns, 0), "{row:?}");
}

#[test]
fn what_tracing_alone_provokes_is_not_put_down_to_the_network() {
    let bugs = real::all();
    let bug = bugs.iter().find(|bug| bug.name == "traced is late");
    // As many of twelve tell a rate of 90 % from one of 50 % better than three of three do.
    let row = measure(bug.expect("it is among them"), 1, 12, 60.0, true);
    assert!(row.wrong == 0 && row.right >= 10, "{row:?}");
}
