//! The cases of earlier campaigns of this project.

use cohort_model::{KnownCase, Plan};
use cohort_store::Project;

use crate::Error;

/// What is kept of them.
pub(crate) struct Kept;

impl Kept {
    pub(crate) fn open(_project: &Project) -> Result<Self, Error> {
        Ok(Self)
    }

    pub(crate) fn next_case(&self) -> u32 {
        1
    }

    pub(crate) fn known(&self, _plan: &Plan) -> Vec<KnownCase> {
        Vec::new()
    }
}
