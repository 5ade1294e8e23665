//! Keeps the cases of a campaign as they close, and those that are left at its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cohort_model::{Case, CaseId, Stage, Subject};
use tokio::task::JoinHandle;

use crate::Setup;
use crate::capsules::{Capsules, Shown};
use crate::discover::Runner;
use crate::kept::{Kept, Origin};
use crate::shell::Hub;
use crate::stood::{self, STACKS, Stood};

/// Suspicious lines of a case, in its directory.
const SUSPECTS: &str = "suspects.json";

/// The smallest input that shows it, in its directory.
const INPUT: &str = "input";

/// What is known of cases and is to be kept.
pub(crate) struct Keeper {
    kept: Kept,
    capsules: Arc<Capsules>,
    command: Vec<String>,
    /// The project's directory.
    pub(crate) root: PathBuf,
    /// Nothing is kept: the campaign only counts how often a recipe fails.
    only_counts: bool,
    /// Not kept yet.
    latest: BTreeMap<CaseId, Case>,
    /// Stacks of failed tries.
    pub(crate) stood: Vec<Stood>,
    /// How often a case was to be written.
    orders: u64,
    /// Which order was carried out last of each case.
    carried: Arc<Mutex<BTreeMap<CaseId, u64>>>,
    writing: Vec<JoinHandle<Option<String>>>,
}

impl Keeper {
    /// `seed`: that of pytest-randomly, when it is used.
    pub(crate) fn new(setup: &Setup, seed: Option<u64>) -> Self {
        let work = setup.cases.as_ref().map(|cases| &cases.work);
        Self {
            kept: Kept::open(&setup.project, setup.suite.kind()),
            capsules: Arc::new(Capsules::new(&setup.root, seed)),
            command: setup.suite.command(),
            only_counts: matches!(work, Some(crate::Work::Repeat(_))),
            latest: BTreeMap::new(),
            stood: Vec::new(),
            orders: 0,
            carried: Arc::default(),
            root: setup.root.clone(),
            writing: Vec::new(),
        }
    }
}

impl Hub {
    /// Remembers what is news of cases; what is closed is written beside all else.
    pub(crate) fn note_cases(&mut self, cases: &[Case]) {
        if self.keeper.only_counts {
            return;
        }
        for case in cases {
            if let (Some(symptom), Subject::Test(test)) = (&case.symptom, &case.subject) {
                self.located.about(case.case, *test, symptom);
            }
            if case.stage == Stage::Closed {
                self.keeper.latest.remove(&case.case);
                self.write_case(case.clone());
            } else {
                self.keeper.latest.insert(case.case, case.clone());
            }
        }
    }

    fn write_case(&mut self, case: Case) {
        self.keeper.orders += 1;
        let order = self.keeper.orders;
        let carried = Arc::clone(&self.keeper.carried);
        let kept = self.keeper.kept.clone();
        let (campaign, command) = (self.campaign.clone(), self.keeper.command.clone());
        let names = Arc::clone(&self.names);
        let capsules = Arc::clone(&self.keeper.capsules);
        let launch = match (&self.runner, &case.subject) {
            (Runner::Processes(launches), Subject::Test(test)) => Some(launches.launch(*test)),
            _ => None,
        };
        let tries = self.kept_attempts.get(&case.case);
        let mut shown = Shown {
            launch,
            sightings: case.sightings.clone(),
            tries: tries.cloned().unwrap_or_default(),
            stacks: stood::of(&self.keeper.stood, &case),
        };
        self.keeper
            .writing
            .push(tokio::task::spawn_blocking(move || {
                let origin = Origin {
                    campaign: campaign.name(),
                    command: &command,
                    names: &names,
                };
                let id = case.case;
                // One at a time; what is known later counts, whichever comes first.
                let mut carried = carried.lock().unwrap_or_else(PoisonError::into_inner);
                let last = carried.entry(id).or_default();
                if *last > order {
                    return None;
                }
                *last = order;
                let failed = |error: &dyn std::error::Error| {
                    Some(format!(
                        "{id} could not be kept: {}",
                        cohort_host::chain(error)
                    ))
                };
                let known = match kept.keep(case, origin) {
                    Ok(known) => known,
                    Err(error) => return failed(&error),
                };
                if let Some(input) = smallest_input(&known)
                    && let Err(error) = std::fs::write(kept.directory(id).join(INPUT), input)
                {
                    return failed(&error);
                }
                let stacks = kept.directory(id).join(STACKS);
                if let Some(text) = &shown.stacks {
                    if let Err(error) = std::fs::write(&stacks, text) {
                        return failed(&error);
                    }
                } else {
                    // An earlier campaign may have seen them.
                    shown.stacks = std::fs::read_to_string(&stacks).ok();
                }
                let path = kept.capsule(id);
                let written = capsules.write(&path, &known, &shown, &campaign);
                written.err().and_then(|error| failed(&error))
            }));
    }

    /// Writes the suspects of each case whose lines were recorded; says what could not be written.
    async fn locate(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        let names = Arc::clone(&self.names);
        for (case, suspects) in self.located.suspects(&names).await {
            let path = self.keeper.kept.directory(case).join(SUSPECTS);
            if suspects.of_backtrace && path.exists() {
                // What an earlier campaign recorded tells more.
                continue;
            }
            let written = serde_json::to_vec_pretty(&suspects)
                .map_err(std::io::Error::from)
                .and_then(|bytes| {
                    std::fs::create_dir_all(self.keeper.kept.directory(case))?;
                    std::fs::write(&path, bytes)
                });
            if let Err(error) = written {
                said.push(format!("write {}: {error}", path.display()));
            }
        }
        said
    }

    /// Keeps what is left, and waits for all of it; says what could not be kept.
    pub(crate) async fn keep_cases(&mut self) -> Vec<String> {
        for case in std::mem::take(&mut self.keeper.latest).into_values() {
            self.write_case(case);
        }
        let mut said = self.locate().await;
        let some = !self.keeper.writing.is_empty();
        for writing in std::mem::take(&mut self.keeper.writing) {
            said.extend(writing.await.ok().flatten());
        }
        if some {
            said.extend(self.keeper.kept.tidy());
        }
        said
    }
}

/// The input that the smallest recipe has, when it is not the test's own.
fn smallest_input(kept: &cohort_store::KeptCase) -> Option<&str> {
    kept.case.smallest.as_ref()?.recipe.input.as_deref()
}
