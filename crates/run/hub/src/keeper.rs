//! Keeps the cases of a campaign as they close, and those that are left at its end.

use std::collections::BTreeMap;

use cohort_model::{Case, CaseId, Stage};
use tokio::task::JoinHandle;

use crate::Setup;
use crate::kept::{Kept, Origin};
use crate::shell::Hub;

/// What is known of cases and is to be kept.
pub(crate) struct Keeper {
    kept: Kept,
    command: Vec<String>,
    /// Nothing is kept: the campaign only counts how often a recipe fails.
    only_counts: bool,
    /// Not kept yet.
    latest: BTreeMap<CaseId, Case>,
    writing: Vec<JoinHandle<Option<String>>>,
}

impl Keeper {
    pub(crate) fn new(setup: &Setup) -> Self {
        let work = setup.cases.as_ref().map(|cases| &cases.work);
        Self {
            kept: Kept::open(&setup.project, setup.suite.kind()),
            command: setup.suite.command(),
            only_counts: matches!(work, Some(crate::Work::Repeat(_))),
            latest: BTreeMap::new(),
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
            if case.stage == Stage::Closed {
                self.keeper.latest.remove(&case.case);
                self.write_case(case.clone());
            } else {
                self.keeper.latest.insert(case.case, case.clone());
            }
        }
    }

    fn write_case(&mut self, case: Case) {
        let kept = self.keeper.kept.clone();
        let (campaign, command) = (self.campaign.clone(), self.keeper.command.clone());
        let names = std::sync::Arc::clone(&self.names);
        self.keeper.writing.push(tokio::task::spawn_blocking(move || {
            let origin = Origin {
                campaign: campaign.name(),
                command: &command,
                names: &names,
            };
            let id = case.case;
            let written = kept.keep(case, origin);
            let said = |error| format!("{id} could not be kept: {}", cohort_host::chain(&error));
            written.err().map(said)
        }));
    }

    /// Keeps what is left, and waits for all of it; says what could not be kept.
    pub(crate) async fn keep_cases(&mut self) -> Vec<String> {
        for case in std::mem::take(&mut self.keeper.latest).into_values() {
            self.write_case(case);
        }
        let mut said = Vec::new();
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
