//! What a failure needs of its environment and of its input, by tests that fail for known reasons.

use cohort_model::{
    At, Case, CaseId, CasePart, CaseVerdict, Condition, ConditionKind, Recipe, Subject, Symptom,
    SymptomKind, TestId, ThreadId, Usage,
};
use cohort_replicator::{Limits, Outcome, Replicator, Room, Settings, Sighting};

const ROOM: Room = Room {
    cores: 2.0,
    memory: 1 << 34,
    start: true,
};
const USAGE: Usage = Usage {
    wall_us: 5_000,
    user_us: 4_000,
    system_us: 0,
    memory_peak: 1 << 24,
    io_read: 0,
    io_written: 0,
    waits: 0,
    preemptions: 0,
    cpu_waited_us: 0,
};

fn symptom() -> Symptom {
    Symptom {
        kind: SymptomKind::Assertion,
        class: "exit code 1".to_owned(),
        message: "assertion failed: it is so".to_owned(),
        frames: Vec::new(),
    }
}

/// A replicator with one case, whose test may need these variables, and reads this.
fn sighted(variables: &[&str], input: Option<&str>) -> Replicator {
    let replicator = Replicator::new(Settings {
        seed: 5,
        cores: 2.0,
        memory: 1 << 34,
        able: ConditionKind::ALL.into_iter().collect(),
        first_case: 1,
        limits: Limits::default(),
    });
    let variables = variables.iter().map(|name| (*name).to_owned()).collect();
    let mut replicator = replicator.with_environment(variables);
    let symptom = symptom();
    let case = replicator.sighted(
        At(0),
        &Sighting {
            subject: Subject::Test(TestId(0)),
            thread: ThreadId(1),
            symptom: &symptom,
            parts: Vec::new(),
            usage: USAGE,
            crowded: false,
            passes: 0,
        },
    );
    if let Some(input) = input {
        replicator.reads(case, input);
    }
    replicator
}

/// Runs it to its end: what is known then, and what was run.
fn settled(mut replicator: Replicator, fails: impl Fn(&Recipe) -> bool) -> (Case, Vec<Recipe>) {
    let mut tried = Vec::new();
    while !replicator.is_settled() {
        let at = At(tried.len() as u64);
        let next = replicator.next(at, ROOM).expect("more is worth trying");
        let failed = fails(&next.recipe);
        let outcome = Outcome {
            symptom: failed.then(symptom),
            passed: !failed,
            passed_before: 0,
            usage: USAGE,
            missing: Vec::new(),
        };
        replicator.ended(at, next.case, &next.recipe, outcome);
        tried.push(next.recipe);
        assert!(tried.len() < 2_000, "it comes to no end");
    }
    let case = replicator.cases().find(|one| one.case == CaseId(1));
    (case.cloned().expect("the case"), tried)
}

fn unset(recipe: &Recipe) -> Vec<&str> {
    let names = recipe.conditions.iter().filter_map(|one| match one {
        Condition::Variable { name, value: None } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}

const VARIABLES: [&str; 12] = [
    "CI",
    "DEBUG",
    "DISPLAY",
    "EDITOR",
    "HOME",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "NO_PROXY",
    "PAGER",
    "TZ",
    "VISUAL",
];

#[test]
fn an_environment_that_does_not_matter_takes_a_few_runs_and_is_said_not_to() {
    let (case, tried) = settled(sighted(&VARIABLES, None), |_| true);
    assert_eq!(case.verdict, Some(CaseVerdict::Always));
    let without: Vec<&Recipe> = tried.iter().filter(|one| !unset(one).is_empty()).collect();
    assert!(without.len() <= 4, "{}", without.len());
    assert!(
        without
            .iter()
            .all(|one| unset(one).len() == VARIABLES.len())
    );
    let said =
        "It fails as well without CI, DEBUG, DISPLAY and 9 more variables of the environment.";
    assert!(
        case.remarks.iter().any(|one| one == said),
        "{:?}",
        case.remarks
    );
    assert!(case.causes.is_empty());
}

#[test]
fn variables_that_matter_are_named_together() {
    let needs = ["HTTP_PROXY", "TZ"];
    let (case, _) = settled(sighted(&VARIABLES, None), |recipe| {
        !unset(recipe).iter().any(|name| needs.contains(name))
    });
    assert_eq!(case.verdict, Some(CaseVerdict::Conditional), "{case:#?}");
    let [cause] = &case.causes[..] else {
        panic!("{:#?}", case.causes);
    };
    let parts = needs.map(|name| CasePart::Variable(name.to_owned()));
    assert_eq!(cause.parts, parts);
    assert_eq!(cause.with.failed, cause.with.runs);
    assert_eq!(cause.without.failed, 0);
    let smallest = case.smallest.expect("it failed again");
    assert_eq!(smallest.recipe.parts, parts);
}

#[test]
fn where_variables_cannot_be_set_they_are_not_tried() {
    let mut replicator = sighted(&[], None);
    assert!(replicator.next(At(1), ROOM).is_some());
    let (case, tried) = settled(sighted(&[], None), |_| true);
    assert!(tried.iter().all(|one| unset(one).is_empty()));
    assert!(case.remarks.is_empty(), "{:?}", case.remarks);
}

fn smallest_of(input: &str, fails: impl Fn(&str) -> bool) -> (Case, Option<String>) {
    let (case, _) = settled(sighted(&[], Some(input)), |recipe| {
        fails(recipe.input.as_deref().unwrap_or(input))
    });
    let smallest = case.smallest.clone().expect("it failed again");
    (case, smallest.recipe.input)
}

#[test]
fn json_is_cut_by_its_values() {
    let items: Vec<String> = (0..40)
        .map(|n| {
            format!(
                "{{\"id\": {n}, \"price\": {}}}",
                if n == 31 { -3 } else { n }
            )
        })
        .collect();
    let input = format!("{{\"name\": \"shop\", \"items\": [{}]}}", items.join(", "));
    let fails = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("what is run is JSON");
        let items = value["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .any(|item| item["price"].as_i64().unwrap_or(0) < 0)
    };
    let (case, smallest) = smallest_of(&input, fails);
    assert_eq!(smallest.as_deref(), Some(r#"{"items":[{"price":-3}]}"#));
    assert!(case.minimal, "{case:#?}");
}

#[test]
fn a_text_is_cut_by_lines_and_words() {
    let mut input: String = (0..60).map(|n| format!("line {n} of many\n")).collect();
    input.push_str("\nplease stop it now\nmore\n");
    let fails = |text: &str| text.contains("stop") && text.contains("now");
    let (_, smallest) = smallest_of(&input, fails);
    assert_eq!(smallest.as_deref().map(str::trim_end), Some("stop now"));
}

#[test]
fn an_input_of_which_all_is_needed_stays_as_it_is() {
    let (case, smallest) = smallest_of("a b c\n", |text| text == "a b c\n");
    assert_eq!(smallest, None);
    assert_eq!(case.verdict, Some(CaseVerdict::Always));
}
