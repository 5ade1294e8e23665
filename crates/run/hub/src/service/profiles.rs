//! What is kept of the stacks that a helper saw: to be drawn, compared, and read by other tools.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cohort_helper::Manifest;
use cohort_helper::reading::{Profile, Taken, Weight, difference, flames, pprof};

/// Stacks, as flame graphs are made of them.
const FOLDED: &str = "profile.folded";
/// Its flame graph.
const FLAMES: &str = "flames.svg";
/// The same for pprof and what reads its files.
const PPROF: &str = "profile.pb.gz";
/// Stacks of an instance that is well.
const REFERENCE: &str = "reference.folded";
/// What is different from there.
const DIFFERENCE: &str = "flames-difference.svg";

/// When a look began, and how long it lasted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) began: SystemTime,
    pub(super) lasted: Duration,
}

impl Look {
    fn taken(self) -> Taken {
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ns = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
        Taken {
            at_ns: ns(since),
            lasted_ns: ns(self.lasted),
        }
    }
}

/// Keeps a profile. What cannot be written is left out: what the helper printed is there in any case.
pub(super) fn keep(
    directory: &Path,
    (manifest, instance): (&Manifest, &str),
    profile: &Profile,
    look: Look,
) {
    let title = format!("{} at {instance}", manifest.name);
    let file = pprof(profile, Weight::of(manifest), look.taken());
    let _ = std::fs::write(directory.join(FOLDED), profile.folded());
    let _ = std::fs::write(directory.join(FLAMES), flames(profile, &title));
    let _ = std::fs::write(directory.join(PPROF), file);
}

/// Keeps that of an instance that is well, and the difference from it.
pub(super) fn keep_reference(
    directory: &Path,
    title: &str,
    (profile, reference): (&Profile, &Profile),
) {
    let _ = std::fs::write(directory.join(REFERENCE), reference.folded());
    let drawn = difference(profile, reference, title);
    let _ = std::fs::write(directory.join(DIFFERENCE), drawn);
}
