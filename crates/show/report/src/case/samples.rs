//! Hand-made cases for the tests of the faces.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    Arm, At, Case, CaseId, CasePart, CaseVerdict, Cause, Condition, Frame, Rate, Recipe, Stage,
    Subject, Suspect, SuspectFunction, Symptom, SymptomKind, TestId, ThreadId,
};

use super::{Dossier, Excerpt, Listing};

/// Names of the tests that the cases speak of.
pub(crate) const NAMES: [&str; 3] = [
    "tests::checkout_totals",
    "test_a.py::test_sets_global",
    "test_b.py::test_reads_it",
];

pub(crate) fn name(test: TestId) -> String {
    NAMES[test.index()].to_owned()
}

/// A rate with an interval that is wide enough to be seen.
pub(crate) fn rate(failed: u32, runs: u32) -> Rate {
    let share = f64::from(failed) / f64::from(runs.max(1));
    let half = 1.2 / f64::from(runs.max(1)).sqrt();
    Rate {
        runs,
        failed,
        low: if failed == 0 {
            0.0
        } else {
            (share - half).max(0.0)
        },
        high: if failed == runs {
            1.0
        } else {
            (share + half).min(1.0)
        },
    }
}

pub(crate) fn with(conditions: Vec<Condition>) -> Recipe {
    Recipe {
        conditions,
        ..Recipe::default()
    }
}

pub(crate) fn arm(recipe: Recipe, rate: Rate) -> Arm {
    Arm {
        recipe,
        control: false,
        rate,
    }
}

pub(crate) fn control(recipe: Recipe, rate: Rate) -> Arm {
    Arm {
        control: true,
        ..arm(recipe, rate)
    }
}

/// A case that was just seen.
pub(crate) fn fresh(test: u32) -> Case {
    Case {
        case: CaseId(3),
        subject: Subject::Test(TestId(test)),
        symptom: Some(Symptom {
            kind: SymptomKind::Assertion,
            class: "rust panic".to_owned(),
            message: "assertion `left == right` failed\n  left: 3\n right: 4".to_owned(),
            frames: vec![
                Frame {
                    function: "core::panicking::panic".to_owned(),
                    ..Frame::default()
                },
                Frame {
                    function: "shop::total".to_owned(),
                    file: "src/checkout.rs".to_owned(),
                    line: 41,
                    own: true,
                },
            ],
        }),
        sightings: vec![ThreadId(7)],
        since: At(2_100_000),
        returned: false,
        stage: Stage::Open,
        verdict: None,
        arms: Vec::new(),
        runs_to_first: None,
        causes: Vec::new(),
        smallest: None,
        minimal: false,
        request: String::new(),
        age_us: 0,
        bound_us: 0,
        variants: Vec::new(),
        remarks: Vec::new(),
    }
}

pub(crate) fn closed(test: u32, verdict: CaseVerdict) -> Case {
    Case {
        stage: Stage::Closed,
        verdict: Some(verdict),
        ..fresh(test)
    }
}

pub(crate) fn because(condition: Condition, threshold: Option<(f64, f64)>) -> Cause {
    Cause {
        condition: Some(condition),
        parts: Vec::new(),
        with: rate(41, 50),
        without: rate(0, 50),
        threshold,
    }
}

/// Fails when it gets too little CPU.
pub(crate) fn too_little_cpu() -> Case {
    let limit = |cores| with(vec![Condition::CpuLimit { cores }]);
    Case {
        arms: vec![
            control(Recipe::default(), rate(0, 50)),
            arm(limit(0.25), rate(41, 50)),
            arm(limit(0.55), rate(9, 12)),
            arm(limit(0.65), rate(0, 12)),
            arm(with(vec![Condition::Copies { count: 4 }]), rate(0, 8)),
        ],
        runs_to_first: Some(4),
        causes: vec![because(
            Condition::CpuLimit { cores: 0.25 },
            Some((0.65, 0.55)),
        )],
        smallest: Some(arm(limit(0.25), rate(41, 50))),
        minimal: true,
        ..closed(0, CaseVerdict::Conditional)
    }
}

/// Fails when another test ran before it.
pub(crate) fn out_of_order() -> Case {
    let parts = |tests: &[u32]| Recipe {
        parts: tests
            .iter()
            .map(|it| CasePart::Before(TestId(*it)))
            .collect(),
        ..Recipe::default()
    };
    Case {
        arms: vec![
            control(parts(&[0, 1]), rate(6, 6)),
            arm(parts(&[]), rate(0, 12)),
            arm(parts(&[1]), rate(12, 12)),
        ],
        runs_to_first: Some(1),
        causes: vec![Cause {
            condition: None,
            parts: vec![CasePart::Before(TestId(1))],
            with: rate(12, 12),
            without: rate(0, 12),
            threshold: None,
        }],
        smallest: Some(arm(parts(&[1]), rate(12, 12))),
        minimal: true,
        ..closed(2, CaseVerdict::Conditional)
    }
}

/// A page with everything on it.
pub(crate) fn dossier(case: Case) -> Dossier {
    let names = (0..).map(TestId).zip(NAMES.map(str::to_owned));
    Dossier {
        case,
        names: names.collect::<BTreeMap<_, _>>(),
        told_by: "campaign 7".to_owned(),
        by_hand: Some("cargo test --lib tests::checkout_totals".to_owned()),
        requests: Vec::new(),
        suspects: vec![Excerpt {
            suspect: Suspect {
                file: "src/checkout.rs".to_owned(),
                line: 41,
                function: "shop::total".to_owned(),
                score: 0.94,
                source: "    let sum = cache.get(key);".to_owned(),
            },
            before: Some("    refresh(key);".to_owned()),
            after: Some("    sum + fee".to_owned()),
        }],
        functions: vec![Listing::new(
            SuspectFunction {
                file: "src/checkout.rs".to_owned(),
                name: "shop::total".to_owned(),
                first: 39,
                last: 43,
                line: 41,
                score: 0.94,
            },
            &format!(
                "{}fn total(key: &str) -> u32 {{\n    refresh(key);\n    let sum = cache.get(key);\n    sum + fee\n}}\n",
                "\n".repeat(38)
            ),
            &BTreeSet::from([41]),
        )],
        of_backtrace: false,
        output: vec!["thread 'main' panicked".to_owned()],
        places: vec![("capsule", ".cohort/cases/EC-3/capsule".to_owned())],
        kin: vec![CaseId(2)],
    }
}
