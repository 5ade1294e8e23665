//! The smallest input of a test that still shows its failure.
//!
//! JSON is cut by its values, any other text by blocks, lines and words. Each step is judged as those of the other
//! parts are; what is told is an input that was seen to fail.

use cohort_model::Recipe;
use serde_json::Value;

use super::Experiment;
use super::evidence::Tally;
use super::less::count;
use super::step::Step;
use crate::minimize::text::{self, Piece};
use crate::minimize::{Candidate, Smallest, TreeMinimizer, json};

/// Most runs of the search.
const RUNS_MAX: u32 = 240;
/// Below this share of failures it would take too many runs.
const SHARE_MIN: f64 = 0.5;

/// How an input is cut.
#[derive(Clone, Debug)]
enum How {
    Json(Value, TreeMinimizer<String>, Vec<Candidate<String>>),
    Text(TreeMinimizer<Piece>, Vec<Candidate<Piece>>),
}

/// An input that is being cut.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// The recipe with the whole.
    pub(super) plan: Recipe,
    known: Tally,
    whole: String,
    how: How,
    /// Asked for, and not run yet: only asking tells whether anything is left to try.
    next: Option<(usize, Recipe)>,
}

impl Cut {
    fn new(plan: &Recipe, known: Tally, whole: String) -> Self {
        let how = match serde_json::from_str::<Value>(&whole) {
            Ok(value) if value.is_object() || value.is_array() => {
                let search = TreeMinimizer::new(json::tree(&value), count(known), RUNS_MAX);
                How::Json(value, search, Vec::new())
            }
            _ => {
                let tree = text::tree(whole.as_bytes());
                How::Text(TreeMinimizer::new(tree, count(known), RUNS_MAX), Vec::new())
            }
        };
        Self {
            plan: plan.clone(),
            known,
            whole,
            how,
            next: None,
        }
    }

    /// What to run next, with its place among what was asked for.
    pub(super) fn want(&mut self) -> Option<(usize, Recipe)> {
        self.next.take().or_else(|| self.ask())
    }

    fn ask(&mut self) -> Option<(usize, Recipe)> {
        let (place, input) = match &mut self.how {
            How::Json(value, search, asked) => {
                let candidate = search.next()?;
                let input = json_of(value, &candidate.kept, &self.whole);
                asked.push(candidate);
                (asked.len() - 1, input)
            }
            How::Text(search, asked) => {
                let candidate = search.next()?;
                let input = text_of(&self.whole, &candidate.kept);
                asked.push(candidate);
                (asked.len() - 1, input)
            }
        };
        Some((place, self.with(input)))
    }

    fn with(&self, input: String) -> Recipe {
        Recipe {
            input: Some(input),
            ..self.plan.clone()
        }
    }

    pub(super) fn ended(&mut self, place: usize, failed: Option<bool>) {
        match &mut self.how {
            How::Json(_, search, asked) => told(search, &asked[place], failed),
            How::Text(search, asked) => told(search, &asked[place], failed),
        }
        if self.next.is_none() {
            self.next = self.ask();
        }
    }

    fn is_done(&self) -> bool {
        match &self.how {
            How::Json(_, search, _) => search.is_done(),
            How::Text(search, _) => search.is_done(),
        }
    }

    /// The smallest input, how often it failed, and whether nothing can be left out of it; none: it is the whole.
    fn smallest(&self) -> Option<(Recipe, Tally, bool)> {
        fn of<T>(smallest: &Smallest<T>) -> (Tally, bool) {
            let Smallest { count, minimal, .. } = smallest;
            let tally = Tally {
                runs: count.runs,
                failed: count.failed,
            };
            (tally, *minimal)
        }
        let (input, (tally, minimal)) = match &self.how {
            How::Json(value, search, asked) => {
                let best = search.smallest()?;
                asked.iter().find(|one| one.kept == best.kept)?;
                (json_of(value, &best.kept, &self.whole), of(&best))
            }
            How::Text(search, asked) => {
                let best = search.smallest()?;
                asked.iter().find(|one| one.kept == best.kept)?;
                (text_of(&self.whole, &best.kept), of(&best))
            }
        };
        (input.len() < self.whole.len()).then(|| (self.with(input), tally, minimal))
    }
}

fn told<T: Clone + Eq>(
    search: &mut TreeMinimizer<T>,
    candidate: &Candidate<T>,
    failed: Option<bool>,
) {
    match failed {
        Some(failed) => search.ended(candidate, failed),
        None => search.withdrawn(candidate),
    }
}

/// On several lines where the whole is.
fn json_of(value: &Value, kept: &[String], whole: &str) -> String {
    let value = json::joined(value, kept.iter().map(String::as_str));
    let mut text = if whole.trim_end().contains('\n') {
        format!("{value:#}")
    } else {
        value.to_string()
    };
    if whole.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn text_of(whole: &str, kept: &[Piece]) -> String {
    String::from_utf8_lossy(&text::joined(whole.as_bytes(), kept)).into_owned()
}

impl Experiment {
    /// The test reads this.
    pub(crate) fn reads(&mut self, input: &str) {
        self.input = Some(input.to_owned());
    }

    /// Which of its input it needs, when that was not asked yet and can be told in few runs.
    pub(super) fn smaller_input(&mut self, plan: &Recipe, tally: Tally) -> Option<Step> {
        if tally.failed == 0 || tally.share() < SHARE_MIN || plan.input.is_some() {
            return None;
        }
        let whole = self.input.take()?;
        Some(Step::Input(Box::new(Cut::new(plan, tally, whole))))
    }

    pub(super) fn follow_input(&mut self) -> Option<Step> {
        let Step::Input(cut) = &self.step else {
            return None;
        };
        if !cut.is_done() {
            return None;
        }
        let minimal = self.found.minimal;
        Some(match cut.smallest() {
            Some((plan, tally, least)) => self.finish(&plan, tally, minimal && least),
            None => {
                let (plan, known) = (cut.plan.clone(), cut.known);
                self.finish(&plan, known, minimal)
            }
        })
    }
}
