//! Runs simulated bugs through the replicator, and says how it went.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    At, Case, CasePart, CaseVerdict, Condition, ConditionKind, Frame, Recipe, Subject, Symptom,
    SymptomKind, TestId, ThreadId, Usage,
};
use cohort_replicator::{Limits, Outcome, Replicator, Room, Settings, Sighting, Try};

use crate::bugs::{Bug, CORES, Drawn, PEAK, Truth, copies, cores};

/// Seeded uniform numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(crate) fn settings(seed: u64) -> Settings {
    Settings {
        seed,
        cores: CORES,
        memory: 4 << 30,
        able: BTreeSet::from(ConditionKind::ALL),
        first_case: 1,
        limits: Limits::default(),
    }
}

pub(crate) const ROOM: Room = Room {
    cores: 2.0,
    memory: 4 << 30,
    start: true,
};

/// One bug in a test.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) bug: Bug,
    pub(crate) drawn: Drawn,
    pub(crate) dice: Dice,
}

impl World {
    /// With parameters drawn: base rates from 0.1 % to 5 %, evenly in their logarithm.
    pub(crate) fn new(bug: &Bug, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let drawn = Drawn {
            base: 0.001 * 50.0_f64.powf(dice.share()),
            strength: dice.share(),
            place: dice.share(),
        };
        Self {
            bug: bug.clone(),
            drawn,
            dice,
        }
    }

    pub(crate) fn symptom(&self) -> Symptom {
        Symptom {
            kind: self.bug.kind,
            class: "python AssertionError".into(),
            message: self.bug.message.into(),
            frames: vec![Frame {
                function: format!("test_{}", self.bug.name.replace(' ', "_")),
                file: "tests/test_it.py".into(),
                line: 10,
                own: true,
            }],
        }
    }

    pub(crate) fn usage(&self, slower: f64) -> Usage {
        Usage {
            wall_us: (self.bug.wall_s * slower * 1e6) as u64,
            user_us: (self.bug.cpu_s * 1e6) as u64,
            system_us: 0,
            memory_peak: PEAK,
            io_read: 0,
            io_written: 4096,
            waits: 10,
            preemptions: 1,
            cpu_waited_us: 0,
        }
    }

    pub(crate) fn parts(&self) -> Vec<CasePart> {
        let (before, beside) = self.bug.company;
        let first = if self.bug.truth == Truth::Parts {
            8
        } else {
            before
        };
        (0..first)
            .map(|n| CasePart::Before(TestId(100 + n)))
            .chain((0..beside).map(|n| CasePart::Beside(TestId(200 + n))))
            .collect()
    }

    /// Probability that a run under this recipe fails.
    pub(crate) fn probability(&self, recipe: &Recipe) -> f64 {
        let each = (self.bug.fails)(&self.drawn, recipe);
        1.0 - (1.0 - each).powf(copies(recipe))
    }

    pub(crate) fn run(&mut self, recipe: &Recipe) -> Outcome {
        let cpu = self.bug.cpu_s;
        let own = (self.bug.wall_s - cpu + cpu / cores(recipe)) / self.bug.wall_s;
        let before = recipe
            .parts
            .iter()
            .filter(|part| matches!(part, CasePart::Before(_)))
            .count();
        let usage = self.usage(own + 0.3 * before as f64);
        let probability = self.probability(recipe);
        let symptom = if self.dice.share() < probability {
            Some(self.symptom())
        } else {
            self.other(recipe)
        };
        Outcome {
            passed: symptom.is_none(),
            symptom,
            usage,
            missing: Vec::new(),
            passed_before: 0,
        }
    }

    /// What fails under some conditions whatever the bug is.
    fn other(&mut self, recipe: &Recipe) -> Option<Symptom> {
        let symptom = |kind, message: &str| Symptom {
            kind,
            class: String::new(),
            message: message.into(),
            frames: Vec::new(),
        };
        for condition in &recipe.conditions {
            let share = self.dice.share();
            match condition {
                Condition::MemoryLimit { bytes } if *bytes < PEAK * 3 / 5 && share < 0.8 => {
                    return Some(symptom(SymptomKind::OutOfMemory, "killed for memory"));
                }
                Condition::OpenFiles { count } if *count < 30 && share < 0.5 => {
                    return Some(symptom(SymptomKind::Exception, "Too many open files"));
                }
                Condition::CpuLimit { cores } if *cores < 0.15 && share < 0.05 => {
                    return Some(symptom(SymptomKind::Timeout, "ran past its time limit"));
                }
                _ => {}
            }
        }
        None
    }

    pub(crate) fn sighting<'a>(&self, symptom: &'a Symptom, passes: u32) -> Sighting<'a> {
        Sighting {
            subject: Subject::Test(TestId(1)),
            thread: ThreadId(0),
            symptom,
            parts: self.parts(),
            usage: self.usage(1.0),
            crowded: false,
            passes,
        }
    }

    /// From the sighting to the end, with so many runs at once. Gives back the case and every try.
    pub(crate) fn campaign(&mut self, seed: u64, at_once: usize) -> (Case, Vec<Recipe>) {
        let mut replicator = Replicator::new(settings(seed));
        let symptom = self.symptom();
        let passes = if self.bug.truth == Truth::Always {
            0
        } else {
            12
        };
        let case = replicator.sighted(At(0), &self.sighting(&symptom, passes));
        let mut tried = Vec::new();
        let mut under_way: Vec<Try> = Vec::new();
        let mut now = 0_u64;
        for _ in 0..5_000 {
            while under_way.len() < at_once
                && let Some(next) = replicator.next(At(now), ROOM)
            {
                if next.case == case {
                    tried.push(next.recipe.clone());
                }
                under_way.push(next);
            }
            if under_way.is_empty() {
                break;
            }
            let next = under_way.remove(0);
            let outcome = self.run(&next.recipe);
            now += outcome.usage.wall_us / at_once as u64;
            replicator.ended(At(now), next.case, &next.recipe, outcome);
        }
        let shown = replicator.cases().find(|one| one.case == case);
        (shown.cloned().expect("the case was opened"), tried)
    }
}

/// How one case went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    pub(crate) reproduced: bool,
    pub(crate) runs_to_first: f64,
    /// Expected runs of plain rerunning.
    pub(crate) plain: f64,
    /// A cause is to be named, and it was.
    pub(crate) right: Option<bool>,
    /// Something was named that does nothing.
    pub(crate) wrong: bool,
    /// Something was named that does something, though it is not what was expected.
    pub(crate) otherwise: bool,
    /// Ratio of the threshold to the true one, at least 1.
    pub(crate) threshold: Option<f64>,
    pub(crate) runs: u32,
    pub(crate) settled: bool,
}

/// Compares what was said with the truth.
pub(crate) fn score(world: &World, case: &Case, tried: &[Recipe]) -> Score {
    let control = Recipe {
        parts: world.parts(),
        ..Recipe::default()
    };
    let mut score = Score {
        reproduced: case.runs_to_first.is_some(),
        runs_to_first: f64::from(case.runs_to_first.unwrap_or(tried.len() as u32)),
        plain: 1.0 / world.probability(&control).min(1.0),
        runs: tried.len() as u32,
        settled: case.verdict.is_some(),
        ..Score::default()
    };
    let named: Vec<ConditionKind> = case
        .causes
        .iter()
        .filter_map(|cause| cause.condition.as_ref())
        .map(Condition::kind)
        .collect();
    let parts = case.causes.iter().any(|cause| !cause.parts.is_empty());
    score.right = match &world.bug.truth {
        Truth::Kinds(kinds) => Some(named.iter().any(|kind| kinds.contains(kind))),
        Truth::Parts => Some(parts),
        Truth::KindsOrParts(kinds) => Some(parts || named.iter().any(|kind| kinds.contains(kind))),
        Truth::Always => Some(case.verdict == Some(CaseVerdict::Always)),
        Truth::Nothing => None,
    };
    for cause in &case.causes {
        let Some(condition) = &cause.condition else {
            score.wrong |= !matches!(world.bug.truth, Truth::Parts | Truth::KindsOrParts(_));
            continue;
        };
        let expected = match &world.bug.truth {
            Truth::Kinds(kinds) | Truth::KindsOrParts(kinds) => kinds.contains(&condition.kind()),
            _ => false,
        };
        if expected {
            continue;
        }
        let mut with = case
            .smallest
            .as_ref()
            .map_or(control.clone(), |one| one.recipe.clone());
        with.parts = world.parts();
        let mut without = with.clone();
        without
            .conditions
            .retain(|one| one.kind() != condition.kind());
        let base = (world.bug.fails)(&world.drawn, &without);
        let acts = (world.bug.fails)(&world.drawn, &with) > 1.5 * base + 0.005;
        score.otherwise |= acts;
        score.wrong |= !acts;
    }
    if let Some(place) = world.bug.threshold
        && let Some((passes, fails)) = case.causes.first().and_then(|cause| cause.threshold)
        && score.right == Some(true)
    {
        let truth = place(&world.drawn);
        let said = if passes > 0.0 {
            (passes * fails).sqrt()
        } else {
            fails
        };
        score.threshold = Some((said / truth).max(truth / said));
    }
    score
}

/// Many cases of one kind of bug.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total(pub(crate) Vec<Score>);

impl Total {
    fn share(&self, of: impl Fn(&Score) -> bool) -> f64 {
        self.0.iter().filter(|score| of(score)).count() as f64 / self.0.len().max(1) as f64
    }

    pub(crate) fn reproduced(&self) -> f64 {
        self.share(|score| score.reproduced)
    }

    /// Geometric mean of runs until it failed again, over those of plain rerunning; of bugs that are rare there.
    pub(crate) fn ratio(&self) -> f64 {
        let rare: Vec<f64> = self
            .0
            .iter()
            .filter(|score| score.plain > 15.0)
            .map(|score| (score.runs_to_first / score.plain).ln())
            .collect();
        (rare.iter().sum::<f64>() / rare.len().max(1) as f64).exp()
    }

    pub(crate) fn right(&self) -> f64 {
        let asked = self.0.iter().filter(|score| score.right.is_some()).count();
        let right = self
            .0
            .iter()
            .filter(|score| score.right == Some(true))
            .count();
        right as f64 / asked.max(1) as f64
    }

    pub(crate) fn wrong(&self) -> f64 {
        self.share(|score| score.wrong)
    }

    pub(crate) fn otherwise(&self) -> f64 {
        self.share(|score| score.otherwise)
    }

    /// Geometric mean of how far off thresholds are, as a factor.
    pub(crate) fn threshold(&self) -> f64 {
        let off: Vec<f64> = self.0.iter().filter_map(|score| score.threshold).collect();
        (off.iter().map(|off| off.ln()).sum::<f64>() / off.len().max(1) as f64).exp()
    }

    pub(crate) fn runs(&self) -> f64 {
        self.0
            .iter()
            .map(|score| f64::from(score.runs))
            .sum::<f64>()
            / self.0.len().max(1) as f64
    }

    pub(crate) fn settled(&self) -> f64 {
        self.share(|score| score.settled)
    }
}

/// Every kind of bug, so many times, from one seed.
pub(crate) fn measure(
    bugs: &[Bug],
    seed: u64,
    times: u64,
    at_once: usize,
) -> BTreeMap<&'static str, Total> {
    let mut totals: BTreeMap<&'static str, Total> = BTreeMap::new();
    for (nth, bug) in bugs.iter().enumerate() {
        for time in 0..times {
            let own = seed + 1_000 * time + 1_000_003 * nth as u64;
            let mut world = World::new(bug, own);
            let (case, tried) = world.campaign(own, at_once);
            let one = score(&world, &case, &tried);
            totals.entry(bug.name).or_default().0.push(one);
        }
    }
    totals
}
