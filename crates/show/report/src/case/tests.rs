//! What the faces say of cases: every verdict, every condition, every page.

use cohort_model::{
    Case, CasePart, CaseVerdict, Cause, Condition, ConditionKind, Noise, Recipe, Stage, Subject,
    SymptomKind, TestId,
};
use proptest::prelude::*;

use super::samples::{
    arm, because, closed, control, dossier, fresh, name, out_of_order, rate, too_little_cpu, with,
};
use super::verdict::sentence;
use super::words::{clause, contrast, kind, setting};
use crate::words;

fn told(case: &Case) -> String {
    sentence(case, &name)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of all conditions")]
fn every_condition_has_its_words() {
    let text = str::to_owned;
    let cases = [
        (
            Condition::CpuLimit { cores: 0.25 },
            "0.25 CPU",
            "with 0.25 CPU",
            Some(((0.65, 0.55), "below 0.6 CPU")),
            "without that limit",
        ),
        (
            Condition::Cpus { count: 1 },
            "on 1 CPU only",
            "when bound to 1 CPU",
            Some(((2.0, 1.0), "when bound to 1 CPU")),
            "on all CPUs",
        ),
        (
            Condition::MemoryLimit { bytes: 128 << 20 },
            "128 MiB of memory",
            "with 128 MiB of memory",
            Some(((215e6, 180e6), "below 200 MiB of memory")),
            "without that limit",
        ),
        (
            Condition::DiskRate { bytes_s: 1 << 20 },
            "disk at 1 MiB/s",
            "when the disk gives only 1 MiB/s",
            Some(((4.4e6, 1.8e6), "when the disk gives less than 2 MiB/s")),
            "without that limit",
        ),
        (
            Condition::DiskDelay { us: 10_000 },
            "10 ms more a disk call",
            "when a disk call takes 10 ms longer",
            Some(((4e3, 7e3), "when a disk call takes more than 5 ms longer")),
            "without that delay",
        ),
        (
            Condition::NetworkDelay { us: 20_000 },
            "20 ms more a message",
            "when a message takes 20 ms longer",
            Some(((11e3, 13e3), "when a message takes more than 12 ms longer")),
            "without that delay",
        ),
        (
            Condition::NetworkRate { bits_s: 1_000_000 },
            "network at 1 Mbit/s",
            "when the network carries only 1 Mbit/s",
            Some((
                (2.4e6, 1.4e6),
                "when the network carries less than 2 Mbit/s",
            )),
            "without that limit",
        ),
        (
            Condition::NetworkLoss { share: 0.05 },
            "5 % of messages lost",
            "when 5 % of messages are lost",
            Some(((0.013, 0.034), "when more than 2 % of messages are lost")),
            "without loss",
        ),
        (
            Condition::Noise {
                noise: Noise::Cpu,
                tasks: 4,
            },
            "4 computing neighbours",
            "beside 4 computing neighbours",
            Some(((1.0, 2.0), "beside 2 or more computing neighbours")),
            "without neighbours",
        ),
        (
            Condition::Noise {
                noise: Noise::Disk,
                tasks: 1,
            },
            "1 disk-writing neighbour",
            "beside 1 disk-writing neighbour",
            None,
            "without neighbours",
        ),
        (
            Condition::Copies { count: 4 },
            "4 copies at once",
            "when 4 copies of it run at once",
            Some(((1.0, 2.0), "when 2 or more copies of it run at once")),
            "alone",
        ),
        (
            Condition::Seed { seed: 17 },
            "random seed 17",
            "with random seed 17",
            None,
            "with others",
        ),
        (
            Condition::DirectoryOrder { seed: 3 },
            "directories in order 3",
            "when directories are listed in another order",
            None,
            "in the usual order",
        ),
        (
            Condition::Schedule { seed: 9 },
            "threads paused at random (9)",
            "when its threads are paused at random",
            None,
            "undisturbed",
        ),
        (
            Condition::TimeZone {
                name: text("Asia/Kolkata"),
            },
            "time zone Asia/Kolkata",
            "in time zone Asia/Kolkata",
            None,
            "in the usual one",
        ),
        (
            Condition::Locale {
                name: text("tr_TR.UTF-8"),
            },
            "locale tr_TR.UTF-8",
            "in locale tr_TR.UTF-8",
            None,
            "in the usual one",
        ),
        (
            Condition::Clock {
                unix_s: 1_709_251_198,
            },
            "clock at 2024-02-29 23:59:58 UTC",
            "when the clock shows 2024-02-29 23:59:58 UTC",
            Some((
                (1.7e9, 1_709_251_198.0),
                "when the clock shows 2024-02-29 23:59:58 UTC or later",
            )),
            "at the right time",
        ),
        (
            Condition::OpenFiles { count: 32 },
            "32 open files at most",
            "when only 32 files may be open",
            Some(((40.0, 39.0), "when fewer than 40 files may be open")),
            "without that limit",
        ),
        (
            Condition::Variable {
                name: text("PYTHONHASHSEED"),
                value: Some(text("17")),
            },
            "hash seed 17",
            "with hash seed 17",
            None,
            "with others",
        ),
        (
            Condition::Variable {
                name: text("MODE"),
                value: Some(text("fast")),
            },
            "MODE=fast",
            "with `MODE=fast`",
            None,
            "without it",
        ),
        (
            Condition::Variable {
                name: text("HOME"),
                value: None,
            },
            "HOME not set",
            "without `HOME`",
            None,
            "with it",
        ),
    ];
    for (condition, short, at, beyond, compared) in &cases {
        assert_eq!(setting(condition), *short);
        assert_eq!(clause(condition, None), *at);
        assert_eq!(contrast(condition), *compared);
        assert!(!kind(condition.kind()).is_empty());
        if let Some((ends, words)) = beyond {
            assert_eq!(clause(condition, Some(*ends)), *words);
        }
    }
    let told: std::collections::BTreeSet<ConditionKind> =
        cases.iter().map(|(it, ..)| it.kind()).collect();
    assert_eq!(told.len(), 18, "one of every kind");
}

#[test]
fn too_little_of_something() {
    assert_eq!(
        told(&too_little_cpu()),
        "`tests::checkout_totals` fails below 0.6 CPU: 41 of 50 runs, against 0 of 50 without that limit"
    );
    let mut unbounded = too_little_cpu();
    unbounded.causes[0].threshold = None;
    assert_eq!(
        told(&unbounded),
        "`tests::checkout_totals` fails with 0.25 CPU: 41 of 50 runs, against 0 of 50 without that limit"
    );
}

#[test]
fn what_ran_before() {
    assert_eq!(
        told(&out_of_order()),
        "`test_b.py::test_reads_it` fails whenever `test_a.py::test_sets_global` runs before it: \
         12 of 12, alone 0 of 12"
    );
    let mut among_others = out_of_order();
    among_others.smallest = None;
    among_others.causes[0].with = rate(9, 12);
    assert_eq!(
        told(&among_others),
        "`test_b.py::test_reads_it` fails when `test_a.py::test_sets_global` runs before it: \
         9 of 12, without it 0 of 12"
    );
    let beside = [CasePart::Beside(TestId(0)), CasePart::Beside(TestId(1))];
    among_others.causes[0].parts = beside.to_vec();
    assert_eq!(
        told(&among_others),
        "`test_b.py::test_reads_it` fails while `tests::checkout_totals` and \
         `test_a.py::test_sets_global` run beside it: 9 of 12, without them 0 of 12"
    );
}

#[test]
fn a_seed_that_decides() {
    let seed = Condition::Variable {
        name: "PYTHONHASHSEED".to_owned(),
        value: Some("17".to_owned()),
    };
    let mut case = closed(2, CaseVerdict::Conditional);
    case.causes = vec![Cause {
        with: rate(12, 12),
        without: rate(0, 30),
        ..because(seed, None)
    }];
    assert_eq!(
        told(&case),
        "`test_b.py::test_reads_it` fails with hash seed 17: 12 of 12 runs, against 0 of 30 with others"
    );
}

#[test]
fn several_causes() {
    let mut case = too_little_cpu();
    let copies = Condition::Copies { count: 4 };
    case.causes.push(because(copies.clone(), None));
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` fails below 0.6 CPU: 41 of 50 runs, against 0 of 50 without that \
         limit; also when 4 copies of it run at once (41 of 50)"
    );
    if let Some(smallest) = &mut case.smallest {
        smallest.recipe.conditions.push(copies);
    }
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` fails below 0.6 CPU, together with 4 copies at once: 41 of 50 \
         runs, against 0 of 50 without that limit"
    );
    case.causes.clear();
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` fails with 0.25 CPU + 4 copies at once: 41 of 50 runs"
    );
}

#[test]
fn every_time_now_and_then_and_not_again() {
    let mut always = closed(0, CaseVerdict::Always);
    always.arms = vec![control(Recipe::default(), rate(3, 3))];
    assert_eq!(
        told(&always),
        "`tests::checkout_totals` fails every time: 3 of 3 runs"
    );
    always.returned = true;
    assert_eq!(
        told(&always),
        "back again: `tests::checkout_totals` fails every time: 3 of 3 runs"
    );

    let mut sometimes = closed(0, CaseVerdict::Sometimes);
    let mut usual = rate(12, 400);
    (usual.low, usual.high) = (0.0142, 0.0521);
    sometimes.arms = vec![control(Recipe::default(), usual)];
    assert_eq!(
        told(&sometimes),
        "`tests::checkout_totals` fails now and then, whatever is varied: 12 of 400 runs (1.4 to 5.2 %)"
    );

    let mut mixed = closed(0, CaseVerdict::Sometimes);
    let limits = with(vec![
        Condition::CpuLimit { cores: 0.1 },
        Condition::Copies { count: 2 },
    ]);
    mixed.arms = vec![control(Recipe::default(), rate(0, 9))];
    mixed.smallest = Some(arm(limits, rate(2, 6)));
    assert_eq!(
        told(&mixed),
        "`tests::checkout_totals` fails now and then: 2 of 6 runs with 0.1 CPU + 2 copies at once \
         (0 to 82 %), and which of that matters is not known"
    );

    let mut gone = closed(0, CaseVerdict::NotReproduced);
    let mut none = rate(0, 400);
    none.high = 1.0 / 131.0;
    gone.arms = vec![control(Recipe::default(), none)];
    assert_eq!(
        told(&gone),
        "`tests::checkout_totals` did not fail again in 400 runs: less often than once in 130 with \
         95 % confidence"
    );
    let copies = with(vec![Condition::Copies { count: 4 }]);
    gone.arms.push(arm(copies, rate(0, 100)));
    assert_eq!(
        told(&gone),
        "`tests::checkout_totals` did not fail again in 500 runs, 400 of them as it was at first: \
         there less often than once in 130 with 95 % confidence"
    );
    gone.arms = vec![control(Recipe::default(), rate(0, 1))];
    assert_eq!(
        told(&gone),
        "`tests::checkout_totals` did not fail again in 1 run, too few to say how often it does"
    );

    let mut not_tried = closed(0, CaseVerdict::NotTried);
    assert_eq!(
        told(&not_tried),
        "`tests::checkout_totals` was not tried again"
    );
    not_tried.remarks = vec!["It needs 8 GiB, and there are 2 GiB.".to_owned()];
    assert_eq!(
        told(&not_tried),
        "`tests::checkout_totals` was not tried again: it needs 8 GiB, and there are 2 GiB"
    );

    let mut hunted = closed(0, CaseVerdict::Unsuspicious);
    hunted.symptom = None;
    let mut none = rate(0, 3_000);
    none.high = 0.001;
    hunted.arms = vec![control(Recipe::default(), none)];
    assert_eq!(
        told(&hunted),
        "`tests::checkout_totals` did not fail in 3,000 runs: less often than once in 1,000 with \
         95 % confidence"
    );
    hunted.remarks =
        vec!["It passed all 3000 plain runs: were its failure rate above 0.1 %, ...".to_owned()];
    assert_eq!(
        told(&hunted),
        "`tests::checkout_totals` did not fail in 3,000 runs",
        "one bound is enough"
    );
}

#[test]
fn while_it_is_tried() {
    let mut case = fresh(0);
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` failed and was not tried again yet"
    );
    case.stage = Stage::Reproducing;
    case.arms = vec![control(Recipe::default(), rate(0, 14))];
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` did not fail again in 14 runs so far"
    );
    case.stage = Stage::Explaining;
    case.arms = vec![control(Recipe::default(), rate(3, 14))];
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` failed again in 3 of 14 runs so far; under which condition is tried"
    );
    case.stage = Stage::Minimizing;
    assert_eq!(
        told(&case),
        "`tests::checkout_totals` failed again in 3 of 14 runs so far; what can be left out is tried"
    );
    case.stage = Stage::Open;
    case.arms.clear();
    case.symptom = None;
    assert_eq!(told(&case), "`tests::checkout_totals` is to be tried");
}

#[test]
fn symptoms_have_their_verbs() {
    let verbs = [
        (SymptomKind::Failure, "fails"),
        (SymptomKind::Assertion, "fails"),
        (SymptomKind::Exception, "fails"),
        (SymptomKind::Signal, "crashes"),
        (SymptomKind::Abort, "aborts"),
        (SymptomKind::Sanitizer, "fails"),
        (SymptomKind::Timeout, "times out"),
        (SymptomKind::Hang, "hangs"),
        (SymptomKind::OutOfMemory, "runs out of memory"),
        (SymptomKind::Leak, "leaks"),
        (SymptomKind::ErrorAnswer, "answers with an error"),
        (SymptomKind::WrongAnswer, "answers wrongly"),
        (SymptomKind::Slow, "is slow"),
    ];
    for (kind, verb) in verbs {
        let mut case = closed(0, CaseVerdict::Always);
        case.symptom.as_mut().unwrap().kind = kind;
        case.arms = vec![control(Recipe::default(), rate(3, 3))];
        let words = format!("`tests::checkout_totals` {verb} every time: 3 of 3 runs");
        assert_eq!(told(&case), words);
    }
}

#[test]
fn of_a_server() {
    let mut case = closed(0, CaseVerdict::Conditional);
    case.subject = Subject::Service("POST /checkout".to_owned());
    case.symptom.as_mut().unwrap().kind = SymptomKind::Signal;
    case.causes = vec![Cause {
        condition: None,
        parts: vec![CasePart::Request(0), CasePart::Request(4)],
        with: rate(5, 5),
        without: rate(0, 5),
        threshold: None,
    }];
    assert_eq!(
        told(&case),
        "`POST /checkout` crashes the server whenever 2 requests are sent: 5 of 5, without them 0 of 5"
    );
    case.subject = Subject::Service(String::new());
    case.verdict = Some(CaseVerdict::Always);
    case.arms = vec![control(Recipe::default(), rate(3, 3))];
    case.symptom.as_mut().unwrap().kind = SymptomKind::Leak;
    assert_eq!(told(&case), "the server leaks every time: 3 of 3 runs");
}

fn page(case: Case, columns: usize) -> Vec<String> {
    let mut out = Vec::new();
    dossier(case).write(columns, false, &mut out).unwrap();
    String::from_utf8(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_page_in_a_terminal() {
    assert_eq!(
        page(too_little_cpu(), 120),
        [
            "EC-3           `tests::checkout_totals` fails below 0.6 CPU: 41 of 50 runs, against 0 of 50 without",
            "               that limit.",
            "seen           once in campaign 7, 2.10 s after its start; failed again at try 4",
            "how often      as it was at first      0 of 50  ▒▒▒▒                  0 to 17 %",
            "               0.25 CPU               41 of 50  █████████████▒▒▒▒▒▒▒  65 to 99 %",
            "               0.55 CPU                9 of 12  ████████▒▒▒▒▒▒▒▒▒▒▒▒  40 to 100 %",
            "               0.65 CPU                0 of 12  ▒▒▒▒▒▒▒               0 to 35 %",
            "               4 copies at once         0 of 8  ▒▒▒▒▒▒▒▒▒             0 to 42 %",
            "               █ at least so often, ▒ possibly, each with 95 % confidence",
            "begins         CPU limit: between 0.65 CPU, where it passes, and 0.55 CPU, where it fails",
            "again          cohort repro EC-3",
            "               runs it with 0.25 CPU; failed in 41 of 50 runs (65 to 99 %)",
            "               Nothing more can be left out: each part was seen to matter.",
            "by hand        cargo test --lib tests::checkout_totals",
            "suspects        1. src/checkout.rs:41  in shop::total  0.94",
            "                   40 |     refresh(key);",
            "               >   41 |     let sum = cache.get(key);",
            "                   42 |     sum + fee",
            "functions       1. shop::total  in src/checkout.rs:39-43  0.94",
            "                   39 | fn total(key: &str) -> u32 {",
            "                   40 |     refresh(key);",
            "               >   41 |     let sum = cache.get(key);",
            "                   42 |     sum + fee",
            "                   43 | }",
            "evidence       rust panic: assertion `left == right` failed",
            "                 left: 3",
            "                right: 4",
            "               at core::panicking::panic",
            "               at shop::total (src/checkout.rs:41)",
            "               | thread 'main' panicked",
            "capsule        .cohort/cases/EC-3/capsule",
            "remarks        A different bug from EC-2, though the same test.",
        ]
    );
}

#[test]
fn markdown() {
    let expected = "\
# EC-3

`test_b.py::test_reads_it` fails whenever `test_a.py::test_sets_global` runs before it: 12 of 12, alone 0 of 12.

Once in campaign 7, 2.10 s after its start; failed again at the first try.

## How often

| condition | failed | rate | 95 % interval |
| --- | --: | --: | --- |
| as it was at first | 6 of 6 | 100 % | 51 to 100 % |
| only `test_a.py::test_sets_global` before it | 12 of 12 | 100 % | 65 to 100 % |
| alone | 0 of 12 | 0 % | 0 to 35 % |

## What matters

- whenever `test_a.py::test_sets_global` runs before it: 12 of 12 runs (65 to 100 %); without: 0 of 12 (0 to 35 %)

## Again

```console
$ cohort repro EC-3
```

Runs it with `test_a.py::test_sets_global` before it; failed in 12 of 12 runs (65 to 100 %).

Nothing more can be left out: each part was seen to matter.

By hand:

```console
$ cargo test --lib tests::checkout_totals
```

## Suspects

1. `src/checkout.rs:41  in shop::total` (score 0.94)

```
    40 |     refresh(key);
>   41 |     let sum = cache.get(key);
    42 |     sum + fee
```

## Suspicious functions

1. `shop::total  in src/checkout.rs:39-43` (score 0.94)

```
    39 | fn total(key: &str) -> u32 {
    40 |     refresh(key);
>   41 |     let sum = cache.get(key);
    42 |     sum + fee
    43 | }
```

## Evidence

```
rust panic: assertion `left == right` failed
  left: 3
 right: 4
  at core::panicking::panic
  at shop::total (src/checkout.rs:41)
| thread 'main' panicked
```

- capsule: `.cohort/cases/EC-3/capsule`

## Remarks

- A different bug from EC-2, though the same test.
";
    assert_eq!(dossier(out_of_order()).markdown(), expected);
}

#[test]
fn json() {
    let json = dossier(too_little_cpu()).json();
    assert_eq!(json["id"], "EC-3");
    assert_eq!(json["sentence"], told(&too_little_cpu()));
    assert_eq!(json["case"]["verdict"], "conditional");
    assert_eq!(json["rates"][0]["condition"], "as it was at first");
    assert_eq!(json["rates"][1]["failed"], 41);
    assert_eq!(json["again"]["command"], "cohort repro EC-3");
    assert_eq!(json["suspects"][0]["before"], "    refresh(key);");
    assert_eq!(json["functions"][0]["source"][2]["suspicious"], true);
    assert_eq!(json["suspects_of"], "runs");
    assert_eq!(json["tests"]["0"], "tests::checkout_totals");
    assert_eq!(json["kin"][0], "EC-2");
    let case: Case = serde_json::from_value(json["case"].clone()).unwrap();
    assert_eq!(case, too_little_cpu());
}

#[test]
fn pictures() {
    let html = super::article(&dossier(too_little_cpu()));
    assert!(html.contains("<h3>EC-3</h3>"), "{html}");
    assert_eq!(html.matches("<rect ").count(), 5, "{html}");
    assert_eq!(html.matches("<path ").count(), 5, "{html}");
    assert!(
        html.contains("<code>tests::checkout_totals</code> fails below 0.6 CPU"),
        "{html}"
    );
    let mut evil = dossier(too_little_cpu());
    evil.output = vec!["</pre><script>alert(1)</script>".to_owned()];
    assert!(!super::article(&evil).contains("<script"), "escaped");
}

proptest! {
    #[test]
    fn a_page_keeps_its_width(name in any::<String>(), message in any::<String>(), columns in 0_usize..160) {
        let mut case = too_little_cpu();
        if let Some(symptom) = &mut case.symptom {
            symptom.message = message.clone();
            symptom.frames[1].file = name.clone();
        }
        let mut dossier = dossier(case);
        dossier.names.insert(TestId(0), name);
        dossier.output = vec![message];
        let mut out = Vec::new();
        dossier.write(columns, false, &mut out).unwrap();
        for line in String::from_utf8(out).unwrap().lines() {
            prop_assert!(words::width(line) <= columns.clamp(39, 100), "{line}");
            prop_assert!(!line.chars().any(char::is_control));
        }
        let markdown = dossier.markdown();
        prop_assert!(!markdown.chars().any(|c| c.is_control() && c != '\n'));
    }
}

mod in_a_campaign {
    use cohort_model::{CaseId, CaseWork, Record, ThreadId, Verdict};

    use super::*;
    use crate::plain::Plain;
    use crate::scenario::{self, Scenario};
    use crate::summary::Summary;
    use crate::view::View;
    use crate::{junit, progress};

    /// A test fails once, is tried again beside the others, and is explained after them.
    fn campaign() -> Scenario {
        let mut scenario = Scenario::new(&["tests::checkout_totals", "b"]);
        scenario.reproducing(60_000_000, None);
        let thread = scenario.start(0, 0, cohort_model::Reason::Static);
        scenario.wait(1_000_000);
        scenario.end(scenario::end(thread, Verdict::Failed, 1_000_000));
        scenario.conclude(scenario::result(0, Verdict::Failed, &[thread]));
        let mut case = fresh(0);
        case.since = cohort_model::At(1_000_000);
        scenario.tell(case.clone());
        scenario.wait(6_000);
        scenario.open(4, cohort_model::Specialty::Reproducing, 100);
        let tried = scenario.try_case(&case, 4, Recipe::default());
        scenario.wait(500_000);
        scenario.end(scenario::end(tried, Verdict::Passed, 500_000));
        case.stage = Stage::Reproducing;
        case.arms = vec![control(Recipe::default(), rate(0, 1))];
        scenario.tell(case.clone());
        let mut scenario = scenario.run(1, Verdict::Passed, 2);
        let limit = with(vec![Condition::CpuLimit { cores: 0.25 }]);
        case.stage = Stage::Explaining;
        case.runs_to_first = Some(4);
        case.arms.push(arm(limit.clone(), rate(3, 3)));
        scenario.tell(case.clone());
        scenario.try_case(&case, 4, limit);
        scenario
    }

    fn explained(scenario: &mut Scenario) {
        let mut case = too_little_cpu();
        case.stage = Stage::Minimizing;
        case.verdict = None;
        scenario.wait(12_000_000);
        scenario.tell(case);
        scenario.wait(1_000_000);
        scenario.tell(too_little_cpu());
    }

    fn view(records: &[Record]) -> View {
        scenario::view(records)
    }

    #[test]
    fn a_try_is_no_execution_of_the_plan() {
        let scenario = campaign();
        let view = view(&scenario.records);
        assert_eq!(view.tries.len(), 1);
        assert_eq!(view.running.len(), 0);
        assert_eq!(view.concurrency_max, 1);
        assert_eq!(view.failed_once.len(), 0);
        assert_eq!(view.counts.concluded(), 2);
        assert!(view.only_cases_left());
        assert_eq!(view.cases_left_us(view.at()), Some(60_000_000));
    }

    #[test]
    fn lines_as_it_goes() {
        let mut scenario = campaign();
        explained(&mut scenario);
        let mut view = View::default();
        let mut plain = Plain::new(false);
        let mut lines = Vec::new();
        for record in &scenario.records {
            view.apply(record);
            lines.extend(plain.after(&view, record));
        }
        assert_eq!(
            lines,
            [
                "2 tests in 1 group, on 2 cores",
                "failed         tests::checkout_totals  exit code 101, 1.00 s  assertion failed: 1 == 2",
                "EC-3           opened: `tests::checkout_totals`: rust panic: assertion `left == right` failed",
                "EC-3           tried again on i4 after 6.0 ms",
                "reproducing 1 edge case, at most 1 m 00 s more; 1 failed; Ctrl-C ends it, the results stand",
                "EC-3           failed again at try 4, with 0.25 CPU",
                "EC-3           `tests::checkout_totals` fails below 0.6 CPU: 41 of 50 runs, against 0 of 50 without that limit",
                "EC-3           closed; cohort repro EC-3 shows it again",
            ]
        );
    }

    #[test]
    fn a_frame_while_it_is_tried() {
        let scenario = campaign();
        let view = view(&scenario.records);
        let now = cohort_model::At(5_500_000);
        assert_eq!(
            progress::frame(&view, now, 100, 9, false),
            [
                "reproducing 1 edge case, at most 59 s more; 1 failed; Ctrl-C ends it, the results stand  5.50 s",
                "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━",
                "  i4 trying   100 %                         1.99 s  EC-3 0.25 CPU",
                "EC-3  failed again in 3 of 4 runs so far; under which condition is tried  tests::checkout_totals",
            ]
        );
    }

    fn summary(view: &View, cases_max: usize) -> Vec<String> {
        let summary = Summary {
            view,
            outputs: &|_| None,
            directory: ".cohort/campaigns/7",
            running: false,
            cases_max,
            page: None,
            width: 100,
            color: false,
        };
        let mut out = Vec::new();
        summary.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_most_telling_are_summed_up_first() {
        let mut scenario = campaign();
        explained(&mut scenario);
        let mut always = closed(1, CaseVerdict::Always);
        always.case = CaseId(1);
        always.arms = vec![control(Recipe::default(), rate(3, 3))];
        scenario.tell(always);
        let mut gone = closed(1, CaseVerdict::NotTried);
        gone.case = CaseId(2);
        scenario.tell(gone);
        let scenario = scenario.complete();
        let lines = summary(&view(&scenario.records), 2);
        assert_eq!(
            lines[1..4],
            [
                "edge cases     EC-3  `tests::checkout_totals` fails below 0.6 CPU: 41 of 50 runs, against 0 of 50 without that limit",
                "               EC-1  `b` fails every time: 3 of 3 runs",
                "               and 1 more: cohort show",
            ]
        );
        let all = summary(&view(&scenario.records), usize::MAX);
        assert_eq!(all[3], "               EC-2  `b` was not tried again");
        assert_eq!(
            all[4],
            "               cohort show EC-3, for all that is known of it"
        );
    }

    #[test]
    fn a_campaign_for_cases_alone() {
        let mut scenario = Scenario::new(&["tests::checkout_totals", "b"]);
        let only = CaseWork::Stress {
            tests: vec![TestId(0)],
            rate: 0.001,
            doubt: 0.05,
        };
        scenario.reproducing(300_000_000, Some(only));
        let mut case = fresh(0);
        case.symptom = None;
        case.sightings.clear();
        scenario.tell(case.clone());
        scenario.open(0, cohort_model::Specialty::Reproducing, 100);
        scenario.try_case(&case, 0, Recipe::default());
        let now = cohort_model::At(10_000_000);
        let frame = progress::frame(&view(&scenario.records), now, 90, 9, false);
        assert_eq!(
            frame[0],
            "stressing 1 test, at most 4 m 50 s more; Ctrl-C ends it  10.0 s"
        );
        scenario.wait(2_000_000);
        let mut passed = closed(0, CaseVerdict::Unsuspicious);
        passed.symptom = None;
        passed.arms = vec![control(Recipe::default(), rate(0, 3_000))];
        scenario.tell(passed);
        let scenario = scenario.complete();
        let lines = summary(&view(&scenario.records), 10);
        assert_eq!(
            lines.last().unwrap(),
            "passed         3,000 runs: 0 failed; took 2.00 s"
        );
    }

    #[test]
    fn junit_names_the_case() {
        let mut scenario = campaign();
        explained(&mut scenario);
        let mut out = Vec::new();
        let outputs = |_: ThreadId| None;
        junit::write(&view(&scenario.records), &outputs, &mut out).unwrap();
        let xml = String::from_utf8(out).unwrap();
        let property = "<property name=\"edge_case\" value=\"EC-3: `tests::checkout_totals` fails below \
                        0.6 CPU: 41 of 50 runs, against 0 of 50 without that limit\"/>";
        assert!(xml.contains(property), "{xml}");
        assert!(
            quick_junit::Report::deserialize_from_str(&xml).is_ok(),
            "{xml}"
        );
    }
}
