//! What this host allows: each capability is tried, not looked up.

use std::sync::OnceLock;

use cohort_model::{Condition, ConditionKind};

use crate::plan;
use crate::trace::probe;

/// What `cohort under` can apply on this host, and for the others what is missing, in one sentence.
///
/// CPU limit, memory limit and disk rate are those that [`fallback`](crate::Order::fallback) asks for:
/// with control groups the hub can do better, whatever is said of them here.
#[must_use]
pub fn able() -> Vec<(ConditionKind, Result<(), String>)> {
    ConditionKind::ALL
        .map(|kind| (kind, of_kind(kind)))
        .to_vec()
}

/// What is done to threads at random is weaker here than it could be: why, in one sentence; none: it is not, or cannot be
/// done at all.
#[must_use]
pub fn weak() -> Option<&'static str> {
    let weak = of_kind(ConditionKind::Schedule).is_ok() && !nix::unistd::geteuid().is_root();
    weak.then_some(
        "without root, threads that are disturbed yield to each other less readily, and races are found more seldom",
    )
}

/// Whether a condition can be applied, its degree included.
pub(crate) fn of(condition: &Condition) -> Result<(), String> {
    of_kind(condition.kind())?;
    match condition {
        Condition::TimeZone { name } => plan::time_zone(name),
        Condition::Locale { name } => locale(name),
        _ => Ok(()),
    }
}

/// Whether it is done by tracing.
pub(crate) fn needs_tracer(kind: ConditionKind) -> bool {
    match kind {
        ConditionKind::CpuLimit | ConditionKind::Schedule => true,
        _ => needs_calls(kind),
    }
}

/// Whether it is done where the program calls the system.
fn needs_calls(kind: ConditionKind) -> bool {
    matches!(
        kind,
        ConditionKind::DiskRate
            | ConditionKind::DiskDelay
            | ConditionKind::NetworkDelay
            | ConditionKind::NetworkRate
            | ConditionKind::NetworkLoss
            | ConditionKind::Seed
            | ConditionKind::DirectoryOrder
            | ConditionKind::Clock
    )
}

fn of_kind(kind: ConditionKind) -> Result<(), String> {
    static TRACING: OnceLock<Result<(), String>> = OnceLock::new();
    static CALLS: OnceLock<Result<(), String>> = OnceLock::new();
    static SOCKETS: OnceLock<Result<(), String>> = OnceLock::new();
    if needs_tracer(kind) {
        TRACING.get_or_init(probe::tracing).clone()?;
    }
    if needs_calls(kind) {
        CALLS.get_or_init(probe::calls).clone()?;
    }
    match kind {
        ConditionKind::NetworkDelay | ConditionKind::NetworkRate | ConditionKind::NetworkLoss => {
            SOCKETS.get_or_init(probe::sockets).clone()
        }
        _ => Ok(()),
    }
}

/// Whether the C library has this locale; why not otherwise.
#[expect(unsafe_code, reason = "newlocale(3) has no safe wrapper")]
fn locale(name: &str) -> Result<(), String> {
    let missing = || {
        format!(
            "the locale {name} is not on this host; `locale -a` lists those that are, and locale-gen or the package locales-all adds others"
        )
    };
    let text = std::ffi::CString::new(name).map_err(|_| missing())?;
    // SAFETY: the name ends in a zero byte; what is made here is freed here.
    let found = unsafe {
        let made = libc::newlocale(libc::LC_ALL_MASK, text.as_ptr(), std::ptr::null_mut());
        if !made.is_null() {
            libc::freelocale(made);
        }
        !made.is_null()
    };
    if found { Ok(()) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_answered_for() {
        let able = able();
        assert_eq!(able.len(), ConditionKind::ALL.len());
        for (kind, answer) in able {
            if let Err(why) = answer {
                assert!(why.len() > 20, "{kind:?}: {why}");
            }
        }
    }

    #[test]
    fn whoever_is_root_is_told_of_no_weakness() {
        assert_eq!(
            weak().is_none(),
            nix::unistd::geteuid().is_root() || probe::tracing().is_err()
        );
    }

    #[test]
    fn a_locale_that_is_not_there_is_missing() {
        assert_eq!(locale("C"), Ok(()));
        let why = locale("xx_YY.UTF-8").expect_err("no such locale");
        assert!(why.contains("xx_YY"), "{why}");
        assert!(locale("a\0b").is_err());
    }
}
