//! All cases of a campaign: which of them is tried next, and what became of each.
//!
//! The budget is shared by what is most informative first: cases that were not tried at all, the cheapest
//! first; then those on which the least run time was spent for what they are worth. A new symptom is worth
//! more than one that an earlier campaign knew or that our own conditions provoked, and a case that failed
//! again is worth more than one that has not. Nothing is dropped without a line: a case that gets no run
//! is closed as not tried, with the reason.

use std::collections::BTreeMap;

use cohort_model::{
    At, Case, CaseId, CasePart, CaseVerdict, ConditionKind, Recipe, Stage, Subject, Symptom,
    SymptomKind, Usage,
};

use crate::experiment::{Ended, Experiment, Origin, Setup};
use crate::sameness::{same, same_though_edited};
use crate::{Hunt, Known, Outcome, Room, Settings, Sighting, Try};

/// A running case is told anew at most so often, microseconds.
const NEWS_EVERY_US: u64 = 1_000_000;
/// Most executions that are remembered of a case.
const SIGHTINGS_MAX: usize = 50;
/// Run time that every case is taken to have had already, seconds: so that the first runs are shared evenly.
const HEAD_START_S: f64 = 1.0;

/// All cases of a campaign: which is tried next, and what is known of each.
#[derive(Clone, Debug)]
pub struct Replicator {
    settings: Settings,
    variables: Vec<String>,
    next_case: u32,
    cases: BTreeMap<CaseId, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    shown: Case,
    /// None: it is not tried, and closed since it was opened.
    experiment: Option<Experiment>,
    /// How much run time it deserves beside others.
    worth: f64,
    /// It is of an earlier campaign: the code may have changed since.
    old: bool,
    /// Runs that failed as is to be expected of a condition, by its kind in words.
    expected: BTreeMap<&'static str, u32>,
    changed: bool,
    told: Option<(At, Stage)>,
}

/// What a new case is about.
struct Opening {
    subject: Subject,
    symptom: Option<Symptom>,
    parts: Vec<CasePart>,
    usage: Usage,
    origin: Origin,
    worth: f64,
}

impl Replicator {
    /// One without cases.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            next_case: settings.first_case.max(1),
            settings,
            variables: Vec::new(),
            cases: BTreeMap::new(),
        }
    }

    /// Variables of the environment that subjects may need, by name; those that every program needs are left out.
    #[must_use]
    pub fn with_environment(mut self, variables: Vec<String>) -> Self {
        if self.settings.able.contains(&ConditionKind::Variable) {
            self.variables = variables;
        }
        self
    }

    /// A case that an earlier campaign closed: its smallest recipe is tried a few times, and a return is
    /// named.
    pub fn remember(&mut self, known: Known) {
        self.next_case = self.next_case.max(known.case.0 + 1);
        let opening = Opening {
            subject: known.subject,
            symptom: Some(known.symptom),
            parts: known.smallest.parts.clone(),
            usage: Usage::default(),
            origin: Origin::Known {
                smallest: known.smallest,
                rate: known.rate,
                verdict: known.verdict,
            },
            worth: 0.5,
        };
        self.open(At(0), known.case, opening);
    }

    /// Something odd was seen in ordinary work: opens a case, or joins the one with the same symptom.
    pub fn sighted(&mut self, at: At, sighting: &Sighting<'_>) -> CaseId {
        if let Some(case) = self.with_symptom(&sighting.subject, sighting.symptom)
            && let Some(entry) = self.cases.get_mut(&case)
        {
            let threads = &mut entry.shown.sightings;
            if threads.len() < SIGHTINGS_MAX && !threads.contains(&sighting.thread) {
                threads.push(sighting.thread);
            }
            if let Some(experiment) = &mut entry.experiment {
                experiment.seen_again(sighting);
            }
            entry.refresh();
            return case;
        }
        let case = CaseId(self.next_case);
        self.next_case += 1;
        let opening = Opening {
            subject: sighting.subject.clone(),
            symptom: Some(sighting.symptom.clone()),
            parts: sighting.parts.clone(),
            usage: sighting.usage,
            origin: Origin::Seen {
                passes: sighting.passes,
                crowded: sighting.crowded,
            },
            worth: 1.0,
        };
        self.open(at, case, opening);
        if let Some(entry) = self.cases.get_mut(&case) {
            entry.shown.sightings.push(sighting.thread);
        }
        case
    }

    /// The subject of a case reads a file with this in it: how much of that it needs is looked for, too.
    pub fn reads(&mut self, case: CaseId, input: &str) {
        let entry = self.cases.get_mut(&case);
        if let Some(experiment) = entry.and_then(|entry| entry.experiment.as_mut()) {
            experiment.reads(input);
        }
    }

    /// Runs of a case under conditions of these kinds say nothing about it: they are not tried.
    pub fn rule_out(&mut self, case: CaseId, kinds: &[ConditionKind]) {
        let entry = self.cases.get_mut(&case);
        if let Some(experiment) = entry.and_then(|entry| entry.experiment.as_mut()) {
            experiment.rule_out(kinds);
        }
    }

    /// Tries something that has not failed, until its failure rate is surely below `hunt.p`. It is run alone for that;
    /// `company` are others that it may depend on: now and then it is run after some of them, or beside.
    pub fn suspect(
        &mut self,
        at: At,
        subject: Subject,
        company: Vec<CasePart>,
        hunt: Hunt,
    ) -> CaseId {
        let case = CaseId(self.next_case);
        self.next_case += 1;
        let opening = Opening {
            subject,
            symptom: None,
            parts: Vec::new(),
            usage: Usage::default(),
            origin: Origin::Hunted { hunt, company },
            worth: 1.0,
        };
        self.open(at, case, opening);
        case
    }

    /// The case that a symptom belongs to. Failures at one place in the code are one bug, whichever test
    /// runs into it; where no place is told, or where it is chance, only those of one subject are.
    fn with_symptom(&self, subject: &Subject, symptom: &Symptom) -> Option<CaseId> {
        let placed = symptom.frames.iter().any(|frame| frame.own)
            && !matches!(symptom.kind, SymptomKind::Timeout | SymptomKind::Hang);
        self.cases
            .values()
            .find(|entry| {
                let known = entry.shown.symptom.as_ref();
                (placed || entry.shown.subject == *subject)
                    && known.is_some_and(|known| entry.is_of(known, symptom))
            })
            .map(|entry| entry.shown.case)
    }

    fn open(&mut self, at: At, case: CaseId, opening: Opening) {
        let tried = self
            .cases
            .values()
            .filter(|entry| entry.experiment.is_some())
            .count();
        let mut shown = Case {
            case,
            subject: opening.subject,
            symptom: opening.symptom,
            sightings: Vec::new(),
            since: at,
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
        };
        let old = matches!(opening.origin, Origin::Known { .. });
        let refused = self.refusal(tried);
        let experiment = match refused {
            Some(why) => {
                shown.stage = Stage::Closed;
                shown.verdict = Some(CaseVerdict::NotTried);
                shown.remarks.push(why);
                None
            }
            None => Some(Experiment::new(Setup {
                seed: self.settings.seed,
                case: case.0,
                cores: self.settings.cores,
                memory: self.settings.memory,
                able: &self.settings.able,
                limits: self.settings.limits,
                symptom: shown.symptom.as_ref(),
                parts: opening.parts,
                usage: opening.usage,
                origin: opening.origin,
                variables: self.variables.clone(),
            })),
        };
        let mut entry = Entry {
            shown,
            experiment,
            worth: opening.worth,
            old,
            expected: BTreeMap::new(),
            changed: true,
            told: None,
        };
        entry.refresh();
        self.cases.insert(case, entry);
    }

    /// Why a case is not tried at all, if it is not.
    fn refusal(&self, tried: usize) -> Option<String> {
        let limit = self.settings.limits.cases;
        (tried >= limit as usize)
            .then(|| format!("The limit of {limit} cases was reached before it was seen."))
    }

    /// What to run next, if there is anything worth it that fits; it counts as under way from now on.
    ///
    /// Memory is a bound; cores are not: a run that gets less than it would use is slower, not wrong.
    pub fn next(&mut self, at: At, room: Room) -> Option<Try> {
        self.next_of(at, |_| Some(room))
    }

    /// The same, of cases for which there is room now, and how much.
    pub fn next_of(&mut self, _at: At, room: impl Fn(CaseId) -> Option<Room>) -> Option<Try> {
        if self.is_spent() {
            return None;
        }
        let mut order: Vec<(f64, CaseId, Room)> = self
            .cases
            .values()
            .filter(|entry| entry.shown.stage != Stage::Closed)
            .filter_map(|entry| {
                let case = entry.shown.case;
                let room = room(case).filter(|room| room.cores > 0.0)?;
                Some((entry.turn()?, case, room))
            })
            .collect();
        order.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        for (_, case, room) in order {
            let entry = self.cases.get_mut(&case)?;
            let Some(asked) = entry.experiment.as_mut().and_then(|one| one.next(room)) else {
                continue;
            };
            entry.refresh_stage();
            return Some(Try {
                case,
                subject: entry.shown.subject.clone(),
                recipe: asked.recipe,
                stage: entry.shown.stage,
                cores: asked.cores.min(room.cores),
                memory: asked.memory,
                batch: asked.batch,
            });
        }
        None
    }

    /// The run time for all cases is used up: those that wait for nothing are closed.
    fn is_spent(&mut self) -> bool {
        let spent: f64 = self
            .cases
            .values()
            .filter_map(|entry| entry.experiment.as_ref())
            .map(Experiment::spent_s)
            .sum();
        let limit = self.settings.limits.seconds_all;
        if spent < limit {
            return false;
        }
        for entry in self.cases.values_mut() {
            if let Some(experiment) = &mut entry.experiment
                && experiment.is_idle()
                && entry.shown.stage != Stage::Closed
            {
                experiment.give_up(&format!(
                    "The run time for all cases, {limit:.0} s, was used up."
                ));
                entry.refresh();
            }
        }
        true
    }

    /// A try ended. Returns the case that was opened or joined because it failed in another way. What is to
    /// be expected of the conditions of the try is no case; a remark counts it.
    pub fn ended(
        &mut self,
        at: At,
        case: CaseId,
        recipe: &Recipe,
        outcome: Outcome,
    ) -> Option<CaseId> {
        let entry = self.cases.get_mut(&case)?;
        let passed_before = outcome.passed_before;
        // What it ended with, of the runs of its batch.
        let last = match &entry.experiment {
            Some(experiment) if passed_before > 0 => experiment.last_run(recipe, passed_before),
            _ => recipe.clone(),
        };
        let (first, recipe) = (recipe, &last);
        let ended = match (&outcome.symptom, &entry.shown.symptom) {
            (Some(new), Some(known)) if entry.is_of(known, new) => {
                // The first that tells where threads stand tells more than the original did.
                let is_told = |one: &Symptom| one.frames.iter().any(|frame| frame.own);
                let crashed = matches!(known.kind, SymptomKind::Signal | SymptomKind::Abort);
                if (recipe.stacks || crashed) && is_told(new) && !is_told(known) {
                    let known = Symptom {
                        frames: new.frames.clone(),
                        ..known.clone()
                    };
                    entry.shown.symptom = Some(known);
                }
                Ended::Failed
            }
            (Some(_), Some(_)) => Ended::Otherwise,
            (Some(new), None) if own_doing(new, recipe).is_some() => Ended::Otherwise,
            (Some(new), None) => {
                entry.shown.symptom = Some(new.clone());
                if let Some(experiment) = &mut entry.experiment {
                    experiment.shows(new, &self.settings.able);
                }
                Ended::Failed
            }
            (None, _) if outcome.passed => Ended::Passed,
            (None, _) => Ended::Void,
        };
        if let Some(experiment) = &mut entry.experiment {
            let ended = (ended, passed_before);
            experiment.ended(first, ended, &outcome.usage, &outcome.missing);
            if experiment.found().runs_to_first.is_some() {
                entry.worth = entry.worth.max(1.5 * entry.worth.min(1.0));
            }
        }
        let symptom = outcome.symptom.filter(|_| ended == Ended::Otherwise);
        let expected = symptom.as_ref().and_then(|one| own_doing(one, recipe));
        if let Some(kind) = expected {
            *entry.expected.entry(kind).or_default() += 1;
        }
        entry.refresh();
        if expected.is_some() {
            return None;
        }
        let subject = entry.shown.subject.clone();
        let symptom = symptom?;
        if let Some(known) = self.with_symptom(&subject, &symptom) {
            return Some(known);
        }
        let other = CaseId(self.next_case);
        self.next_case += 1;
        let opening = Opening {
            subject,
            symptom: Some(symptom),
            parts: recipe.parts.clone(),
            usage: outcome.usage,
            origin: Origin::Provoked(recipe.clone()),
            worth: 0.25,
        };
        self.open(at, other, opening);
        Some(other)
    }

    /// Which lines the runs of a case execute cannot be told, for this reason (one sentence, for the user): no
    /// more runs are asked for to record them, and those that were are as if they had never been.
    pub fn without_lines(&mut self, case: CaseId, why: &str) {
        if let Some(entry) = self.cases.get_mut(&case)
            && let Some(experiment) = &mut entry.experiment
        {
            experiment.without_lines(why);
            entry.refresh();
        }
    }

    /// Cases of which more is known than at the last call: at once when one reaches another stage, else at
    /// most once a second each.
    pub fn news(&mut self, at: At) -> Vec<Case> {
        let mut news = Vec::new();
        for entry in self.cases.values_mut() {
            let stage = entry.shown.stage;
            let due = match entry.told {
                Some((told, before)) => before != stage || at.since(told) >= NEWS_EVERY_US,
                None => true,
            };
            if entry.changed && due {
                entry.changed = false;
                entry.told = Some((at, stage));
                news.push(entry.shown.clone());
            }
        }
        news
    }

    /// Ends all cases that are still open: nothing more is tried in this campaign, because of `why` (one
    /// sentence, for the user).
    pub fn finish(&mut self, _at: At, why: &str) {
        for entry in self.cases.values_mut() {
            if let Some(experiment) = &mut entry.experiment
                && entry.shown.stage != Stage::Closed
            {
                experiment.give_up(why);
                entry.refresh();
            }
        }
    }

    /// Nothing is worth trying any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.cases
            .values()
            .all(|entry| entry.shown.stage == Stage::Closed)
    }

    /// All cases, by number.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values().map(|entry| &entry.shown)
    }
}

impl Entry {
    /// Whether a symptom is that of this case.
    fn is_of(&self, known: &Symptom, symptom: &Symptom) -> bool {
        if self.old {
            same_though_edited(known, symptom)
        } else {
            same(known, symptom)
        }
    }

    /// Whose turn it is: the lowest comes first. None: it is not tried.
    fn turn(&self) -> Option<f64> {
        let experiment = self.experiment.as_ref()?;
        Some(if experiment.begun() == 0 {
            // Before all that were tried, the cheapest first.
            -1.0 / (HEAD_START_S + experiment.plain_s()) * self.worth
        } else {
            (HEAD_START_S + experiment.spent_s()) / self.worth
        })
    }

    /// Brings what is shown up to date.
    fn refresh(&mut self) {
        self.refresh_stage();
        let Some(experiment) = &self.experiment else {
            return;
        };
        let found = experiment.found();
        let shown = &mut self.shown;
        shown.arms = experiment.arms();
        shown.runs_to_first = found.runs_to_first;
        shown.returned = found.returned;
        shown.causes.clone_from(&found.causes);
        shown.smallest.clone_from(&found.smallest);
        shown.minimal = found.minimal;
        shown.verdict = found.verdict;
        shown.remarks.clone_from(&found.remarks);
        for (kind, runs) in &self.expected {
            let runs = match runs {
                1 => "1 run".to_owned(),
                runs => format!("{runs} runs"),
            };
            shown.remarks.push(format!(
                "{runs} failed as is to be expected of what was set on purpose ({kind})."
            ));
        }
        self.changed = true;
    }

    fn refresh_stage(&mut self) {
        if let Some(experiment) = &self.experiment {
            let stage = match experiment.stage() {
                Stage::Closed => Stage::Closed,
                _ if experiment.begun() == 0 => Stage::Open,
                stage => stage,
            };
            if stage != self.shown.stage {
                self.shown.stage = stage;
                self.changed = true;
            }
        }
    }
}

/// A failure that is to be expected of what we did to the program ourselves: not a bug of it.
fn own_doing(symptom: &Symptom, recipe: &Recipe) -> Option<&'static str> {
    let has = |kind: ConditionKind| recipe.conditions.iter().any(|one| one.kind() == kind);
    let said = format!("{} {}", symptom.class, symptom.message).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(ConditionKind::MemoryLimit)
        && (symptom.kind == SymptomKind::OutOfMemory
            || says(&["memory", "alloc", "sigkill", "enomem"]))
    {
        return Some("a memory limit");
    }
    if has(ConditionKind::OpenFiles)
        && says(&["too many open files", "errno 24", "os error 24", "emfile"])
    {
        return Some("few open files");
    }
    let slow = recipe.conditions.iter().any(|condition| {
        matches!(
            condition.kind(),
            ConditionKind::CpuLimit
                | ConditionKind::DiskDelay
                | ConditionKind::DiskRate
                | ConditionKind::NetworkDelay
                | ConditionKind::NetworkRate
                | ConditionKind::Copies
                | ConditionKind::Noise
        )
    });
    if slow && matches!(symptom.kind, SymptomKind::Timeout | SymptomKind::Slow) {
        return Some("it was slowed down");
    }
    None
}
