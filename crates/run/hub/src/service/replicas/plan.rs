//! What the plan of a campaign says of edge cases: what can be varied here, and what earlier campaigns kept.

use std::collections::BTreeSet;

use cohort_agent::protocol::ToAgent;
use cohort_handoff::AgentId;
use cohort_model::{CasePlan, ConditionKind, KnownCase, ServicePlan, SuiteKind};

use crate::kept::Kept;
use crate::service::begin;
use crate::service::keep::PLAY;
use crate::service::shell::Hub;

/// Conditions that are applied to a running instance, or to the play.
const BY_SHARE: [ConditionKind; 4] = [
    ConditionKind::CpuLimit,
    ConditionKind::MemoryLimit,
    ConditionKind::NetworkRate,
    ConditionKind::Copies,
];

impl Hub {
    /// The second record of the log.
    pub(crate) fn plan(&self) -> ServicePlan {
        let cases = self.setup.cases.filter(|_| self.setup.tries_cases());
        let cases = cases.map(|cases| CasePlan {
            share: cases.share,
            after_us: cases.after_us,
            seed: self.setup.scenario.seed,
            able: self.able(),
            coverage: 0,
            instrument: false,
            variables: Vec::new(),
            variants: self.ground.variants(),
            first_case: self.first_case(),
            known: Kept::open(&self.setup.project, SuiteKind::Service).known_of_server(PLAY),
            only: None,
        });
        begin::plan(&self.setup, &self.prepared, self.ground.limits_cpu(), cases)
    }

    /// The player reads what earlier campaigns kept, under the numbers of the plan.
    pub(crate) fn recall_cases(&self, player: AgentId, known: &[KnownCase]) {
        let store = self.setup.project.cases();
        for (capsule, known) in (0..).zip(known) {
            let kept = store.directory(known.case).join(PLAY);
            let file = self.capsule_file(capsule);
            // What is not there is told as a capsule that cannot be read.
            let _ = std::fs::copy(kept, &file);
            self.agents
                .tell(player.0, ToAgent::Capsule { capsule, file });
        }
    }

    pub(super) fn first_case(&self) -> u32 {
        let next = self.setup.project.cases().next_id();
        next.map_or(1, |case| case.0)
    }

    /// What can be varied on this host.
    pub(super) fn able(&self) -> BTreeSet<ConditionKind> {
        let able = cohort_conditions::able().into_iter();
        let able = able.filter(|(kind, answer)| answer.is_ok() && !BY_SHARE.contains(kind));
        let ground = &self.ground;
        let grouped = [
            (ground.limits_cpu(), ConditionKind::CpuLimit),
            (ground.limits_memory(), ConditionKind::MemoryLimit),
            (ground.isolates_network(), ConditionKind::NetworkRate),
            (true, ConditionKind::Copies),
        ];
        let grouped = grouped.into_iter().filter(|(can, _)| *can);
        able.map(|(kind, _)| kind)
            .chain(grouped.map(|(_, kind)| kind))
            .collect()
    }
}
