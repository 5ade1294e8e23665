//! What is known of the end of a finding that shows no more.

use cohort_model::{At, ServiceFinding, ServiceFindingKind};

use super::View;
use super::book::End;
use super::leaks;

/// How `finding`, which was drawn last at `last`, ends.
pub(super) fn end_of(view: &View<'_>, finding: &ServiceFinding, last: At, at: At) -> End {
    use ServiceFindingKind::{DescriptorLeak, Hang, MemoryLeak, ThreadLeak};
    match finding.kind {
        MemoryLeak | DescriptorLeak | ThreadLeak if leaks::level_off(view, finding, last, at) => {
            End::Withdrawn
        }
        // It answers because it was started again, which is no cure.
        Hang if were_restarted(view, finding) => End::Restarted,
        _ => End::Over,
    }
}

/// Whether an instance of it was started again, or is gone, since it was said to be so.
fn were_restarted(view: &View<'_>, finding: &ServiceFinding) -> bool {
    finding.instances.iter().any(|instance| {
        let watched = view.instances.get(instance);
        watched.is_none_or(|w| w.down || w.ready.is_none_or(|ready| ready > finding.since))
    })
}
