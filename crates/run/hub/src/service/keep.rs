//! Keeps the edge cases of a service: what is known of each, all that it takes to play it again, and its requests as they can be
//! typed.
//!
//! ```text
//! .cohort/cases/EC-3/
//!   play          recorded threads and script (`cohort_agent::play::Capsule`)
//!   requests.sh   curl lines
//!   capsule       all of it for another machine
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use cohort_capsule::{Capsule, Host, Manifest, Ran};
use cohort_model::{Case, CaseId, Stage, SuiteKind};

use super::shell::Hub;
use super::typed;
use crate::kept::{Kept, Origin};
use crate::stood::STACKS;

/// What plays a case again.
pub(crate) const PLAY: &str = "play";
/// Its requests as they can be typed.
const REQUESTS: &str = "requests.sh";

/// Cases that are not kept yet.
#[derive(Default)]
pub(crate) struct Keeping {
    latest: BTreeMap<CaseId, Case>,
}

impl Hub {
    /// What is news of cases: what is closed is kept at once.
    pub(crate) fn note_cases(&mut self, cases: &[Case]) {
        for case in cases {
            self.keeping.latest.remove(&case.case);
            if case.stage == Stage::Closed {
                self.keep_case(case);
            } else {
                self.keeping.latest.insert(case.case, case.clone());
            }
        }
    }

    /// Keeps what is left.
    pub(crate) fn keep_cases(&mut self) {
        for case in std::mem::take(&mut self.keeping.latest).into_values() {
            self.keep_case(&case);
        }
        let kept = Kept::open(&self.setup.project, SuiteKind::Service);
        self.notes.extend(kept.tidy());
    }

    fn keep_case(&mut self, case: &Case) {
        let kept = Kept::open(&self.setup.project, SuiteKind::Service);
        let origin = Origin {
            campaign: self.campaign.name(),
            command: &self.setup.sut.command,
            names: &[],
        };
        let written = kept.keep(case.clone(), origin);
        let failed = match written {
            Ok(_) => self.keep_play(case).err(),
            Err(error) => Some(cohort_host::chain(&error)),
        };
        if let Some(why) = failed {
            let note = format!("{} could not be kept: {why}", case.case);
            self.notes.push(note);
        }
    }

    fn keep_play(&self, case: &Case) -> Result<(), String> {
        let Some((number, requests)) = self.replicas.requests_of(case.case) else {
            return Ok(());
        };
        let store = self.setup.project.cases();
        let directory = store.directory(case.case);
        let file = self.capsule_file(number);
        let text = typed::script(case, requests, &self.prepared.base_url());
        let failed =
            |what: &Path, error: std::io::Error| format!("write {}: {error}", what.display());
        let (own, typed) = (directory.join(PLAY), directory.join(REQUESTS));
        std::fs::copy(&file, &own).map_err(|error| failed(&own, error))?;
        std::fs::write(&typed, &text).map_err(|error| failed(&typed, error))?;
        if let Some(stacks) = self.replicas.stacks.get(&case.case) {
            let path = directory.join(STACKS);
            std::fs::write(&path, stacks).map_err(|error| failed(&path, error))?;
        }
        let bytes = std::fs::read(&own).map_err(|error| failed(&own, error))?;
        self.pack(case, bytes, &text, &store.capsule(case.case))
    }

    fn pack(&self, case: &Case, play: Vec<u8>, text: &str, path: &Path) -> Result<(), String> {
        let name = match &case.subject {
            cohort_model::Subject::Service(endpoint) => endpoint.as_str(),
            cohort_model::Subject::Test(_) => "",
        };
        let ran = Ran::Service {
            command: self.setup.sut.command.clone(),
            journals: vec![PLAY.to_owned()],
            script: String::new(),
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unix_s = now.map_or(0, |since| since.as_secs());
        let version = env!("CARGO_PKG_VERSION");
        let mut manifest = Manifest::new(case.clone(), name, ran, version, unix_s);
        manifest.seed = Some(self.setup.scenario.seed);
        manifest.host = Host::here(&[]);
        let mut capsule = Capsule::new(manifest);
        let attached = capsule
            .attach(PLAY, play)
            .and_then(|()| capsule.attach(REQUESTS, text.as_bytes().to_vec()));
        attached
            .and_then(|()| capsule.write(path).map(drop))
            .map_err(|error| cohort_host::chain(&error))
    }
}
