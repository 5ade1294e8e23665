//! How a process ended, in words: signals and exit codes.

use cohort_model::SymptomKind;

/// Shells end with this and the number of the signal that ended what they ran.
const SHELL: i32 = 128;

/// Linux's names of signals that end programs (`signal(7)`, x86 and ARM).
const SIGNALS: [(i32, &str); 21] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (16, "SIGSTKFLT"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (26, "SIGVTALRM"),
    (27, "SIGPROF"),
    (31, "SIGSYS"),
];

/// `SIGSEGV`; `signal 40` of those without a name.
pub(crate) fn signal_name(signal: i32) -> String {
    let known = SIGNALS.iter().find(|(number, _)| *number == signal);
    known.map_or_else(
        || format!("signal {signal}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// Kind and class of the end of a process of which nothing else is known.
pub(crate) fn class(exit_code: Option<i32>, signal: Option<i32>) -> (SymptomKind, String) {
    if let Some(signal) = signal {
        return (SymptomKind::Signal, signal_name(signal));
    }
    match exit_code {
        // The wrapper of a program that a signal ended.
        Some(code) if is_deadly(code - SHELL) => (SymptomKind::Signal, signal_name(code - SHELL)),
        Some(code) => (SymptomKind::Failure, format!("exit code {code}")),
        None => (SymptomKind::Failure, "failure".to_owned()),
    }
}

/// Signals of which a shell's exit code tells, and that no program takes as an exit code of its own.
fn is_deadly(signal: i32) -> bool {
    matches!(signal, 4..=8 | 9 | 11)
}
